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
    StartsAndEnds = tuple[Positions, Positions]
    NumbersStartsAndEnds = tuple[Positions, Positions, Positions]
    StartsEndsAndRuns = tuple[Positions, Positions, Positions]

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
        middle = (packed >> self.low) & _last_bits_set(self.middle)
        low = packed & _last_bits_set(self.low)
        return high, middle, low

    def without_high(self, packed: Numbers) -> Numbers:
        """Set the first of the three to 0."""
        return packed & _last_bits_set(self.middle + self.low)

    def greatest_alike(self, packed: Numbers) -> Numbers:
        """Return the greatest packed number with the same first of the three."""
        return packed | _last_bits_set(self.middle + self.low)


def _last_bits_set(bits: int) -> int:
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
        self._add_unsorted(distinct(numbers))

    def update(self, other: Distinct) -> None:
        """Add the other set's numbers without changing its arrays."""
        self._add_unsorted(other.ascending())

    def _add_unsorted(self, numbers: Numbers) -> None:
        self._waiting.append(numbers)
        self._count += len(numbers)
        if self._count > max(_WAITING, len(self._numbers)):
            self.ascending()

    def ascending(self) -> Numbers:
        """Return all numbers so far, each once."""
        if self._waiting:
            every_number = np.concatenate([self._numbers, *self._waiting])
            self._numbers = distinct(every_number)
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

# A run: minus its words, its start, its end, and its number.
_Run = tuple[int, ...]
_BEHIND_ALL: _Run = (0,)


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


def outermost(start: Positions, end: Positions) -> StartsAndEnds:
    """Return the distinct intervals that no other contains, ascending."""
    if not len(start):
        return start, end
    most = int(end.max())
    size = most + 1
    shortness = most - end
    by_start_then_longest = distinct(start * size + shortness)
    start, shortness = np.divmod(by_start_then_longest, size)
    end = most - shortness
    is_furthest = reaches_beyond_all_before(end)
    return start[is_furthest], end[is_furthest]


def reaches_beyond_all_before(end: Positions) -> NDArray[np.bool_]:
    """Return which ends are greater than all before; the first always is."""
    reached = np.maximum.accumulate(end)
    is_further = np.ones(len(end), dtype=np.bool_)
    np.greater(end[1:], reached[:-1], out=is_further[1:])
    return is_further


def count_up(starts: Positions, counts: Positions) -> Positions:
    """Count up from each start, so many numbers: [3, 8], [2, 1] gives [3, 4, 8]."""
    ends_in_result = counts.cumsum()
    first_in_result = ends_in_result - counts
    ahead_of_place = starts - first_in_result
    ahead: Positions = ahead_of_place.repeat(counts)
    places = np.arange(len(ahead))
    return ahead + places


def cut(
    start: Positions,
    end: Positions,
    borders: Positions,
) -> NumbersStartsAndEnds:
    """Cut the intervals at the `borders` inside them, which must ascend.

    Returns, per piece, the number of its interval, its start and its end.
    """
    first_border = borders.searchsorted(start, side="right")
    border_behind = borders.searchsorted(end)
    borders_inside = np.maximum(border_behind - first_border, 0)
    pieces = borders_inside + 1
    numbers = np.arange(len(start))
    of = numbers.repeat(pieces)
    from_zero = np.zeros_like(pieces)
    nth = count_up(from_zero, pieces)
    is_first = nth == 0
    is_last = nth == borders_inside[of]
    number_of_border = first_border[of] + nth
    borders_and_none = np.append(borders, 0)
    next_border = borders_and_none[number_of_border]
    piece_end = np.where(is_last, end[of], next_border)
    previous_end = np.append(0, piece_end[:-1])
    piece_start = np.where(is_first, start[of], previous_end)
    return of, piece_start, piece_end


def merge_intervals(start: Positions, end: Positions) -> StartsAndEnds:
    """Merge the intervals that overlap or touch; `start` must ascend."""
    reached = np.maximum.accumulate(end)
    has_gap_behind = start[1:] > reached[:-1]
    before_gap = np.flatnonzero(has_gap_behind)
    behind_gap = before_gap + 1
    merged_start = np.concatenate((start[:1], start[behind_gap]))
    merged_end = np.concatenate((reached[before_gap], reached[-1:]))
    return merged_start, merged_end


def without_overlaps(
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


def longest_over_each(
    start: Positions,
    end: Positions,
    *,
    words: int,
) -> NDArray[np.intc]:
    """Return, per word of a book of `words`, how long the longest interval on it is."""
    start, end = outermost(start, end)  # so that both ascend
    starts_and_ends = np.concatenate((start, end))
    marks = np.unique(starts_and_ends)
    # From one mark to the next, the same intervals contain each word: a range of them.
    first = end.searchsorted(marks, side="right")
    behind = start.searchsorted(marks, side="right")
    covered = np.flatnonzero(first < behind)
    longest = np.zeros(len(marks), dtype=np.intc)
    if len(covered):
        lengths = np.append(end - start, 0)
        ranges = np.stack((first[covered], behind[covered]), axis=1)
        bounds_of_ranges = ranges.reshape(-1)
        # Between the ranges are others, of which none is wanted.
        longest_in_each = np.maximum.reduceat(lengths, bounds_of_ranges)
        longest[covered] = longest_in_each[::2]
    stretch_words = np.diff(marks, prepend=0, append=words)
    longest_on_stretch = np.append(0, longest)
    longest_on_word = longest_on_stretch.repeat(stretch_words)
    return longest_on_word.astype(np.intc)
