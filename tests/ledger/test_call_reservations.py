import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from by_hand import answer, intent
from scripted import spent

from pytest_memleak.errors import BudgetExceeded
from pytest_memleak.ledger.call_outcomes import (
    end_call_unanswered,
    mark_postponed,
    mark_resumed,
    store_call_result,
)
from pytest_memleak.ledger.call_reservations import prompt_row_ids, reserve_call
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import (
    find_missing_ordinals,
    generations,
    generations_with_texts,
)
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.ledger.tables import calls, claims
from pytest_memleak.ledger.tables import generations as table


@pytest.fixture
def prompts(ask):
    return ask(excerpts=1)


@pytest.fixture
def reserve(ledger, prompts):
    """Claims these ordinals of the only prompt."""

    def run(*ordinals, after=None, **money):
        wanted = intent(ledger, prompts, Ask(prompts.specs[0], ordinals), **money)
        return reserve_call(ledger, wanted, after=after)

    return run


def row_of(ledger, call):
    (row,) = ledger.rows(sa.select(calls).where(calls.c.id == call.id))
    return row


def texts(ledger, prompts):
    """The generations that a run sees, by ordinal, and those that have no place, below 0."""
    below = generations_with_texts(ledger, sa.select(table).where(table.c.ordinal < 0))
    seen = {
        generation.ordinal: generation.text
        for generation in generations(ledger, "e", prompts)
    }
    return seen | {row.ordinal: text for row, text, _ in below}


def test_questions_keep_their_numbers_and_an_ordinal_is_claimed_once(ledger, ask):
    prompts = ask()
    first, second, _ = prompts.specs
    call = reserve_call(ledger, intent(ledger, prompts, Ask(first, (0, 1))))
    assert call.ordinals == (0, 1)
    again = reserve_call(
        ledger, intent(ledger, prompts, Ask(first, (0, 1)), Ask(first, (1, 2)))
    )
    assert again.ordinals == (2,)
    assert reserve_call(ledger, intent(ledger, prompts, Ask(first, (0, 1, 2)))) is None
    other = reserve_call(
        ledger, intent(ledger, prompts, Ask(first, (0,)), Ask(second, (0,)))
    )
    assert other.prompt != call.prompt
    row = row_of(ledger, call)
    assert (row.state, row.asked, row.first, row.kind) == ("asked", 2, 0, "sample")
    assert row.seed == first.seed_from(0)
    prompts = ask(excerpts=3)
    numbers = prompt_row_ids(ledger, "e", prompts.specs)
    assert prompt_row_ids(ledger, "e", prompts.specs) == numbers
    assert (
        len(
            {
                *numbers.values(),
                *prompt_row_ids(ledger, "other", prompts.specs).values(),
            }
        )
        == 6
    )
    assert prompt_row_ids(ledger, "e", ()) == {}


def test_threads_and_ledgers_never_share_an_ordinal(url, ask):
    prompts = ask(excerpts=2, samples=30)
    with Ledger(url) as one, Ledger(url) as other:
        begin = threading.Barrier(8)

        def claim_all(number):
            ledger = (one, other)[number % 2]
            begin.wait()
            results = []
            for start in range(0, 30, 3):
                ordinals = (start, start + 1, start + 2)
                wanted = [Ask(prompt, ordinals) for prompt in prompts.specs]
                while call := reserve_call(ledger, intent(ledger, prompts, *wanted)):
                    results += [(call.prompt, ordinal) for ordinal in call.ordinals]
            return results

        with ThreadPoolExecutor(8) as pool:
            results = [pair for some in pool.map(claim_all, range(8)) for pair in some]
    assert len(results) == len(set(results)) == 60


def test_an_answer_frees_and_fills(ledger, ask, prompts, reserve):
    call = reserve(0, 1, 2, price=100)
    assert spent(ledger) == 300
    assert find_missing_ordinals(ledger, "e", prompts).elsewhere == 3
    for new in (True, False):
        assert store_call_result(ledger, answer(call, "a", "b", cost=120)) == new
        assert spent(ledger) == 120
    assert texts(ledger, prompts) == {0: "a", 1: "b"}
    assert find_missing_ordinals(ledger, "e", prompts).free == {
        prompts.specs[0]: [2, 3]
    }
    row = row_of(ledger, call)
    assert (row.state, row.came, row.cost) == ("answered", 2, 120)
    assert reserve(0, 1) is None


def test_an_answer_comes_along_with_the_next_claim(ledger, prompts, reserve):
    call = reserve(0, price=100)
    with pytest.raises(BudgetExceeded):
        reserve(1, price=100, limit=150, after=answer(call, "a", cost=60))
    assert texts(ledger, prompts) == {0: "a"}
    assert reserve(1, price=90, limit=150).ordinals == (1,)
    assert spent(ledger) == 150


@pytest.mark.parametrize(
    ("billed", "state", "kept"), [(True, "lost", 200), (False, "failed", 0)]
)
def test_an_answer_after_all(ledger, prompts, reserve, billed, state, kept):
    """Its ordinals may be drawn by others by then; what has no place is kept below 0."""
    late = reserve(0, 1, 2, price=100)
    given_up = reserve(3, price=200)
    for _ in range(2):
        end_call_unanswered(ledger, given_up, billed=billed, cause="gone")
        row = row_of(ledger, given_up)
        assert (row.state, row.cause, row.cost) == (state, "gone", kept)
        assert spent(ledger) == 300 + kept
    end_call_unanswered(ledger, late, billed=billed, cause="slow")
    assert find_missing_ordinals(ledger, "e", prompts).free == {
        prompts.specs[0]: [0, 1, 2, 3]
    }
    store_call_result(ledger, answer(reserve(0, 1, price=100), "x", "y", cost=50))
    assert store_call_result(ledger, answer(late, "a", "b", "c", cost=70))
    assert spent(ledger) == 120 + kept
    assert texts(ledger, prompts) == {0: "x", 1: "y", 2: "a", -1: "b", -2: "c"}
    assert row_of(ledger, late).state == "answered"


def test_a_late_answer_does_not_wait_for_the_call_that_replaced_it(
    ledger, prompts, reserve
):
    late = reserve(0)
    end_call_unanswered(ledger, late, billed=True, cause="slow")
    second = reserve(0)
    store_call_result(ledger, answer(late, "a"))
    store_call_result(ledger, answer(second, "b"))
    assert texts(ledger, prompts) == {0: "a", -1: "b"}
    assert find_missing_ordinals(ledger, "e", prompts).free == {
        prompts.specs[0]: [1, 2, 3]
    }
    store_call_result(ledger, answer(reserve(1, 2), *"cdef"))  # more than was asked for
    assert texts(ledger, prompts) == {0: "a", 1: "c", 2: "d", -1: "b", -2: "e", -3: "f"}


def test_a_postponed_call_keeps_its_ordinals(ledger, reserve):
    call = reserve(0)
    mark_postponed(ledger, call)
    assert row_of(ledger, call).state == "waiting"
    assert reserve(0) is None
    mark_resumed(ledger, call)
    assert row_of(ledger, call).state == "asked"


def test_a_claim_that_was_written_before_the_connection_broke(ledger, prompts):
    """On a server, the same intent again gives the same call."""
    wanted = intent(ledger, prompts, Ask(prompts.specs[0], (0, 1)))
    call, again = reserve_call(ledger, wanted), reserve_call(ledger, wanted)
    assert again == (None if ledger.place.endswith("ledger.db") else call)
    assert [len(ledger.rows(sa.select(rows))) for rows in (calls, claims)] == [1, 2]


def test_processes_share_a_budget(url, ask):
    prompts = ask(excerpts=1, samples=50)
    (prompt,) = prompts.specs
    with (
        Ledger(url, run="r") as one,
        Ledger(url, run="r") as other,
        Ledger(url, run="s") as third,
    ):

        def spend(ledger, first):
            for ordinal in range(first, first + 20):
                wanted = intent(
                    ledger, prompts, Ask(prompt, (ordinal,)), price=10, limit=100
                )
                try:
                    reserve_call(ledger, wanted)
                except BudgetExceeded:
                    return ordinal - first
            raise AssertionError

        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(spend, (one, other), (0, 25))) == 10
        assert spent(one) == 100
        wanted = intent(third, prompts, Ask(prompt, (49,)), price=10, limit=100)
        assert reserve_call(third, wanted) is not None
