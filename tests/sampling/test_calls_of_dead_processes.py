import threading
import time

import pytest
from by_hand import answer, intent
from scripted import Keeping, Scripted, answers, broken, busy, sample_all, states, texts

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_outcomes import mark_postponed, store_call_result
from pytest_memleak.ledger.call_reservations import reserve_call
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import find_missing_ordinals
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.sampling.retry import Retry


@pytest.fixture
def prompts(ask):
    return ask(excerpts=1, samples=3)


@pytest.fixture
def cut_off(url, prompts):
    """A call of two ordinals whose process ended before its answer was in."""
    with Ledger(url) as dead:
        return reserve_call(
            dead, intent(dead, prompts, Ask(prompts.specs[0], (0, 1)), price=100)
        )


@pytest.mark.parametrize(("kind", "ended"), [(Scripted, "lost"), (Keeping, "failed")])
def test_without_an_answer_it_is_lost_or_known_to_have_failed(
    cut_off, ledger, prompts, hasty, kind, ended
):
    assert find_missing_ordinals(ledger, "e", prompts).count == 3
    endpoint = kind()
    counts = sample_all(ledger, endpoint, prompts, hasty)
    assert (counts.got, counts.lost, counts.recovered) == (3, ended == "lost", 0)
    assert len(endpoint.calls) == 3
    assert getattr(endpoint, "scan_scope", [cut_off.request_id]) == [cut_off.request_id]
    assert states(ledger) == {"answered": 3, ended: 1}


def test_a_stored_answer_is_recovered_also_from_a_busy_server(
    cut_off, ledger, prompts, hasty
):
    endpoint = Keeping()
    endpoint.recovering = [busy(), busy()]
    endpoint.kept[cut_off.request_id] = [Completion("a"), Completion("b")]
    counts = sample_all(ledger, endpoint, prompts, hasty)
    assert (counts.got, counts.lost, counts.recovered) == (3, 0, 1)
    assert len(endpoint.calls) == 1
    assert texts(ledger, prompts)[:2] == ["a", "b"]


def test_a_provider_may_be_at_work_on_it_still(cut_off, ledger, prompts):
    endpoint = Keeping()

    def pause(event, seconds):
        assert 0 < seconds <= 1
        if len(endpoint.scan_scope) == 3:
            endpoint.kept[cut_off.request_id] = [Completion("a"), Completion("b")]

    retry = Retry(recovery=time.time() - cut_off.began + 60, pause=pause)
    assert sample_all(ledger, endpoint, prompts, retry).recovered == 1
    assert len(endpoint.scan_scope) == 4


@pytest.mark.parametrize("failure", [busy(), broken()])
def test_a_call_stays_in_doubt_while_the_provider_is_unreachable(
    cut_off, ledger, prompts, hasty, failure
):
    endpoint = Keeping()
    endpoint.recovering = [failure] * 20
    with pytest.raises(type(failure)):
        sample_all(ledger, endpoint, prompts, hasty)
    assert endpoint.calls == []
    assert states(ledger) == {"asked": 1}
    endpoint.recovering = []
    endpoint.kept[cut_off.request_id] = [Completion("a"), Completion("b")]
    assert sample_all(ledger, endpoint, prompts, hasty).recovered == 1


def test_a_broken_line_leaves_a_call_to_be_found(ledger, prompts, hasty):
    endpoint = Keeping()

    def cut(call):
        endpoint.kept[call.request_id] = [Completion("found")]
        endpoint._replies = [broken()]
        endpoint.recovering = [broken()]
        raise busy("the connection was cut off")

    endpoint._replies = [cut]
    with pytest.raises(ProviderError):
        sample_all(ledger, endpoint, prompts, hasty)
    assert states(ledger) == {"asked": 1}
    assert len(endpoint.calls) == 1  # the others would fare no better
    endpoint._replies = [answers]
    counts = sample_all(ledger, endpoint, prompts, hasty)
    assert (counts.got, counts.lost, counts.recovered) == (3, 0, 1)
    assert texts(ledger, prompts)[0] == "found"


def test_others_calls_are_left_to_them_and_rejected_calls_are_not_in_doubt(
    cut_off, ledger, url, ask, hasty
):
    assert (
        sample_all(ledger, Scripted(), ask(excerpts=1, samples=1, seed=99), hasty).got
        == 1
    )
    assert states(ledger) == {"answered": 1, "asked": 1}
    prompts = ask(excerpts=1, samples=3, seed=98)
    with Ledger(url) as dead:
        mark_postponed(
            dead,
            reserve_call(dead, intent(dead, prompts, Ask(prompts.specs[0], (0, 1)))),
        )
    counts = sample_all(ledger, Scripted(), prompts, hasty)
    assert (counts.got, counts.lost) == (3, 0)


def test_the_last_one_waits_for_the_living(ledger, url, prompts, hasty):
    with Ledger(url) as living:
        call = reserve_call(
            living, intent(living, prompts, Ask(prompts.specs[0], (0,)))
        )
        lacking = find_missing_ordinals(ledger, "e", prompts)
        assert (lacking.count, lacking.elsewhere) == (2, 1)
        timer = threading.Timer(
            0.3, lambda: store_call_result(living, answer(call, "theirs"))
        )
        timer.start()
        assert sample_all(ledger, Scripted(), prompts, hasty).got == 3
        timer.join()
    assert texts(ledger, prompts)[0] == "theirs"
