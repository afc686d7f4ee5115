"""Rounds counted, METRICS section 6, against sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.errors import RecordsError
from pytest_memleak.scoring.rounds import Rounds, round_counts

WORDS = 40
INTERVALS = st.sets(
    st.tuples(st.integers(0, WORDS - 1), st.integers(1, 12)).map(
        lambda at: (at[0], min(WORDS, at[0] + at[1]))
    ),
    max_size=3,
)
ROUNDS = st.lists(INTERVALS, min_size=1, max_size=7)


def counts_of(rounds):
    return round_counts(dict(enumerate(rounds)), words=WORDS, n=len(rounds))


def covered(intervals):
    return {place for start, end in intervals for place in range(start, end)}


@given(ROUNDS)
def test_counts_are_those_of_sets(rounds):
    counts = counts_of(rounds)
    sets = [covered(intervals) for intervals in rounds]
    assert counts.times.tolist() == [sum(at in one for one in sets) for at in range(WORDS)]
    everything = set().union(*sets)
    assert counts.bmc == len(everything) / WORDS
    for left_out, lost in enumerate(counts.alone.tolist()):
        others = [one for number, one in enumerate(sets) if number != left_out]
        assert lost == len(everything) - len(set().union(*others))


def test_rounds_that_cover_nothing_count():
    counts = round_counts({3: [(0, 2)]}, words=4, n=10)
    assert (counts.rounds, counts.bmc) == (10, 0.5)
    assert round_counts({3: [(0, 2)]}, words=4).rounds == 4


@pytest.mark.parametrize(("rounds", "n"), [({5: []}, 5), ({-1: []}, 5), ({}, None), ({}, 0)])
def test_ordinals_out_of_range_are_refused(rounds, n):
    with pytest.raises(RecordsError, match="rounds"):
        round_counts(rounds, words=4, n=n)


@given(ROUNDS)
def test_halves_are_those_of_sets(rounds):
    n = len(rounds)
    first, second = Rounds.of(dict(enumerate(rounds))).halves(words=WORDS, n=n)
    for half, ordinals in ((first, range(n // 2)), (second, range(n // 2, n))):
        expected = {place for ordinal in ordinals for place in covered(rounds[ordinal])}
        assert set(half.nonzero()[0].tolist()) == expected
