"""Intervals of a book's words and sets of whole numbers, millions at once, in numpy.

An interval is [start, end); many are two arrays, of their starts and ends.
"""

from __future__ import annotations

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
