"""What a ledger tells of how its generations came: provenance, attempts, and those beside them."""

import time

import pytest
import sqlalchemy as sa
from by_hand import answer, intent
from ledgers import on_both, url_above  # noqa: F401 - a fixture
from scripted import Scripted, answers, broken, terms

from pytest_memleak.errors import LedgerError, ProviderError, SettingsError
from pytest_memleak.interfaces.protocols import Completion, Served
from pytest_memleak.ledger import book_attempts
from pytest_memleak.ledger import sampling_history as history
from pytest_memleak.ledger.call_outcomes import end_call_unanswered, store_call_result
from pytest_memleak.ledger.call_reservations import reserve_call
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import (
    generations,
    generations_beyond_call,
    surplus_generations,
)
from pytest_memleak.ledger.prompts import CANARY_TOKENS, Ask
from pytest_memleak.ledger.sampling_history import (
    list_attempts,
    next_series,
    with_weights_version,
)
from pytest_memleak.ledger.tables import generations as table
from pytest_memleak.records.provenance import Tried
from pytest_memleak.sampling.loop import sample_missing

EVER = 1e12


def by(model, **more):
    """Answers as a server that says who it is."""

    def reply(request):
        served = Served(model, "fp-1", f"r-{request.number}", **more)
        return [
            Completion(f"{request.number}", served=served, finish_word="eos")
        ] * request.n

    return reply


def one_more(request):
    return [*answers(request), Completion(f"{request.number} unrequested")]


@pytest.fixture
def sample(url):
    """Draws in a run of its own; returns the endpoint."""

    def run(prompts, *replies, run="first", endpoint_id="e", per_call=1):
        endpoint = Scripted(*replies)
        with Ledger(url, run=run) as ledger:
            settings = {"prompts": prompts, "terms": terms(per_call=per_call)}
            sample_missing(ledger, endpoint, endpoint_id=endpoint_id, **settings)
        return endpoint

    return run


@pytest.fixture
def provenance(url):
    def read(prompts, run="reader"):
        with Ledger(url, run=run) as ledger:
            return history.summarize_history(ledger, "e", prompts)

    return read


@pytest.fixture
def tried(ledger):
    def read(prompts, endpoint_id="e", until=EVER):
        return book_attempts.number_pair_attempt(
            ledger, endpoint_id, prompts, until=until
        )

    return read


@on_both
def test_the_history_names_the_models_and_times(ledger, ask, sample, provenance):
    few, more = ask(excerpts=2, samples=1), ask(excerpts=2, samples=3)
    assert provenance(few) == history.SamplingHistory(
        None, None, 0, 0, 0, 0, (), {}, ()
    )
    sample(few, by("gpt-a", refused=("temperature",)), run="first")
    sample(more, by("gpt-b", refused=("seed", "temperature")), run="second")
    result = provenance(more, run="second")
    assert (result.calls, result.calls_this_run) == (6, 4)
    assert result.served == ((Served("gpt-b", "fp-1"), 4), (Served("gpt-a", "fp-1"), 2))
    assert result.refused == ("seed", "temperature")
    assert result.first < result.last
    # What the suite does not ask for does not count.
    first = provenance(few, run="second")
    assert (first.calls, first.calls_this_run) == (2, 0)
    assert first.served == ((Served("gpt-a", "fp-1"), 2),)
    assert first.last < result.last
    assert {
        generation.finish_word for generation in generations(ledger, "e", more)
    } == {"eos"}


def rerouted(prompts):
    return [Completion(name, served=Served(name)) for name in ("a", "b")]


@pytest.mark.parametrize(
    ("reply", "per_call", "served"),
    [(answers, 1, ((Served(None, None), 2),)), (rerouted, 2, ((Served("a, b"), 1),))],
)
def test_servers_that_say_nothing_or_two_names(
    ask, sample, provenance, reply, per_call, served
):
    prompts = ask(excerpts=1, samples=2)
    sample(prompts, reply, per_call=per_call)
    assert (provenance(prompts).served, provenance(prompts).refused) == (served, ())


def test_another_release_is_another_endpoint(ask, sample):
    prompts = ask(excerpts=1, samples=2)
    assert with_weights_version("gpt", "") == "gpt"
    old, new = (
        with_weights_version("gpt", "2026-10"),
        with_weights_version("gpt", "2026-11"),
    )
    assert old == "gpt; release 2026-10"
    for endpoint_id in (old, new):
        assert len(sample(prompts, endpoint_id=endpoint_id).calls) == 2
    with pytest.raises(SettingsError, match="contains"):
        with_weights_version(old, "2026-11")


def test_every_draw_is_an_attempt(ledger, ask, sample):
    prompts, other = ask(excerpts=2, samples=2), ask(excerpts=2, samples=1, seed=7)
    with pytest.raises(ProviderError):
        sample(prompts, answers, broken())
    sample(prompts, run="second")
    sample(other, run="second")
    sample(prompts, run="second", endpoint_id="another")
    result = list_attempts(ledger, "e")
    assert list_attempts(ledger, "e", "book") == result
    with pytest.raises(
        LedgerError, match="No samples from endpoint 'e' for book 'none'"
    ):
        list_attempts(ledger, "e", "none")
    rows = [(attempt.run, attempt.kind, attempt.seed) for attempt in result]
    assert rows == [
        ("first", "sample", 0),
        ("second", "sample", 0),
        ("second", "sample", 7),
    ]
    counts = [(one.calls, one.answered, one.failed, one.generations) for one in result]
    assert counts == [(2, 1, 1, 1), (3, 3, 0, 3), (2, 2, 0, 2)]
    assert all(one.first <= one.last for one in result)


def test_removed_generations_that_were_sampled_again_show(ledger, ask, sample, tried):
    prompts = ask(excerpts=1, samples=3)
    sample(prompts)
    second = sa.delete(table).where(table.c.ordinal == 1)
    ledger.write(lambda connection: connection.execute(second).rowcount)
    assert tried(prompts) == Tried(1, removed=1)
    sample(prompts, run="again")
    first, second = list_attempts(ledger, "e")
    assert (first.answered, first.generations, first.removed) == (3, 2, 1)
    assert (second.answered, second.generations, second.removed) == (1, 1, 0)


def test_a_late_answer_is_surplus(ledger, ask, tried):
    """Given up as lost, drawn again, and then the answer came after all."""
    prompts = ask(excerpts=1, samples=1)
    wanted = Ask(prompts.specs[0], (0,))
    late = reserve_call(ledger, intent(ledger, prompts, wanted))
    end_call_unanswered(ledger, late, billed=True, cause="slow")
    for call in (reserve_call(ledger, intent(ledger, prompts, wanted)), late):
        store_call_result(ledger, answer(call, "text"))
    (result,) = list_attempts(ledger, "e")
    assert (result.calls, result.answered, result.generations, result.surplus) == (
        2,
        2,
        1,
        1,
    )
    assert len(list(surplus_generations(ledger, "e", prompts, until=EVER))) == 1
    assert list(generations_beyond_call(ledger, "e", prompts, until=EVER)) == []
    assert tried(prompts) == Tried(1, further=1)


def test_other_seeds_temperatures_and_series_are_other_attempts(ask, sample, tried):
    first, seven = ask(excerpts=1, samples=1), ask(excerpts=1, samples=1, seed=7)
    assert tried(first) is None
    hot = ask(excerpts=1, samples=1, temperature=1.5)
    sample(first)
    sample(seven, run="second")
    sample(hot, run="second")
    sample(hot, run="elsewhere", endpoint_id="another")
    then = time.time()
    anew = next_series("e")
    sample(first, run="third", endpoint_id=anew)
    assert tried(first) == Tried(1)
    assert tried(seven) == Tried(2, seeds=2, runs=2)
    assert tried(hot) == Tried(3, seeds=2, temperatures=2, runs=2)
    assert tried(first, anew) == Tried(4, seeds=2, temperatures=2, resampled=1, runs=3)
    assert tried(first, anew, until=then) is None


def test_going_on_with_the_same_is_the_same_attempt(ask, sample, tried):
    prompts = ask(excerpts=1, samples=3)
    sample(ask(excerpts=1, samples=1, seed=1))
    sample(prompts)
    assert tried(prompts) == Tried(2, seeds=2, runs=1)
    sample(ask(excerpts=1, samples=4), run="second")
    assert tried(ask(excerpts=1, samples=4)) == Tried(2, seeds=2, runs=2)


def test_generations_of_the_same_prompts_beyond_the_request_are_counted(
    ask, sample, tried
):
    more, few = ask(excerpts=2, samples=5), ask(excerpts=2, samples=3)
    longer = ask(excerpts=2, samples=3, max_tokens=99)
    sample(more)
    then = time.time()
    sample(longer, run="second")
    sample(ask(excerpts=2, samples=3, seed=7), run="second")
    assert tried(more, until=then) == Tried(1)
    assert tried(few, until=then) == Tried(1, further=4)
    assert (tried(more).further, tried(longer).further) == (0, 0)


def test_canaries_are_no_attempt_of_their_own(ask, sample, tried):
    greedy, other = (
        ask(excerpts=2, samples=2, temperature=0.0),
        ask(excerpts=2, samples=1),
    )
    sample(greedy)
    sample(ask(excerpts=2, samples=2, temperature=0.0, max_tokens=CANARY_TOKENS))
    assert tried(greedy) == Tried(1)
    again = ask(excerpts=2, samples=1, temperature=0.0, seed=1)
    for prompts in (other, again):
        sample(prompts)
    assert (tried(other).number, tried(again).number) == (1, 3)
    assert tried(ask(excerpts=2, samples=1, temperature=0.0)) == Tried(1, further=2)


@pytest.fixture
def beside(ledger):
    """Returns what is surplus and what was never requested: excerpt, ordinal, text."""

    def read(prompts, endpoint_id="e", until=EVER):
        return [
            [
                (one.excerpt_id, one.ordinal, one.text)
                for one in query(ledger, endpoint_id, prompts, until=until)
            ]
            for query in (surplus_generations, generations_beyond_call)
        ]

    return read


def test_generations_requested_at_any_time_count_as_requested(ask, sample, beside):
    sample(ask(excerpts=2, samples=5), per_call=2)
    for samples in (5, 6):
        assert beside(ask(excerpts=2, samples=samples)) == [[], []]
    kept, unrequested = beside(ask(excerpts=2, samples=3))
    places = [(f"p_id{excerpt}", ordinal) for excerpt in (1, 2) for ordinal in (0, 1)]
    assert [(excerpt, ordinal) for excerpt, ordinal, _ in kept] == places
    assert unrequested == []


def test_more_than_a_call_asked_for_is_unasked_by_excerpt_from_samples_on(
    ask, sample, beside
):
    sample(ask(excerpts=2, samples=4), one_more, per_call=2)
    kept, sent = beside(ask(excerpts=2, samples=4))
    assert [one[:2] for one in kept] == [
        ("p_id1", 0),
        ("p_id1", 1),
        ("p_id2", 0),
        ("p_id2", 1),
    ]
    assert all(text.endswith("unrequested") for *_, text in kept)
    expected = [(at, text) for at, (*_, text) in zip((4, 5, 4, 5), kept, strict=True)]
    assert [prompt[1:] for prompt in sent] == expected
    # Of other prompts there is none.
    for other in (
        ask(excerpts=2, samples=1, seed=7),
        ask(excerpts=2, samples=1, temperature=0.5),
    ):
        assert beside(other)[0] == []
    assert beside(ask(excerpts=2, samples=1), "another")[0] == []


def test_later_calls_are_not_counted(ask, sample, beside):
    prompts = ask(excerpts=1, samples=2)
    sample(prompts, one_more, per_call=2)
    then = time.time()
    sample(ask(excerpts=1, samples=4), one_more, per_call=2)
    assert len(beside(prompts, until=then)[0]) == 1
    assert [len(one) for one in beside(prompts)] == [4, 2]
