"""How long calls take, by those that the ledger has."""

import pytest
import sqlalchemy as sa
from by_hand import a_book, answer, count_words, intent
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.ledger.call_outcomes import end_call_unanswered, store_call_result
from pytest_memleak.ledger.call_pace import busy_seconds, seconds_per_call
from pytest_memleak.ledger.call_reservations import reserve_call
from pytest_memleak.ledger.prompts import Ask, build_prompts
from pytest_memleak.ledger.tables import calls
from pytest_memleak.records import Sampling

TIMES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 9)).map(
        lambda pair: (pair[0], pair[0] + pair[1])
    ),
    max_size=8,
)


@given(TIMES)
def test_busy_seconds_are_those_that_some_interval_covers(times):
    covered = {second for began, ended in times for second in range(began, ended)}
    assert busy_seconds(times) == len(covered)


@pytest.fixture
def prompts():
    return build_prompts("m/b", a_book(1), Sampling(samples=9), words=count_words)


def call_at(ledger, prompts, ordinal, began, ended, *, lost=False):
    """A call of the prompt, which ended with an answer or was lost."""
    ask = Ask(prompts.specs[0], (ordinal,))
    call = reserve_call(ledger, intent(ledger, prompts, ask))
    if lost:
        end_call_unanswered(ledger, call, billed=True, cause="no response came")
    else:
        store_call_result(ledger, answer(call, "text"))
    times = sa.update(calls).where(calls.c.id == call.id)
    ledger.write(lambda held: held.execute(times.values(began=began, ended=ended)))


def test_calls_that_overlap_share_their_time(memory, prompts):
    call_at(memory, prompts, 0, 100.0, 104.0)
    call_at(memory, prompts, 1, 100.0, 106.0)
    call_at(memory, prompts, 2, 200.0, 203.0)
    call_at(memory, prompts, 3, 300.0, 900.0, lost=True)
    assert seconds_per_call(memory, "e") == 3.0


def test_an_endpoint_without_calls_has_no_pace(memory, prompts):
    call_at(memory, prompts, 0, 100.0, 104.0)
    assert seconds_per_call(memory, "another") is None
