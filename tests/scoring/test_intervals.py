"""Intervals in arrays, against their definitions."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.scoring.intervals import (
    Distinct,
    Packing,
    coverage,
    cut,
    merge_intervals,
    outermost,
)

ENDS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)
INTERVALS = st.lists(ENDS.filter(lambda at: at[0] < at[1]).map(tuple))


def columns(intervals):
    return np.array(intervals, dtype=np.intp).reshape(-1, 2).T


def rows(start, end):
    return list(zip(start.tolist(), end.tolist(), strict=True))


@given(INTERVALS)
def test_outermost(intervals):
    expected = {
        (s, e)
        for s, e in intervals
        if not any(a <= s and e <= b and (a, b) != (s, e) for a, b in intervals)
    }
    assert rows(*outermost(*columns(intervals))) == sorted(expected)


@given(INTERVALS)
def test_coverage(intervals):
    expected = [sum(start <= at < end for start, end in intervals) for at in range(30)]
    assert coverage(*columns(intervals), words=30).tolist() == expected


@given(INTERVALS)
def test_united(intervals):
    found = rows(*merge_intervals(*columns(sorted(intervals))))
    held = {at for start, end in found for at in range(start, end)}
    assert held == {at for start, end in intervals for at in range(start, end)}
    assert all(last < first for (_, last), (first, _) in pairwise(found))


@given(st.lists(st.lists(st.integers(0, 2**62))))
def test_distinct_numbers_are_those_of_a_set(parts):
    numbers = Distinct()
    for part in parts:
        numbers.add(np.array(part, dtype=np.int64))
    assert numbers.ascending().tolist() == sorted(set().union(*parts))


def test_many_distinct_numbers():
    numbers = Distinct()
    for start in range(0, 1_000_000, 30_000):
        numbers.add(np.arange(start, start + 60_000)[::-1])
    assert numbers.ascending().tolist() == list(range(1_020_000 + 30_000))


@given(st.lists(st.tuples(*[st.integers(0, n) for n in (2**12 - 1, 2**26 - 1, 2**25 - 1)])))
def test_three_numbers_in_one_keep_their_order(triples):
    packing = Packing(26, 25)
    assert packing.high == 12
    packed = packing.pack(*np.array(triples, dtype=np.int64).reshape(-1, 3).T)
    assert [*zip(*(part.tolist() for part in packing.unpack(packed)), strict=True)] == triples
    assert packed.argsort(kind="stable").tolist() == sorted(
        range(len(triples)), key=lambda n: triples[n]
    )


@given(INTERVALS, st.sets(st.integers(0, 30)).map(sorted))
def test_cut(intervals, borders):
    expected = [
        piece
        for start, end in intervals
        for piece in pairwise([start, *(at for at in borders if start < at < end), end])
    ]
    of, *pieces = cut(*columns(intervals), np.array(borders, dtype=np.intp))
    assert rows(*pieces) == expected
    holding = [intervals[number] for number in of.tolist()]
    assert all(a <= s < e <= b for (a, b), (s, e) in zip(holding, expected, strict=True))
