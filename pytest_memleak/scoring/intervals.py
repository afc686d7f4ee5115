"""Intervals of a book's words and sets of whole numbers, millions at once, in numpy.

An interval is [start, end); many are two arrays, of their starts and ends.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Positions = NDArray[np.intp]

Whole = TypeVar("Whole", "NDArray[np.int64]", "NDArray[np.uint64]")

# Numbers that wait before they are merged.
_WAITING = 1 << 17

# Runs that are cut at once at the passages taken so far.
_RANKED_TOGETHER = 1 << 10


class Packing(NamedTuple):
    """A way to pack three numbers of at least 0 into one, in order: bits of the last two."""

    middle: int
    low: int

    @property
    def high(self) -> int:
        """Return the bits that remain for the first."""
        return 63 - self.middle - self.low

    def pack(self, high: Numbers, middle: Numbers, low: Numbers) -> Numbers:
        """Pack the numbers into one."""
        return (((high << self.middle) | middle) << self.low) | low

    def unpack(self, packed: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Return the three numbers."""
        middle = (packed >> self.low) & ((1 << self.middle) - 1)
        return (
            packed >> (self.middle + self.low),
            middle,
            packed & ((1 << self.low) - 1),
        )

    def without_high(self, packed: Numbers) -> Numbers:
        """Set the first of the three to 0."""
        return packed & ((1 << (self.middle + self.low)) - 1)

    def greatest_alike(self, packed: Numbers) -> Numbers:
        """Return the greatest packed number with the same first of the three."""
        return packed | ((1 << (self.middle + self.low)) - 1)


class Distinct:
    """A set of whole numbers that grows by arrays of them; 8 bytes each."""

    def __init__(self) -> None:
        self._numbers: Numbers = np.empty(0, dtype=np.int64)
        self._waiting: list[Numbers] = []
        self._count = 0

    def add(self, numbers: Numbers) -> None:
        """Add numbers, perhaps present already; sorts the array itself."""
        self._wait(distinct(numbers))

    def update(self, other: Distinct) -> None:
        """Add the other set's numbers without changing its arrays."""
        self._wait(other.ascending())

    def _wait(self, numbers: Numbers) -> None:
        self._waiting.append(numbers)
        self._count += len(numbers)
        if self._count > max(_WAITING, len(self._numbers)):
            self.ascending()

    def ascending(self) -> Numbers:
        """Return all numbers so far, each once."""
        if self._waiting:
            self._numbers = distinct(np.concatenate([self._numbers, *self._waiting]))
            self._waiting, self._count = [], 0
        return self._numbers


def distinct(numbers: Whole) -> Whole:
    """Return the numbers in ascending order, each once; sorts the array itself.

    Best in ascending runs, which merge; `np.unique` is slower.
    """
    numbers.sort(kind="stable")
    first = np.ones(len(numbers), dtype=np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    return numbers if first.all() else numbers[first]


Interval = tuple[int, int]


def coverage(start: Positions, end: Positions, *, words: int) -> NDArray[np.intc]:
    """Return, per word of a book of `words`, how many of the intervals contain it."""
    steps = np.zeros(words + 1, dtype=np.intc)
    np.add.at(steps, start, 1)
    np.subtract.at(steps, end, 1)
    return steps[:-1].cumsum(dtype=np.intc)


def outermost(start: Positions, end: Positions) -> tuple[Positions, Positions]:
    """Return the distinct intervals that no other contains, ascending."""
    if not len(start):
        return start, end
    most = int(end.max())
    by_start_then_longest = distinct(start * (most + 1) + (most - end))
    start, rest = np.divmod(by_start_then_longest, most + 1)
    end = most - rest
    reached = np.maximum.accumulate(end)
    furthest = np.ones(len(end), dtype=np.bool_)
    np.greater(end[1:], reached[:-1], out=furthest[1:])
    return start[furthest], end[furthest]


def count_up(starts: Positions, counts: Positions) -> Positions:
    """Count up from each start, so many numbers: [3, 8], [2, 1] gives [3, 4, 8]."""
    ahead: Positions = (starts - counts.cumsum() + counts).repeat(counts)
    return ahead + np.arange(len(ahead))


def cut(
    start: Positions, end: Positions, borders: Positions
) -> tuple[Positions, Positions, Positions]:
    """Cut the intervals at the `borders` inside them, which must ascend.

    Returns, per piece, the number of its interval, its start and its end.
    """
    first = borders.searchsorted(start, side="right")
    inside = np.maximum(borders.searchsorted(end) - first, 0)
    of = np.repeat(np.arange(len(start)), inside + 1)
    place = count_up(np.zeros_like(inside), inside + 1)
    ends = np.concatenate((borders, [0]))[first[of] + np.minimum(place, inside[of] - 1)]
    piece_end = np.where(place == inside[of], end[of], ends)
    piece_start = np.where(place == 0, start[of], np.concatenate(([0], piece_end[:-1])))
    return of, piece_start, piece_end


def merge_intervals(start: Positions, end: Positions) -> tuple[Positions, Positions]:
    """Merge the intervals that overlap or touch; `start` must ascend."""
    reached = np.maximum.accumulate(end)
    cut = np.flatnonzero(start[1:] > reached[:-1])
    return (
        np.concatenate((start[:1], start[cut + 1])),
        np.concatenate((reached[cut], reached[-1:])),
    )


def distinct_passages(
    start: Positions, end: Positions, *, over: int
) -> tuple[Positions, Positions, Positions]:
    """Return start and end of passages longer than `over` words, longest first, and their runs.

    Greedy over runs and their suffixes (docs/method.md). start, end: of runs, of which
    no two end at one place. A run that overlaps a passage already taken is cut to its
    longest suffix that does not. Runs without overlap are taken whole; only those with
    it are processed one by one.
    """
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    reached = np.maximum.accumulate(end)
    apart = np.ones(len(start) + 1, dtype=np.bool_)
    apart[1:-1] = start[1:] >= reached[:-1]
    single = apart[1:] & apart[:-1]
    runs = np.stack((start - end, start, end, order), axis=1)
    whole = runs[single & (end - start > over)]
    taken = np.array(_taken(runs[~single], over=over), dtype=np.intp).reshape(-1, 4)
    minus_words, start, end, number = np.concatenate((whole, taken)).T
    ranked = np.lexsort((start, minus_words))
    return start[ranked], end[ranked], number[ranked]


def _taken(runs: Positions, *, over: int) -> list[tuple[int, ...]]:
    """Return the passages among runs: minus their words, start, end, and number."""
    ranked = runs[np.lexsort((runs[:, 1], runs[:, 0]))]
    waiting: list[tuple[int, ...]] = []
    starts: list[int] = []
    ends: list[int] = []
    taken = []
    for first in range(0, len(ranked), _RANKED_TOGETHER):
        part, rest = np.split(ranked[first:], [_RANKED_TOGETHER])
        _, begins, behinds, numbers = part.T
        begins = np.maximum(
            begins, np.array([0, *ends])[np.searchsorted(starts, behinds)]
        )
        part = np.stack((begins - behinds, begins, behinds, numbers), axis=1)
        part = part[behinds - begins > over]
        waiting = sorted((*waiting, *map(tuple, part.tolist())))
        next_run = tuple(rest[0].tolist()) if len(rest) else (0,)  # behind all
        while waiting and waiting[0] < next_run:
            run = heappop(waiting)
            _, start, end, number = run
            place = bisect_left(starts, end)
            reached = (
                ends[place - 1] if place else 0
            )  # by the last that begins before this end
            if reached <= start:
                starts.insert(place, start)
                ends.insert(place, end)
                taken.append(run)
            elif end - reached > over:
                heappush(waiting, (reached - end, reached, end, number))
    return taken


def longest_over_each(
    start: Positions, end: Positions, *, words: int
) -> NDArray[np.intc]:
    """Return, per word of a book of `words`, the length of the longest interval over it."""
    start, end = outermost(start, end)  # which ascend both
    marks = np.unique(np.concatenate((start, end)))
    over = np.stack(
        (end.searchsorted(marks, side="right"), start.searchsorted(marks, side="right"))
    )
    covered = np.flatnonzero(over[0] < over[1])
    longest = np.zeros(len(marks), dtype=np.intc)
    if len(covered):
        lengths = np.append(end - start, 0)
        longest[covered] = np.maximum.reduceat(lengths, over.T[covered].reshape(-1))[
            ::2
        ]
    return np.repeat(
        np.append(0, longest), np.diff(marks, prepend=0, append=words)
    ).astype(np.intc)
