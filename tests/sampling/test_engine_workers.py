"""Engines in this process: the whole plan in few calls, each request with a row of its own."""

import threading

import pytest
from ledgers import on_both
from scripted import (
    Together,
    broken,
    busy,
    open_claims,
    sample_all,
    spent,
    states,
    terms,
    texts,
)

from pytest_memleak.errors import (
    BudgetExceeded,
    CallTimeout,
    ProviderBusy,
    ProviderError,
    SuiteError,
    UnusableResponse,
)
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.records.phases import Progress
from pytest_memleak.sampling.billing_doubt import NoAnswer
from pytest_memleak.sampling.call_deadline import within
from pytest_memleak.sampling.retry import Retry


@pytest.fixture
def drawing(memory, hasty):
    """Draws into a ledger in memory, without waiting between tries."""

    def draw_all(engine, prompts, by=None, retry=hasty, **options):
        return sample_all(memory, engine, prompts, retry, by, **options)

    return draw_all


def sizes(engine):
    return [sum(request.n for request in requests) for requests in engine.asked]


@on_both
def test_an_engine_gets_the_whole_plan_at_once_and_nothing_twice(ledger, ask, hasty):
    engine, prompts = Together(), ask(excerpts=67, samples=47)
    for _ in range(2):
        counts = sample_all(ledger, engine, prompts, hasty, terms(per_call=10))
        assert (counts.got, counts.requested, counts.lost) == (3149, 3149, 0)
        assert counts.calls == 67 * 5
        assert sizes(engine) == [3149]
    assert len({*texts(ledger, prompts)}) == 3149
    assert open_claims(ledger) == 0


def test_requests_say_what_they_say_call_by_call(drawing, ask):
    engine, prompts = Together(), ask(excerpts=2, samples=3, temperature=0.7, seed=5)
    drawing(engine, prompts, terms(per_call=2))
    (requests,) = engine.asked
    whole_rounds = [(prompt, first) for first in (0, 2) for prompt in prompts.specs]
    assert [
        (each.instruction, each.n, each.temperature, each.max_tokens, each.seed)
        for each in requests
    ] == [
        (
            prompt.instruction,
            2 - first // 2,
            0.7,
            prompt.max_tokens,
            prompt.seed_from(first),
        )
        for prompt, first in whole_rounds
    ]
    assert len({each.key for each in requests}) == 4


def test_each_text_is_stored_with_its_own_prompt(drawing, ask, memory):
    prompts = ask(excerpts=9, samples=2)
    engine = Together(lambda requests: [[each.instruction] for each in requests])
    drawing(engine, prompts)
    expected = [prompt.instruction for prompt in prompts.specs for _ in range(2)]
    assert texts(memory, prompts) == expected


@pytest.mark.parametrize(
    ("most", "per_call", "calls"),
    [(8, 1, [8, 8, 4]), (8, 3, [6, 6, 8]), (1, 2, [2] * 10), (20, 4, [20])],
)
def test_a_call_of_the_engine_has_a_bound(drawing, ask, most, per_call, calls):
    engine = Together(most=most)
    drawing(engine, ask(excerpts=2, samples=10), terms(per_call=per_call))
    assert sizes(engine) == calls


def test_fewer_completions_than_requested_are_asked_for_again(drawing, ask):
    engine = Together(lambda requests: [["a"] * min(each.n, 2) for each in requests])
    counts = drawing(engine, ask(excerpts=3, samples=5), terms(per_call=5))
    assert (counts.got, sizes(engine)) == (15, [15, 9, 3])


def test_an_engine_that_fails_ends_the_pair_and_bills_nothing_unmade(
    drawing, ask, memory
):
    prompts = ask(excerpts=2, samples=2)
    by = terms(price=(1.0, 1.0))
    with pytest.raises(ProviderError, match="400 Bad Request"):
        drawing(Together(broken()), prompts, by)
    assert states(memory) == {"failed": 4}
    assert (open_claims(memory), spent(memory)) == (0, 0)
    assert drawing(Together(), prompts, by).got == 4


def test_what_an_earlier_call_of_the_engine_brought_is_kept(drawing, ask, memory):
    prompts = ask(excerpts=2, samples=4)
    engine = Together(most=4)
    engine._together = [engine.answers, broken()]
    with pytest.raises(ProviderError):
        drawing(engine, prompts)
    assert len(texts(memory, prompts)) == 4
    assert drawing(Together(), prompts).got == 8


def test_a_mistake_in_the_suite_that_the_engine_finds_is_no_lost_call(
    drawing, ask, memory
):
    with pytest.raises(SuiteError, match="no such folder"):
        drawing(Together(SuiteError("no such folder")), ask(excerpts=1, samples=3))
    assert (states(memory), open_claims(memory)) == ({"failed": 3}, 0)


def test_a_busy_engine_is_asked_again(drawing, ask, memory):
    engine = Together()
    engine._together = [busy(), engine.answers]
    assert drawing(engine, ask(excerpts=2, samples=2)).got == 4
    assert states(memory) == {"failed": 4, "answered": 4}
    with pytest.raises(ProviderBusy):
        drawing(Together(busy()), ask(excerpts=3, samples=3))
    assert open_claims(memory) == 0


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (lambda _: None, "it returned nothing; expected a sequence of 2 answers"),
        (lambda _: "ab", "it returned a str; expected a sequence of 2 answers"),
        (lambda _: [["a"]], "it returned a list; expected a sequence of 2 answers"),
    ],
)
def test_an_answer_of_another_form_says_what_was_expected(
    drawing, ask, memory, reply, message
):
    with pytest.raises(ProviderError, match=message):
        drawing(Together(reply), ask(excerpts=2, samples=1))
    assert (states(memory), open_claims(memory)) == ({"lost": 2}, 0)


def test_one_bad_answer_costs_none_of_the_others(drawing, ask, memory):
    prompts = ask(excerpts=3, samples=2)
    engine = Together(lambda _: [["a", "b"], ["c", 5], [Completion("d"), "e"]])
    with pytest.raises(ProviderError, match="a int among its completions"):
        drawing(engine, prompts, terms(per_call=2))
    assert texts(memory, prompts) == ["a", "b", "c", "d", "e"]
    assert open_claims(memory) == 0


def test_an_answer_without_completions_is_asked_for_once_more(drawing, ask, memory):
    def first_alone(requests):
        return [["a"], *([] for _ in requests[1:])]

    engine, prompts = Together(first_alone), ask(excerpts=5, samples=1)
    with pytest.raises(UnusableResponse, match="no completions"):
        drawing(engine, prompts)
    assert sizes(engine) == [5, 4]
    assert texts(memory, prompts) == ["a", "a"]


def test_a_budget_is_spent_to_the_last_call_that_it_allows(drawing, ask, memory):
    prompts = ask(excerpts=2, samples=5)
    by = terms(price=(1.0, 1.0))
    one_call = by.estimate(Ask(prompts.specs[0], (0,))) / 1e9
    engine = Together()
    with pytest.raises(BudgetExceeded):
        drawing(engine, prompts, by, budget=4.5 * one_call)
    assert sizes(engine)[0] == 4


def test_requests_together_may_take_as_long_as_one_after_another(
    drawing, ask, monkeypatch
):
    deadlines = []

    def timed(seconds, call, **late):
        deadlines.append(seconds)
        return within(20, call, **late)

    monkeypatch.setattr("pytest_memleak.sampling.call_deadline.within", timed)
    drawing(Together(), ask(excerpts=3, samples=4), retry=Retry(deadline=10.0))
    assert deadlines == [12 * 10.0 + 30.0]


def test_what_misses_the_deadline_is_stored_when_it_comes(
    drawing, ask, memory, monkeypatch
):
    release, came = threading.Event(), threading.Event()
    prompts = ask(excerpts=2, samples=1)
    monkeypatch.setattr(
        "pytest_memleak.sampling.call_deadline.within",
        lambda seconds, call, *, late: within(
            0.02, call, late=lambda value: (late(value), came.set())
        ),
    )
    engine = Together(lambda _: release.wait(20) and [["late 1"], ["late 2"]])
    with pytest.raises(CallTimeout):
        drawing(engine, prompts, retry=Retry(tries=1))
    assert states(memory) == {"lost": 2}
    release.set()
    assert came.wait(20)
    assert sorted(texts(memory, prompts)) == ["late 1", "late 2"]


def test_ctrl_c_waits_for_the_call_of_the_engine(drawing, ask, memory):
    release, prompts = threading.Event(), ask(excerpts=2, samples=50)

    def stop(event):
        if "Ctrl-C now drops them" in event.note:
            release.set()
        elif states(memory):
            raise KeyboardInterrupt

    engine = Together(most=10)
    engine._together = [lambda requests: release.wait(20) and engine.answers(requests)]
    with pytest.raises(KeyboardInterrupt):
        drawing(engine, prompts, progress=Progress(stop))
    assert (states(memory), open_claims(memory)) == ({"answered": 10}, 0)
    assert drawing(Together(), prompts).got == 100


def test_after_a_timeout_an_engine_is_asked_for_half_as_much(drawing, ask, monkeypatch):
    asked = []

    def answer_few(requests):
        asked.append(sum(each.n for each in requests))
        if asked[-1] > 3:
            raise NoAnswer(
                "no response within 10 s",
                provider="scripted",
                endpoint="e",
                call="sample_many",
            )
        return [["a"] * each.n for each in requests]

    counts = drawing(
        Together(answer_few), ask(excerpts=2, samples=8), terms(per_call=8)
    )
    assert counts.got == 16
    assert asked == [16, 8, 4, *[2] * 8]
