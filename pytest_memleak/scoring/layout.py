"""Where a book's excerpts stand among its words, and which books cannot be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import BookError
from pytest_memleak.scoring.fused_words import refuse_fused
from pytest_memleak.scoring.words import in_latin_1, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, WordMode

    Positions = NDArray[np.intp]

__all__ = ["Layout", "layout_of", "refuse_unmeasurable"]

_LEAST_KEPT = 0.90
_ASCII = bytes(range(128))


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The excerpts of a book as parts of its words.

    total:   N, the number of words
    bounds:  per excerpt id, its words [start, end)
    order:   per excerpt id, its place among the excerpts
    borders: positions that no match may lie across, ascending: those of works, and those of
             excerpts where something stands between them that is not measured
    ids, ends: of the excerpts in order, and behind the last word of each
    """

    total: int
    bounds: dict[str, tuple[int, int]]
    order: dict[str, int]
    borders: Positions
    ids: tuple[str, ...]
    ends: Positions

    def excerpt_at(self, position: int) -> str:
        """The id of the excerpt that the word at `position` stands in."""
        return self.ids[int(self.ends.searchsorted(position, side="right"))]


def layout_of(book: Book, lengths: Sequence[int]) -> Layout:
    """The layout of a book whose excerpts have so many words."""
    bounds, order, start = {}, {}, 0
    for place, (excerpt, length) in enumerate(zip(book.excerpts, lengths, strict=True)):
        bounds[excerpt.id] = (start, start + length)
        order[excerpt.id] = place
        start += length
    starts = [first for first, _ in bounds.values()]
    return Layout(
        start,
        bounds,
        order,
        np.array([starts[place] for place in book.breaks], dtype=np.intp),
        tuple(bounds),
        np.array([end for _, end in bounds.values()], dtype=np.intp),
    )


def refuse_unmeasurable(book: Book, lengths: Sequence[int], *, k: int, mode: WordMode) -> None:
    """Raise BookError for a book of fewer than k words, and for one whose words cannot be seen.

    So it is in mode `paper` with other scripts, and where words run together.

    lengths: of its excerpts, in words of that mode.
    """
    total = sum(lengths)
    if mode == "paper" and total < _LEAST_KEPT * _most_seen(book, lengths):
        seen = sum(
            length if excerpt.text.isascii() else len(words(excerpt.text, "unicode"))
            for excerpt, length in zip(book.excerpts, lengths, strict=True)
        )
        if total < _LEAST_KEPT * seen:
            raise BookError(
                f"word mode 'paper' keeps {total:,} of its {seen:,} words "
                f"({total / seen:.0%}), and would measure nothing",
                place=f"book {book.id!r}",
                hint='set words = "unicode" (--words unicode on the command line)',
            )
    refuse_fused((one.text for one in book.excerpts), mode=mode, place=f"book {book.id!r}")
    if total < k:
        raise BookError(f"it has {total} words, fewer than k = {k}", place=f"book {book.id!r}")


def _most_seen(book: Book, lengths: Sequence[int]) -> int:
    """No fewer words than mode `unicode` keeps, counted far sooner.

    In Latin-1 a word that only that mode keeps has a letter beyond ASCII, and so has each that
    it cuts in two.
    """
    most = 0
    for excerpt, length in zip(book.excerpts, lengths, strict=True):
        most += length
        if not excerpt.text.isascii():
            latin_1 = in_latin_1(excerpt.text)
            if latin_1 is None:
                most += max(0, len(words(excerpt.text, "unicode")) - length)
            else:
                most += 2 * len(latin_1.translate(None, _ASCII))
    return most
