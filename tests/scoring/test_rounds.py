"""Rounds counted, METRICS section 6, against sets."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.scoring.rounds import Rounds, words_by_text

WORDS = 40
INTERVALS = st.sets(
    st.tuples(st.integers(0, WORDS - 1), st.integers(1, 12)).map(
        lambda at: (at[0], min(WORDS, at[0] + at[1]))
    ),
    max_size=3,
)
ROUNDS = st.lists(INTERVALS, min_size=1, max_size=7)


def counts_of(rounds):
    return Rounds.of(dict(enumerate(rounds))).counts(words=WORDS, n=len(rounds))


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
    counts = Rounds.of({3: [(0, 2)]}).counts(words=4, n=10)
    assert (counts.rounds, counts.bmc) == (10, 0.5)


@given(ROUNDS)
def test_halves_are_those_of_sets(rounds):
    n = len(rounds)
    first, second = Rounds.of(dict(enumerate(rounds))).halves(words=WORDS, n=n)
    for half, ordinals in ((first, range(n // 2)), (second, range(n // 2, n))):
        expected = {place for ordinal in ordinals for place in covered(rounds[ordinal])}
        assert set(half.nonzero()[0].tolist()) == expected


@given(ROUNDS)
def test_patterns_are_the_sets_of_rounds_that_cover_a_word(rounds):
    n = len(rounds)
    sets = [covered(intervals) for intervals in rounds]
    expected = Counter(tuple(at in one for one in sets) for at in range(WORDS))
    del expected[(False,) * n]
    found = Rounds.of(dict(enumerate(rounds))).patterns(n=n)
    words = dict(zip(map(tuple, found.rounds.tolist()), found.words.tolist(), strict=True))
    words.pop((False,) * n, None)
    assert words == expected


@given(ROUNDS)
def test_grouped_rounds_cover_what_theirs_did(rounds):
    group = np.arange(len(rounds)) // 2
    grouped = Rounds.of(dict(enumerate(rounds))).grouped(group)
    for number in range(group[-1] + 1):
        mine = grouped.round == number
        runs = zip(grouped.start[mine].tolist(), grouped.end[mine].tolist(), strict=True)
        assert covered(runs) == covered(set().union(*rounds[2 * number : 2 * number + 2]))


def test_words_by_excerpt_are_those_of_the_rounds_unless_they_are_told():
    rounds = Rounds.of({0: [(0, 5), (10, 12)], 2: [(3, 4)]})
    assert rounds.counts(words=20, n=3).by_excerpt.tolist() == [[7, 0, 1]]
    told = np.array([[5, 0, 0], [2, 0, 1]])
    assert rounds.counts(words=20, n=3, by_excerpt=told).by_excerpt.tolist() == told.tolist()


@given(st.lists(st.tuples(st.integers(0, 4), INTERVALS.map(sorted)), max_size=8))
def test_the_words_that_each_text_covers_are_those_of_sets(found):
    rows = [(text, start, end) for text, pieces in found for start, end in pieces]
    expected = [len(covered((s, e) for t, s, e in rows if t == text)) for text in range(5)]
    columns = np.array(rows, dtype=np.intp).reshape(-1, 3).T
    assert words_by_text(*columns, texts=5).tolist() == expected
