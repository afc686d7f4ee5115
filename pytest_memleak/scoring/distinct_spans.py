"""Spans that share no word: the longest runs first, then what they leave of others."""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.word_ranges import Positions, StartsEndsAndRuns

# Runs that are cut at once at the passages taken so far.
_RANKED_TOGETHER = 1 << 10


# A run: minus its words, its start, its end, and its number.
_Run = tuple[int, ...]
_BEHIND_ALL: _Run = (0,)


def distinct_spans(
    start: Positions,
    end: Positions,
    *,
    over: int,
) -> StartsEndsAndRuns:
    """Return the start, end and run of each passage over `over` words, longest first.

    Greedy over runs and their suffixes (docs/method.md). start, end: of runs, of which
    no two end at one place. A run that overlaps a passage already taken is cut to its
    longest suffix that does not. Runs without overlap are taken whole; only those with
    it are processed one by one.
    """
    order = np.argsort(start, kind="stable")
    start = start[order]
    end = end[order]
    runs = np.stack((start - end, start, end, order), axis=1)
    is_single = _overlaps_none(start, end)
    is_long = end - start > over
    whole = runs[is_single & is_long]
    taken = _taken_greedily(runs[~is_single], over=over)
    taken_rows = np.array(taken, dtype=np.intp).reshape(-1, 4)
    passages = np.concatenate((whole, taken_rows))
    minus_words, start, end, number = passages.T
    ranked = np.lexsort((start, minus_words))
    return start[ranked], end[ranked], number[ranked]


def _overlaps_none(start: Positions, end: Positions) -> NDArray[np.bool_]:
    """Return which intervals overlap no other; `start` must ascend."""
    reached = np.maximum.accumulate(end)
    # Before each interval, and after the last.
    has_border = np.ones(len(start) + 1, dtype=np.bool_)
    has_border[1:-1] = start[1:] >= reached[:-1]
    begins_at_border = has_border[:-1]
    ends_at_border = has_border[1:]
    return begins_at_border & ends_at_border


def _taken_greedily(runs: Positions, *, over: int) -> list[_Run]:
    """Return the passages among runs: minus their words, start, end, and number."""
    minus_words = runs[:, 0]
    start_of_run = runs[:, 1]
    ranked = runs[np.lexsort((start_of_run, minus_words))]
    taken: list[_Run] = []
    taken_starts: list[int] = []  # ascending, like `taken_ends`: none overlap
    taken_ends: list[int] = []
    waiting: list[_Run] = []  # a heap
    for first in range(0, len(ranked), _RANKED_TOGETHER):
        behind = first + _RANKED_TOGETHER
        suffixes = _cut_at_taken(
            ranked[first:behind],
            taken_starts,
            taken_ends,
            over=over,
        )
        waiting += map(tuple, suffixes.tolist())
        waiting.sort()
        next_run = _BEHIND_ALL
        if behind < len(ranked):
            next_run = tuple(ranked[behind].tolist())
        while waiting and waiting[0] < next_run:
            run = heappop(waiting)
            _, start, end, number = run
            place = bisect_left(taken_starts, end)
            reached = 0
            if place > 0:
                reached = taken_ends[place - 1]
            if reached <= start:
                taken.append(run)
                taken_starts.insert(place, start)
                taken_ends.insert(place, end)
            elif end - reached > over:
                suffix = (reached - end, reached, end, number)
                heappush(waiting, suffix)
    return taken


def _cut_at_taken(
    runs: Positions,
    taken_starts: list[int],
    taken_ends: list[int],
    *,
    over: int,
) -> Positions:
    """Return the suffixes over `over` words that begin behind what is taken."""
    _, start, end, number = runs.T
    place = np.searchsorted(taken_starts, end)
    ends_before = np.array([0, *taken_ends])
    reached = ends_before[place]
    start = np.maximum(start, reached)
    suffixes = np.stack((start - end, start, end, number), axis=1)
    is_long = end - start > over
    long_suffixes: Positions = suffixes[is_long]
    return long_suffixes
