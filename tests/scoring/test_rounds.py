"""The words that rounds cover, and intervals of words, against sets."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from scored_books import INTERVALS, ROUNDS, WORDS, counts_of, covered, rounds_of

from pytest_memleak.scoring.rounds import Rounds
from pytest_memleak.scoring.word_ranges import (
    Distinct,
    Packing,
    cut,
    merge_intervals,
    outermost,
)


@given(ROUNDS)
def test_counts_and_patterns_are_those_of_sets(rounds):
    counts, n = counts_of(rounds), len(rounds)
    sets = [covered(intervals) for intervals in rounds]
    by_word = [tuple(at in words for words in sets) for at in range(WORDS)]
    assert counts.times.tolist() == list(map(sum, by_word))
    everything = set().union(*sets)
    assert counts.bmc == len(everything) / WORDS
    for left_out, lost in enumerate(counts.alone.tolist()):
        others = [one for number, one in enumerate(sets) if number != left_out]
        assert lost == len(everything) - len(set().union(*others))
    patterns, words = rounds_of(rounds).patterns(n=n)
    by_pattern = dict(zip(map(tuple, patterns.tolist()), words.tolist(), strict=True))
    uncovered = {(False,) * n: 0}  # is no pattern
    assert {**by_pattern, **uncovered} == {**Counter(by_word), **uncovered}


@given(ROUNDS)
def test_halves_and_groups_cover_what_their_rounds_did(rounds):
    n = len(rounds)
    sets = list(map(covered, rounds))
    first, second = rounds_of(rounds).halves(words=WORDS, n=n)
    for half, of in ((first, sets[: n // 2]), (second, sets[n // 2 :])):
        assert set(half.nonzero()[0].tolist()) == set().union(*of)
    group = np.arange(n) // 2
    grouped = rounds_of(rounds).merged_by_group(group)
    for number in range(group[-1] + 1):
        mine = grouped.round == number
        runs = zip(
            grouped.start[mine].tolist(), grouped.end[mine].tolist(), strict=True
        )
        assert covered(runs) == set().union(*sets[2 * number : 2 * number + 2])


def test_words_by_excerpt_default_to_those_of_the_rounds():
    rounds = Rounds.of({0: [(0, 5), (10, 12)], 2: [(3, 4)]})
    assert rounds.counts(words=20, n=3).by_excerpt.tolist() == [[7, 0, 1]]
    by_excerpt = [[5, 0, 0], [2, 0, 1]]
    counts = rounds.counts(words=20, n=3, by_excerpt=np.array(by_excerpt))
    assert counts.by_excerpt.tolist() == by_excerpt
    # Rounds that cover nothing count.
    counts = Rounds.of({3: [(0, 2)]}).counts(words=4, n=10)
    assert (counts.rounds, counts.bmc) == (10, 0.5)


@given(st.lists(st.tuples(st.integers(0, 4), INTERVALS.map(sorted)), max_size=8))
def test_the_words_that_each_text_covers_are_those_of_sets(found):
    rows = [(text, start, end) for text, pieces in found for start, end in pieces]
    expected = [
        len(covered((s, e) for t, s, e in rows if t == text)) for text in range(5)
    ]
    columns = np.array(rows, dtype=np.intp).reshape(-1, 3).T
    joined = Rounds.of_intervals(*columns)
    assert np.bincount(joined.round, joined.end - joined.start, 5).tolist() == expected


ENDS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)
SPANS = st.lists(ENDS.filter(lambda at: at[0] < at[1]).map(tuple))


def columns(intervals):
    return np.array(intervals, dtype=np.intp).reshape(-1, 2).T


def rows(start, end):
    return list(zip(start.tolist(), end.tolist(), strict=True))


@given(SPANS)
def test_outermost_intervals_are_those_that_no_other_contains(intervals):
    expected = {
        (s, e)
        for s, e in intervals
        if not any(a <= s and e <= b and (a, b) != (s, e) for a, b in intervals)
    }
    assert rows(*outermost(*columns(intervals))) == sorted(expected)


@given(SPANS)
@example([(0, 2), (2, 4)])
def test_merged_intervals_cover_the_same_words(intervals):
    result = rows(*merge_intervals(*columns(sorted(intervals))))
    held = {at for start, end in result for at in range(start, end)}
    assert held == {at for start, end in intervals for at in range(start, end)}
    assert all(last < first for (_, last), (first, _) in pairwise(result))


@given(st.lists(st.lists(st.integers(0, 2**62))))
def test_distinct_numbers_are_those_of_a_set(parts):
    numbers = Distinct()
    for part in parts:
        numbers.add(np.array(part, dtype=np.int64))
    assert numbers.ascending().tolist() == sorted(set().union(*parts))


def test_many_distinct_numbers_are_kept_once():
    numbers = Distinct()
    for start in range(0, 1_000_000, 30_000):
        numbers.add(np.arange(start, start + 60_000)[::-1])
    assert numbers.ascending().tolist() == list(range(1_020_000 + 30_000))


@given(
    st.lists(st.tuples(*[st.integers(0, n) for n in (2**12 - 1, 2**26 - 1, 2**25 - 1)]))
)
def test_three_numbers_in_one_keep_their_order(triples):
    packing = Packing(26, 25)
    assert packing.high == 12
    packed = packing.pack(*np.array(triples, dtype=np.int64).reshape(-1, 3).T)
    assert [
        *zip(*(part.tolist() for part in packing.unpack(packed)), strict=True)
    ] == triples
    assert packed.argsort(kind="stable").tolist() == sorted(
        range(len(triples)), key=lambda n: triples[n]
    )


@given(SPANS, st.sets(st.integers(0, 30)).map(sorted))
def test_cut_intervals_end_at_the_borders(intervals, borders):
    expected = [
        piece
        for start, end in intervals
        for piece in pairwise([start, *(at for at in borders if start < at < end), end])
    ]
    of, *pieces = cut(*columns(intervals), np.array(borders, dtype=np.intp))
    assert rows(*pieces) == expected
    holding = [intervals[number] for number in of.tolist()]
    assert all(
        a <= s < e <= b for (a, b), (s, e) in zip(holding, expected, strict=True)
    )
