"""Distinct passages over T words: greedy over runs and their suffixes (METRICS section 3)."""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.scoring.distinct import Positions


def distinct_passages(start: Positions, end: Positions, *, over: int) -> list[tuple[int, int, int]]:
    """The passages longer than `over` words, longest first, each with the number of its run.

    start, end: of runs, of which no two end at one place. A run that overlaps a passage already
    taken gives way to its longest suffix that does not. Runs that overlap no other are taken as
    they are; only heaps of runs are gone through one by one.
    """
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    reached = np.maximum.accumulate(end)
    apart = np.ones(len(start) + 1, dtype=np.bool_)
    apart[1:-1] = start[1:] >= reached[:-1]
    firsts = np.flatnonzero(apart)
    alone = np.diff(firsts) == 1
    single = firsts[:-1][alone]
    single = single[end[single] - start[single] > over]
    taken = list(
        zip(start[single].tolist(), end[single].tolist(), order[single].tolist(), strict=True)
    )
    for first, last in zip(firsts[:-1][~alone].tolist(), firsts[1:][~alone].tolist(), strict=True):
        heap = slice(first, last)
        rows = zip(start[heap].tolist(), end[heap].tolist(), order[heap].tolist(), strict=True)
        taken += _taken(list(rows), over=over)
    return sorted(taken, key=lambda passage: (passage[0] - passage[1], passage[0]))


def _taken(runs: list[tuple[int, int, int]], *, over: int) -> Iterator[tuple[int, int, int]]:
    heap = [(start - end, start, end, number) for start, end, number in runs]
    heapify(heap)
    starts: list[int] = []
    end_of: dict[int, int] = {}
    while heap and -heap[0][0] > over:
        _, start, end, number = heappop(heap)
        before = bisect_left(starts, end) - 1  # the last that begins before this one's end
        reached = end_of[starts[before]] if before >= 0 else start
        if reached <= start:
            insort(starts, start)
            end_of[start] = end
            yield start, end, number
        elif end - reached > over:
            heappush(heap, (reached - end, reached, end, number))
