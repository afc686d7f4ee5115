"""Where folded words of indexed books are among the books' words as measured."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pytest_memleak.scoring.book_words import PlacedWords
    from pytest_memleak.scoring.word_ranges import Positions


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
        pieces_before = exact.first.searchsorted(folded.first, side="right")
        piece = pieces_before - 1
        is_behind_first = piece >= 0
        ends_later = folded.first < exact.end[piece]
        shared = np.flatnonzero(is_behind_first & ends_later)
        words_into_piece = folded.first - exact.first[piece]
        measured = exact.start[piece] + words_into_piece
        ahead_of_folded = measured - folded.start
        shifts_of_books: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for nth in shared.tolist():
            book = int(folded.book[nth])
            start = int(folded.start[nth])
            ahead = int(ahead_of_folded[nth])
            shifts_of_books[book].append((start, ahead))
        for book, shifts in shifts_of_books.items():
            rows = np.array(sorted(shifts), dtype=np.intp)
            self._shifts[book] = _Shifts(
                first=rows[:, 0],
                ahead=rows[:, 1],
            )

    def measured_interval(
        self,
        book: int,
        start: int,
        end: int,
    ) -> tuple[int, int]:
        """Return the measured words of a book's folded words [start, end)."""
        if book not in self._shifts:
            return start, end
        first, ahead = self._shifts[book]
        first_and_last = [start, end - 1]
        shifts_before = first.searchsorted(first_and_last, side="right")
        nth = np.maximum(shifts_before - 1, 0)
        ahead_of_first, ahead_of_last = ahead[nth].tolist()
        measured_start = start + ahead_of_first
        measured_end = end + ahead_of_last
        return max(measured_start, 0), max(measured_end, measured_start + 1)
