"""Where folded words of indexed books are among the books' words as measured."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pytest_memleak.scoring.book_words import PlacedWords
    from pytest_memleak.scoring.intervals import Positions


class _Shifts(NamedTuple):
    """From which folded word of a book on the measured one is how many words ahead."""

    first: Positions
    ahead: Positions


class MeasuredPlaces:
    """Places among a book's words as measured, by those among its folded words.

    Exact in what both readings share, and within a few words of it elsewhere: there a
    place counts from the last stretch that they share.
    """

    def __init__(self, exact: PlacedWords, folded: PlacedWords) -> None:
        """Note the stretches that both readings of each book share."""
        self._shifts: dict[int, _Shifts] = {}
        if folded is exact or folded.prefilter is not exact.prefilter:
            return
        piece = exact.first.searchsorted(folded.first, side="right") - 1
        shared = (piece >= 0) & (folded.first < exact.end[piece])
        measured = exact.start[piece] + folded.first - exact.first[piece]
        rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for nth in np.flatnonzero(shared).tolist():
            start = int(folded.start[nth])
            rows[int(folded.book[nth])].append((start, int(measured[nth]) - start))
        for book, shifts in rows.items():
            first, ahead = np.array(sorted(shifts), dtype=np.intp).T
            self._shifts[book] = _Shifts(first, ahead)

    def interval(
        self,
        book: int,
        start: int,
        end: int,
    ) -> tuple[int, int]:
        """Return the measured words of a book's folded words [start, end)."""
        if book not in self._shifts:
            return start, end
        first, ahead = self._shifts[book]
        nth = first.searchsorted([start, end - 1], side="right") - 1
        before, last = ahead[np.maximum(nth, 0)].tolist()
        return max(start + before, 0), max(end + last, start + before + 1)
