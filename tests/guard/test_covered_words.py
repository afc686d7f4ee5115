"""Intervals of words count as sets of words do."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.guard.covered_words import CoveredWords

INTERVAL = st.tuples(st.integers(0, 40), st.integers(1, 9)).map(
    lambda drawn: (drawn[0], sum(drawn))
)
INTERVALS = st.lists(INTERVAL, max_size=9)


def words_of(intervals):
    return {word for start, end in intervals for word in range(start, end)}


def covered_by(intervals):
    covered = CoveredWords()
    for start, end in intervals:
        covered.add(start, end)
    return covered


@given(INTERVALS)
def test_each_word_counts_once(intervals):
    assert covered_by(intervals).size == len(words_of(intervals))


@given(INTERVALS, INTERVALS)
def test_new_words_are_those_that_are_not_covered(before, more):
    new = words_of(more) - words_of(before)
    assert covered_by(before).new_words(more) == len(new)


@given(INTERVALS, INTERVAL)
def test_it_has_words_that_are_all_covered(before, interval):
    is_covered = words_of([interval]) <= words_of(before)
    assert covered_by(before).has(*interval) == is_covered
