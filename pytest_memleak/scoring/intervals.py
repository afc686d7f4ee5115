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
    """A way to pack three numbers of at least 0 into one, in order.

    middle, low: bits of the second and of the third
    """

    middle: int
    low: int

    @property
    def high(self) -> int:
        """Return the bits that remain for the first."""
        return 63 - self.middle - self.low

    def pack(
        self,
        high: Numbers,
        middle: Numbers,
        low: Numbers,
    ) -> Numbers:
        """Pack the numbers into one."""
        high_and_middle = (high << self.middle) | middle
        return (high_and_middle << self.low) | low

    def unpack(self, packed: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Return the three numbers."""
        high = packed >> (self.middle + self.low)
        middle = (packed >> self.low) & _ones(self.middle)
        low = packed & _ones(self.low)
        return high, middle, low

    def without_high(self, packed: Numbers) -> Numbers:
        """Set the first of the three to 0."""
        return packed & _ones(self.middle + self.low)

    def greatest_alike(self, packed: Numbers) -> Numbers:
        """Return the greatest packed number with the same first of the three."""
        return packed | _ones(self.middle + self.low)


def _ones(bits: int) -> int:
    """Return the number whose last bits are set."""
    return (1 << bits) - 1


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
            self._waiting = []
            self._count = 0
        return self._numbers


def distinct(numbers: Whole) -> Whole:
    """Return the numbers in ascending order, each once; sorts the array itself.

    Best in ascending runs, which merge; `np.unique` is slower.
    """
    numbers.sort(kind="stable")
    is_first = differs_from_previous(numbers)
    if is_first.all():
        return numbers
    return numbers[is_first]


def differs_from_previous(numbers: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return which numbers differ from the one before; the first always does."""
    differs = np.ones(len(numbers), dtype=np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=differs[1:])
    return differs


Interval = tuple[int, int]


def coverage(
    start: Positions,
    end: Positions,
    *,
    words: int,
) -> NDArray[np.intc]:
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
    furthest = reaches_beyond_all_before(end)
    return start[furthest], end[furthest]


def reaches_beyond_all_before(end: Positions) -> NDArray[np.bool_]:
    """Return which ends are greater than all before; the first always is."""
    reached = np.maximum.accumulate(end)
    is_further = np.ones(len(end), dtype=np.bool_)
    np.greater(end[1:], reached[:-1], out=is_further[1:])
    return is_further


def count_up(starts: Positions, counts: Positions) -> Positions:
    """Count up from each start, so many numbers: [3, 8], [2, 1] gives [3, 4, 8]."""
    place = counts.cumsum() - counts  # of each start in the result
    ahead: Positions = (starts - place).repeat(counts)
    return ahead + np.arange(len(ahead))


def cut(
    start: Positions,
    end: Positions,
    borders: Positions,
) -> tuple[Positions, Positions, Positions]:
    """Cut the intervals at the `borders` inside them, which must ascend.

    Returns, per piece, the number of its interval, its start and its end.
    """
    first_border = borders.searchsorted(start, side="right")
    borders_inside = np.maximum(borders.searchsorted(end) - first_border, 0)
    pieces = borders_inside + 1
    of = np.arange(len(start)).repeat(pieces)
    nth = count_up(np.zeros_like(pieces), pieces)
    is_first = nth == 0
    is_last = nth == borders_inside[of]
    next_border = np.append(borders, 0)[first_border[of] + nth]
    piece_end = np.where(is_last, end[of], next_border)
    previous_end = np.append(0, piece_end[:-1])
    piece_start = np.where(is_first, start[of], previous_end)
    return of, piece_start, piece_end


def merge_intervals(start: Positions, end: Positions) -> tuple[Positions, Positions]:
    """Merge the intervals that overlap or touch; `start` must ascend."""
    reached = np.maximum.accumulate(end)
    last = np.flatnonzero(start[1:] > reached[:-1])  # of each merged one but the last
    merged_start = np.concatenate((start[:1], start[last + 1]))
    merged_end = np.concatenate((reached[last], reached[-1:]))
    return merged_start, merged_end


def without_overlaps(
    start: Positions,
    end: Positions,
    *,
    over: int,
) -> tuple[Positions, Positions, Positions]:
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
    single = _overlaps_none(start, end)
    is_long = end - start > over
    whole = runs[single & is_long]
    taken = np.array(_taken(runs[~single], over=over), dtype=np.intp).reshape(-1, 4)
    minus_words, start, end, number = np.concatenate((whole, taken)).T
    ranked = np.lexsort((start, minus_words))
    return start[ranked], end[ranked], number[ranked]


def _overlaps_none(start: Positions, end: Positions) -> NDArray[np.bool_]:
    """Return which intervals overlap no other; `start` must ascend."""
    reached = np.maximum.accumulate(end)
    has_border = np.ones(
        len(start) + 1,
        dtype=np.bool_,
    )  # before it, and after the last
    has_border[1:-1] = start[1:] >= reached[:-1]
    return has_border[:-1] & has_border[1:]


def _taken(runs: Positions, *, over: int) -> list[tuple[int, ...]]:
    """Return the passages among runs: minus their words, start, end, and number."""
    ranked = runs[np.lexsort((runs[:, 1], runs[:, 0]))]
    taken: list[tuple[int, ...]] = []
    taken_starts: list[int] = []  # ascending, like `taken_ends`: none overlap
    taken_ends: list[int] = []
    waiting: list[tuple[int, ...]] = []  # a heap
    for first in range(0, len(ranked), _RANKED_TOGETHER):
        behind = first + _RANKED_TOGETHER
        runs = _cut_at_taken(ranked[first:behind], taken_starts, taken_ends, over=over)
        waiting = sorted((*waiting, *map(tuple, runs.tolist())))
        next_run: tuple[int, ...] = (0,)  # behind all
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
                heappush(waiting, (reached - end, reached, end, number))
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
    start = np.maximum(start, np.array([0, *taken_ends])[place])
    suffixes = np.stack((start - end, start, end, number), axis=1)
    enough: Positions = suffixes[end - start > over]
    return enough


def longest_over_each(
    start: Positions,
    end: Positions,
    *,
    words: int,
) -> NDArray[np.intc]:
    """Return, per word of a book of `words`, how long the longest interval on it is."""
    start, end = outermost(start, end)  # so that both ascend
    marks = np.unique(np.concatenate((start, end)))
    # From one mark to the next, the same intervals contain each word: a range of them.
    first = end.searchsorted(marks, side="right")
    behind = start.searchsorted(marks, side="right")
    covered = np.flatnonzero(first < behind)
    longest = np.zeros(len(marks), dtype=np.intc)
    if len(covered):
        lengths = np.append(end - start, 0)
        ranges = np.stack((first[covered], behind[covered]), axis=1)
        longest[covered] = np.maximum.reduceat(lengths, ranges.reshape(-1))[::2]
    stretch_words = np.diff(marks, prepend=0, append=words)
    longest_on_stretch = np.append(0, longest)
    return np.repeat(longest_on_stretch, stretch_words).astype(np.intc)
