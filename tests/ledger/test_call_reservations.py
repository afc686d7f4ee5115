from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from by_hand import answer, intent

from pytest_memleak.errors import BudgetExceeded
from pytest_memleak.ledger.call_reservations import claim, prompt_ids
from pytest_memleak.ledger.calls import give_up, postpone, record, resume, run_spending
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations, missing
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.ledger.tables import calls, claims


def row_of(ledger: Ledger, call) -> sa.Row:
    return ledger.read(lambda c: c.execute(sa.select(calls).where(calls.c.id == call.id)).one())


def spent(ledger: Ledger) -> int:
    return ledger.read(lambda c: run_spending(c, {ledger.run}))[ledger.run]


def test_questions_keep_their_numbers(ledger, ask):
    asked = ask(excerpts=3)
    numbers = prompt_ids(ledger, "e", asked.questions)
    assert prompt_ids(ledger, "e", asked.questions) == numbers
    assert len(set(numbers.values())) == 3
    others = prompt_ids(ledger, "other", asked.questions)
    assert not set(numbers.values()) & set(others.values())
    assert prompt_ids(ledger, "e", ()) == {}


def test_an_ordinal_is_claimed_once(ledger, ask):
    asked = ask()
    first, second, _ = asked.questions
    call = claim(ledger, intent(ledger, asked, Ask(first, (0, 1))))
    assert call.ordinals == (0, 1)
    again = claim(ledger, intent(ledger, asked, Ask(first, (0, 1)), Ask(first, (1, 2))))
    assert again.ordinals == (2,)
    assert claim(ledger, intent(ledger, asked, Ask(first, (0, 1, 2)))) is None
    other = claim(ledger, intent(ledger, asked, Ask(first, (0,)), Ask(second, (0,))))
    assert other.question != call.question
    row = row_of(ledger, call)
    assert (row.state, row.asked, row.first, row.kind) == ("asked", 2, 0, "sample")
    assert row.seed == first.seed_from(0)


def test_threads_and_ledgers_never_share_an_ordinal(url, ask):
    asked = ask(excerpts=2, samples=60)
    with Ledger(url) as one, Ledger(url) as other:
        begin = threading.Barrier(8)

        def claim_all(number: int) -> list[tuple[int, int]]:
            ledger = (one, other)[number % 2]
            begin.wait()
            found = []
            for start in range(0, 60, 3):
                ordinals = (start, start + 1, start + 2)
                wanted = [Ask(question, ordinals) for question in asked.questions]
                while call := claim(ledger, intent(ledger, asked, *wanted)):
                    found += [(call.question, ordinal) for ordinal in call.ordinals]
            return found

        with ThreadPoolExecutor(8) as pool:
            found = [pair for some in pool.map(claim_all, range(8)) for pair in some]
    assert len(found) == len(set(found)) == 120


def test_an_answer_frees_and_fills(ledger, ask):
    asked = ask(excerpts=1, samples=3)
    (question,) = asked.questions
    call = claim(ledger, intent(ledger, asked, Ask(question, (0, 1, 2)), price=100))
    assert spent(ledger) == 300
    assert missing(ledger, "e", asked).elsewhere == 3
    assert record(ledger, answer(call, "a", "b", cost=120))
    assert spent(ledger) == 120
    assert [one.text for one in generations(ledger, "e", asked)] == ["a", "b"]
    assert missing(ledger, "e", asked).free == {question: [2]}
    assert not record(ledger, answer(call, "a", "b", cost=120))
    assert spent(ledger) == 120
    row = row_of(ledger, call)
    assert (row.state, row.came, row.cost) == ("answered", 2, 120)
    assert claim(ledger, intent(ledger, asked, Ask(question, (0, 1)))) is None


def test_an_answer_comes_along_with_the_next_claim(ledger, ask):
    asked = ask(excerpts=1, samples=3)
    (question,) = asked.questions
    call = claim(ledger, intent(ledger, asked, Ask(question, (0,)), price=100))
    with pytest.raises(BudgetExceeded):
        claim(
            ledger,
            intent(ledger, asked, Ask(question, (1,)), price=100, limit=150),
            after=answer(call, "a", cost=60),
        )
    assert [one.text for one in generations(ledger, "e", asked)] == ["a"]
    second = claim(ledger, intent(ledger, asked, Ask(question, (1,)), price=90, limit=150))
    assert spent(ledger) == 150
    assert second.ordinals == (1,)


@pytest.mark.parametrize(("billed", "state", "kept"), [(True, "lost", 200), (False, "failed", 0)])
def test_a_call_that_is_given_up(ledger, ask, billed, state, kept):
    asked = ask(excerpts=1)
    (question,) = asked.questions
    call = claim(ledger, intent(ledger, asked, Ask(question, (0, 1)), price=100))
    for _ in range(2):
        give_up(ledger, call, billed=billed, cause="gone")
        row = row_of(ledger, call)
        assert (row.state, row.cause, row.cost) == (state, "gone", kept)
        assert spent(ledger) == kept
    assert missing(ledger, "e", asked).free == {question: [0, 1, 2, 3]}


@pytest.mark.parametrize("billed", [True, False])
def test_an_answer_after_all(ledger, ask, billed):
    """Its ordinals may be drawn by others by then; what has no place is kept below 0."""
    asked = ask(excerpts=1)
    (question,) = asked.questions
    late = claim(ledger, intent(ledger, asked, Ask(question, (0, 1, 2)), price=100))
    give_up(ledger, late, billed=billed, cause="slow")
    prompt = claim(ledger, intent(ledger, asked, Ask(question, (0, 1)), price=100))
    record(ledger, answer(prompt, "x", "y", cost=50))
    assert record(ledger, answer(late, "a", "b", "c", cost=70))
    assert spent(ledger) == 120
    assert [(one.ordinal, one.text) for one in generations(ledger, "e", asked)] == [
        (0, "x"),
        (1, "y"),
        (2, "a"),
    ]
    assert below_zero(ledger) == {(-1, "b"), (-2, "c")}
    assert row_of(ledger, late).state == "answered"


def below_zero(ledger: Ledger) -> set[tuple[int, str]]:
    from pytest_memleak.ledger.tables import generations as table

    rows = ledger.read(
        lambda c: c.execute(
            sa.select(table.c.ordinal, table.c.text).where(table.c.ordinal < 0)
        ).all()
    )
    return {(row.ordinal, row.text) for row in rows}


def test_a_late_answer_does_not_wait_for_the_call_that_replaced_it(ledger, ask):
    asked = ask(excerpts=1)
    (question,) = asked.questions
    late = claim(ledger, intent(ledger, asked, Ask(question, (0,))))
    give_up(ledger, late, billed=True, cause="slow")
    second = claim(ledger, intent(ledger, asked, Ask(question, (0,))))
    record(ledger, answer(late, "a"))
    record(ledger, answer(second, "b"))
    assert [one.text for one in generations(ledger, "e", asked)] == ["a"]
    assert below_zero(ledger) == {(-1, "b")}
    assert missing(ledger, "e", asked).free == {question: [1, 2, 3]}


def test_more_completions_than_asked_for(ledger, ask):
    asked = ask(excerpts=1)
    call = claim(ledger, intent(ledger, asked, Ask(asked.questions[0], (0, 1))))
    record(ledger, answer(call, *"abcd"))
    assert [one.text for one in generations(ledger, "e", asked)] == ["a", "b"]
    assert below_zero(ledger) == {(-1, "c"), (-2, "d")}


def test_a_postponed_call_keeps_its_ordinals(ledger, ask):
    asked = ask(excerpts=1)
    call = claim(ledger, intent(ledger, asked, Ask(asked.questions[0], (0,))))
    postpone(ledger, call)
    assert row_of(ledger, call).state == "waiting"
    assert claim(ledger, intent(ledger, asked, Ask(asked.questions[0], (0,)))) is None
    resume(ledger, call)
    assert row_of(ledger, call).state == "asked"


def test_a_claim_that_was_written_before_the_connection_broke(ledger, ask):
    """On a server, the same intent again gives the same call."""
    asked = ask(excerpts=1)
    wanted = intent(ledger, asked, Ask(asked.questions[0], (0, 1)))
    call = claim(ledger, wanted)
    again = claim(ledger, wanted)
    assert again == (None if ledger.place.endswith("ledger.db") else call)
    assert ledger.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(calls))) == 1
    assert ledger.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(claims))) == 2


def test_processes_share_a_budget(url, ask):
    asked = ask(excerpts=1, samples=50)
    (question,) = asked.questions
    with Ledger(url, run="r") as one, Ledger(url, run="r") as other, Ledger(url, run="s") as third:

        def spend(ledger: Ledger, first: int) -> int:
            for ordinal in range(first, first + 20):
                wanted = intent(ledger, asked, Ask(question, (ordinal,)), price=10, limit=100)
                try:
                    claim(ledger, wanted)
                except BudgetExceeded:
                    return ordinal - first
            raise AssertionError

        with ThreadPoolExecutor(2) as pool:
            calls_made = pool.map(spend, (one, other), (0, 25))
        assert sum(calls_made) == 10
        assert spent(one) == 100
        wanted = intent(third, asked, Ask(question, (49,)), price=10, limit=100)
        assert claim(third, wanted) is not None
