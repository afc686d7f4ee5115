"""Matches without what an instruction gave away (METRICS section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.intervals import united
from pytest_memleak.scoring.matches import match_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records import Book
    from pytest_memleak.scoring.index import Positions

__all__ = ["Pieces", "Trimming"]


class Pieces(NamedTuple):
    """What is left of some matches, in no order: of match `of`, the words [start, end)."""

    of: Positions
    start: Positions
    end: Positions


class Trimming:
    """Which of a book's m-grams some instructions contain, and matches without them.

    For each instruction, the book's positions where such an m-gram begins are kept as ranges
    [first, last), each moved by the instruction's number times the book's length and one.
    """

    def __init__(
        self, book: Book, index: Index, instructions: Iterable[str | None], *, trim: int
    ) -> None:
        """Find the `trim`-grams of the instructions in `book`; 0 is for none. `index` is its."""
        self._trim, self._keep, self._apart = trim, index.k, index.total + 1
        self._first = self._last = np.empty(0, dtype=np.intp)
        if 0 < trim <= index.total:
            grams = index if trim == index.k else Index(book, k=trim, mode=index.mode)
            self._find(grams, instructions)

    def pieces(self, instruction: Positions, start: Positions, end: Positions) -> Pieces:
        """What is left of the matches [start, end) of answers to the instructions, by number.

        Each is cut where it shares m words or more with its instruction, on its own words.
        Pieces under k words are dropped.
        """
        whole = np.arange(len(start))
        if not len(self._first):
            return Pieces(whole, start, end)
        offset = instruction * self._apart
        begun = self._first.searchsorted(offset + (end - self._trim), side="right")
        cut = self._last[begun - 1] > offset + start
        cut &= (begun > 0) & (end - start >= self._trim)
        if not cut.any():
            return Pieces(whole, start, end)
        untouched = ~cut
        left = self._cut(start[cut], end[cut], offset[cut], begun[cut])
        return Pieces(
            np.concatenate((whole[untouched], whole[cut][left.of])),
            np.concatenate((start[untouched], left.start)),
            np.concatenate((end[untouched], left.end)),
        )

    def _find(self, grams: Index, instructions: Iterable[str | None]) -> None:
        texts = (grams.code_text(one or "") for one in instructions)
        found = [
            np.stack((one.text * self._apart + one.start, one.text * self._apart + one.end))
            for one in match_all(grams, texts)
        ]
        first, last = np.concatenate([self._first.repeat(2).reshape(2, -1), *found], axis=1)
        last -= self._trim - 1
        order = first.argsort()
        self._first, self._last = united(first[order], last[order])

    def _cut(self, start: Positions, end: Positions, offset: Positions, begun: Positions) -> Pieces:
        """Pieces before, between and after the ranges, of which the last is `begun` - 1."""
        passed = self._last.searchsorted(offset + start, side="right")
        ranges = begun - passed
        of = np.arange(len(start)).repeat(ranges + 1)
        nth = np.arange(len(of)) - (ranges + 1).cumsum().repeat(ranges + 1)  # from -ranges - 1
        after = begun[of] + nth  # the range before the piece, and `after + 1` the one behind it
        is_first, is_last = nth == -1 - ranges[of], nth == -1
        last_gram = (end - self._trim)[of]
        begin = np.minimum(self._last[after] - 1 - offset[of], last_gram) + self._trim
        begin[is_first] = start
        stop = self._first[np.minimum(after + 1, len(self._first) - 1)] - offset[of]
        stop[is_last] = end
        enough = stop - begin >= self._keep
        return Pieces(of[enough], begin[enough], stop[enough])
