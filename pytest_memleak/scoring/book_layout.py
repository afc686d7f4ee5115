"""A book's excerpts among its words, and what makes a book measurable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import BookError, install_command
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.words import in_latin_1, installed_icu, needs_icu, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import Book, Scoring, WordMode
    from pytest_memleak.scoring.intervals import Positions

_LEAST_KEPT = 0.90
_ASCII = bytes(range(128))


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The excerpts of a book as parts of its words.

    total:   N, the number of words
    bounds:  per excerpt id, its words [start, end)
    order:   per excerpt id, its number among the excerpts
    borders: positions that no match may cross, ascending: those of works, and those of
    excerpts
             with unmeasured text between them
    ids, ends: ids of the excerpts in order, and the position after the last word of
    each
    """

    total: int
    bounds: dict[str, tuple[int, int]]
    order: dict[str, int]
    borders: Positions
    ids: tuple[str, ...]
    ends: Positions

    def excerpt_at(self, position: int) -> str:
        """Return the id of the excerpt that contains the word at `position`."""
        return self.ids[self.ends.searchsorted(position, side="right")]


def layout_of(book: Book, lengths: Sequence[int]) -> Layout:
    """Return the layout of a book whose excerpts have these lengths, in words."""
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


def validate_measurable(
    book: Book, lengths: Sequence[int], *, k: int, mode: WordMode
) -> None:
    """Raise BookError for a book of fewer than k words, and for one whose words cannot be seen.

    Mode `paper` cannot see other scripts; no mode can separate fused words.

    lengths: of its excerpts, in words of that mode.
    """
    icu_of(book)
    total = sum(lengths)
    if mode == "paper" and total < _LEAST_KEPT * _most_seen(book, lengths):
        seen = sum(
            length if excerpt.text.isascii() else len(words(excerpt.text, "unicode"))
            for excerpt, length in zip(book.excerpts, lengths, strict=True)
        )
        if total < _LEAST_KEPT * seen:
            raise BookError(
                f"word mode 'paper' recognizes only {total:,} of its {seen:,} words "
                f"({total / seen:.0%}), too few to measure",
                location=f"book {book.id!r}",
                hint='set word_mode = "unicode" (--word-mode unicode on the command line)',
            )
    validate_word_breaks(
        (excerpt.text for excerpt in book.excerpts),
        mode=mode,
        place=f"book {book.id!r}",
    )
    if total < k:
        raise BookError(
            f"it has {amount(total, 'word')}, fewer than k = {k}",
            location=f"book {book.id!r}",
            hint="lower k, or check the file",
        )


def icu_of(book: Book) -> str | None:
    """Return the version of ICU that separates words of the book; None if none has to.

    Raises BookError if ICU isn't installed.
    """
    if not needs_icu(excerpt.text for excerpt in (*book.excerpts, *book.excluded)):
        return None
    if version := installed_icu():
        return version
    raise BookError(
        "only ICU can separate its words, and the package icu4py isn't installed",
        location=f"book {book.id!r}",
        hint=f"install it with: {install_command('icu')}",
    )


def _most_seen(book: Book, lengths: Sequence[int]) -> int:
    """Return an upper bound on the words that mode `unicode` keeps, far faster than counting.

    In Latin-1 a word that only that mode keeps has a letter beyond ASCII, as does each
    that it cuts in two.
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


# The share of letters that words longer than these may have. Over 40 letters occur in
# jest only; over 20 are common where neither blanks nor ICU separate words, as in
# Javanese.
_MOST_IN_WORDS_OVER = {40: 0.02, 20: 0.5}
_JEST = 300


def validate_word_breaks(texts: Iterable[str], *, mode: WordMode, place: str) -> None:
    """Raise BookError, naming `place`, if too many of the texts' letters are in fused words."""
    texts = list(texts)
    least = min(_MOST_IN_WORDS_OVER)
    suspects = [
        text for text in texts if max(map(len, text.split()), default=0) > least
    ]
    lengths = [
        len(word)
        for text in suspects
        for word in words(text, mode)
        if len(word) > least
    ]
    if sum(lengths) <= _JEST:
        return
    letters = sum(len(part) for text in texts for part in text.split())
    for longest, most in _MOST_IN_WORDS_OVER.items():
        fused = sum(length for length in lengths if length > longest)
        if fused > max(_JEST, most * letters):
            raise BookError(
                f"{fused / letters:.0%} of its letters are in words of over {longest} "
                "letters, which no generation could match",
                location=place,
                hint="its words may be separated only by a style sheet, or by nothing, as in "
                "Javanese: use a different edition",
            )


def measurable_words(book: Book, scoring: Scoring) -> int:
    """Return N of the book. Raises BookError for one that cannot be measured."""
    lengths = [len(words(excerpt.text, scoring.word_mode)) for excerpt in book.excerpts]
    validate_measurable(book, lengths, k=scoring.k, mode=scoring.word_mode)
    return sum(lengths)
