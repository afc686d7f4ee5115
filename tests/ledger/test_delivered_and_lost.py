"""What the ledger counts as delivered, and as lost."""

from dataclasses import replace

import pytest
from ledgers import on_both
from scripted import Batching, Scripted, answers, broken, busy, sample_all, terms

from pytest_memleak.errors import CallTimeout, ProviderError, RequestNotSent
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.delivered_and_lost import (
    answered_calls,
    count_delivered_and_lost,
)

EVER = 1e12
PLACE = {"provider": "scripted", "endpoint": "e", "call": "sample"}


def fewer(request):
    """Answer without the last of several choices."""
    return answers(request)[: max(1, request.n - 1)]


def blank_first(request):
    first, *others = answers(request)
    return [replace(first, text=""), *others]


def single(request):
    return answers(request)[:1]


@pytest.fixture
def count(ledger):
    def read(prompts, until=EVER):
        result = count_delivered_and_lost(ledger, "e", prompts, until=until)
        return result.all_requested, result.all_lost, result.missing_choices

    return read


@on_both
def test_a_choice_that_an_answer_lacks_is_lost(ledger, ask, hasty, count):
    prompts = ask(excerpts=2, samples=4)
    sample_all(ledger, Scripted(answers, fewer, answers), prompts, hasty, terms(1, 4))
    assert count(prompts) == (9, 1, 1)


@on_both
def test_a_completion_without_text_is_lost(ledger, ask, hasty, count):
    prompts = ask(excerpts=2, samples=4)
    scripted = Scripted(answers, blank_first, answers)
    sample_all(ledger, scripted, prompts, hasty, terms(1, 4))
    assert count(prompts) == (8, 1, 0)


def test_lost_choices_count_for_their_excerpt(ledger, ask, hasty):
    prompts = ask(excerpts=2, samples=4)
    sample_all(ledger, Scripted(answers, fewer, answers), prompts, hasty, terms(1, 4))
    result = count_delivered_and_lost(ledger, "e", prompts, until=EVER)
    first, second = (prompt.excerpt_id for prompt in prompts.specs)
    assert result.lost[first] == 0
    assert (result.lost[second], result.requested[second]) == (1, 5)


def test_a_server_that_ignores_n_loses_nothing(ledger, ask, hasty, count):
    prompts = ask(excerpts=2, samples=4)
    sample_all(ledger, Scripted(single), prompts, hasty, terms(1, 4))
    assert count(prompts) == (8, 0, 0)


@on_both
@pytest.mark.parametrize(
    "failure",
    [
        busy("500 Internal Server Error"),
        busy("500 Internal Server Error", retry_after=0.0),
        busy("502 Bad Gateway"),
        busy("409 Conflict"),
        busy("The connection failed or was interrupted (ReadError)"),
        CallTimeout("no response within 1 s", in_doubt=True, **PLACE),
        CallTimeout("504 Gateway Timeout", **PLACE),
        CallTimeout("524 unknown status", **PLACE),
    ],
    ids=str,
)
def test_a_call_that_failed_after_acceptance_loses_its_completions(
    ledger, ask, hasty, count, failure
):
    prompts = ask(excerpts=2, samples=2)
    sample_all(ledger, Scripted(answers, failure, answers), prompts, hasty)
    assert count(prompts) == (5, 1, 0)


def test_an_answer_without_choices_loses_them(ledger, ask, hasty, count):
    prompts = ask(excerpts=2, samples=2)
    sample_all(ledger, Scripted(answers, lambda _: [], answers), prompts, hasty)
    assert count(prompts) == (5, 1, 0)


@pytest.mark.parametrize(
    "failure",
    [
        busy(),
        busy("503 Service Unavailable"),
        busy("529 Overloaded"),
        RequestNotSent("Connection failed (refused)", **PLACE),
    ],
    ids=str,
)
def test_a_request_that_was_turned_away_loses_nothing(
    ledger, ask, hasty, count, failure
):
    prompts = ask(excerpts=2, samples=2)
    sample_all(ledger, Scripted(answers, failure, answers), prompts, hasty)
    assert count(prompts) == (4, 0, 0)


@on_both
def test_failures_without_an_answer_between_them_count_once(ledger, ask, hasty, count):
    prompts = ask(excerpts=2, samples=3)
    outage = [busy("500 Internal Server Error")] * 5
    later = [answers, busy("500 Internal Server Error"), answers]
    sample_all(ledger, Scripted(answers, *outage, *later), prompts, hasty)
    assert count(prompts) == (8, 2, 0)


def test_a_rejected_request_loses_nothing(ledger, ask, hasty, count):
    prompts = ask(excerpts=2, samples=2)
    with pytest.raises(ProviderError):
        sample_all(ledger, Scripted(answers, broken("400 Bad Request")), prompts, hasty)
    assert count(prompts) == (1, 0, 0)


def test_calls_after_the_given_time_do_not_count(ledger, ask, hasty, count):
    prompts = ask(excerpts=1, samples=2)
    sample_all(ledger, Scripted(busy("500 Error"), answers), prompts, hasty)
    assert count(prompts, until=0.0) == (0, 0, 0)


@on_both
def test_each_request_that_a_batch_did_not_answer_is_lost(ledger, ask, hasty, count):
    prompts = ask(excerpts=2, samples=2)
    endpoint = Batching(fails=lambda batch, place: batch == 0 and place < 2, looks=0)
    sample_all(ledger, endpoint, prompts, hasty, terms(batch=True))
    assert count(prompts) == (6, 2, 0)


@on_both
def test_several_completions_of_one_call_count_as_one_answer(ledger, ask, hasty):
    prompts = ask(excerpts=2, samples=4)
    sample_all(ledger, Scripted(answers), prompts, hasty, terms(1, 2))
    counts = answered_calls(ledger, "e", prompts)
    assert set(counts.values()) == {2}


def test_a_call_that_returned_only_withheld_completions_counts_for_none(
    ledger, ask, hasty
):
    prompts = ask(excerpts=1, samples=2)
    sample_all(ledger, Scripted(lambda _: [Completion(" ")], answers), prompts, hasty)
    assert set(answered_calls(ledger, "e", prompts).values()) == {1}
