"""Matches without what an instruction gave away (METRICS section 3)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.intervals import united
from pytest_memleak.scoring.matches import match_all

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self, book: Book, index: Index, instructions: Sequence[str | None], *, trim: int
    ) -> None:
        """Find the `trim`-grams of the instructions in `book`; 0 is for none. `index` is its."""
        self._trim, self._keep, self._apart = trim, index.k, index.total + 1
        self._book, self._index, self._instructions = book, index, instructions

    def pieces(self, instruction: Positions, start: Positions, end: Positions) -> Pieces:
        """What is left of the matches [start, end) of answers to the instructions, by number.

        Each is cut where it shares m words or more with its instruction, on its own words.
        Pieces under k words are dropped.
        """
        whole = np.arange(len(start))
        firsts, lasts = self._ranges
        if not len(firsts):
            return Pieces(whole, start, end)
        offset = instruction * self._apart
        begun = firsts.searchsorted(offset + (end - self._trim), side="right")
        cut = lasts[begun - 1] > offset + start
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

    @cached_property
    def _ranges(self) -> tuple[Positions, Positions]:
        """First and last of the ranges, ascending; made when first needed."""
        if not 0 < self._trim <= self._index.total:
            return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
        grams = self._index
        if self._trim != grams.k:
            grams = Index(self._book, k=self._trim, mode=grams.mode)
        texts = (grams.code_text(one or "") for one in self._instructions)
        found = list(match_all(grams, texts))
        first = np.concatenate([one.text * self._apart + one.start for one in found])
        last = np.concatenate([one.text * self._apart + one.end for one in found])
        order = first.argsort()
        return united(first[order], last[order] - self._trim + 1)

    def _cut(self, start: Positions, end: Positions, offset: Positions, begun: Positions) -> Pieces:
        """Pieces before, between and after the ranges, of which the last is `begun` - 1."""
        firsts, lasts = self._ranges
        passed = lasts.searchsorted(offset + start, side="right")
        ranges = begun - passed
        of = np.arange(len(start)).repeat(ranges + 1)
        nth = np.arange(len(of)) - (ranges + 1).cumsum().repeat(ranges + 1)  # from -ranges - 1
        after = begun[of] + nth  # the range before the piece, and `after + 1` the one behind it
        is_first, is_last = nth == -1 - ranges[of], nth == -1
        last_gram = (end - self._trim)[of]
        begin = np.minimum(lasts[after] - 1 - offset[of], last_gram) + self._trim
        begin[is_first] = start
        stop = firsts[np.minimum(after + 1, len(firsts) - 1)] - offset[of]
        stop[is_last] = end
        enough = stop - begin >= self._keep
        return Pieces(of[enough], begin[enough], stop[enough])
