"""The words of one book that have left, as disjoint intervals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    Interval = tuple[int, int]

_START = itemgetter(0)
_END = itemgetter(1)


class CoveredWords:
    """Words of a book, in intervals [start, end).

    What an operation takes depends on the intervals that it meets, not on how many
    there are.

    size: how many words
    """

    def __init__(self) -> None:
        """Start with none."""
        self.size = 0
        self._intervals: list[Interval] = []  # ascending; none touches another

    def add(self, start: int, end: int) -> None:
        """Add words."""
        self.size += self._new_words(start, end)
        touched = self._touched(start, end)
        ends = [(start, end), *self._intervals[touched]]
        self._intervals[touched] = [(min(map(_START, ends)), max(map(_END, ends)))]

    def new_words(self, intervals: Iterable[Interval]) -> int:
        """Return how many words these would add together."""
        apart = CoveredWords()
        for start, end in intervals:
            apart.add(start, end)
        return sum(self._new_words(start, end) for start, end in apart._intervals)

    def has(self, start: int, end: int) -> bool:
        """Tell whether it has all of these words."""
        return not self._new_words(start, end)

    def _new_words(self, start: int, end: int) -> int:
        new = end - start
        for other_start, other_end in self._intervals[self._touched(start, end)]:
            new -= min(end, other_end) - max(start, other_start)
        return new

    def _touched(self, start: int, end: int) -> slice:
        """Return the places of the intervals that overlap these words or touch them."""
        first = bisect_left(self._intervals, start, key=_END)
        last = bisect_right(self._intervals, end, key=_START)
        return slice(first, last)
