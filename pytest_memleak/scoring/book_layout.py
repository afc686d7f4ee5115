"""A book's excerpts among its words, and what makes a book measurable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import BookError, install_command
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.glued_words import validate_no_glued_words
from pytest_memleak.scoring.words import (
    has_runs,
    in_latin_1,
    installed_icu,
    needs_icu,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records import Book, Scoring, WordMode
    from pytest_memleak.scoring.word_ranges import Positions

_LEAST_KEPT = 0.90
_ASCII = bytes(range(128))


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class Layout:
    """The excerpts of a book as parts of its words.

    total:   N, the number of words
    bounds:  per excerpt id, its words [start, end)
    order:   per excerpt id, its number among the excerpts
    borders: positions that no match may cross, ascending: those of works, and those of
    excerpts with unmeasured text between them
    ids:     of the excerpts, in order; E of them
    ends:    position after the last word of each excerpt; shape (E,)
    prompts: how many of the excerpts, the last, are prompts without words of the book
    """

    total: int
    bounds: dict[str, tuple[int, int]]
    order: dict[str, int]
    borders: Positions
    ids: tuple[str, ...]
    ends: Positions
    prompts: int = 0

    @property
    def starts(self) -> Positions:
        """Return the position of each excerpt's first word; shape (E,)."""
        return self.ends - self.lengths

    @property
    def excerpt_starts(self) -> tuple[int, ...]:
        """Return the position of each excerpt's first word, without prompts."""
        starts: list[int] = self.starts.tolist()
        return tuple(starts[: len(starts) - self.prompts])

    @property
    def lengths(self) -> Positions:
        """Return the words of each excerpt; shape (E,)."""
        return np.diff(self.ends, prepend=0)

    def with_prompts(self, book: Book) -> Layout:
        """Return it with the book's own prompts, as excerpts without words."""
        if not book.prompts:
            return self
        names = [prompt.id for prompt in book.prompts]
        first = len(self.ids)
        numbers = {name: first + number for number, name in enumerate(names)}
        ends = np.full(len(names), self.total, dtype=np.intp)
        return replace(
            self,
            bounds=self.bounds | dict.fromkeys(names, (self.total, self.total)),
            order=self.order | numbers,
            ids=(*self.ids, *names),
            ends=np.concatenate([self.ends, ends]),
            prompts=len(names),
        )

    def excerpt_at(self, position: int) -> str:
        """Return the id of the excerpt that contains the word at `position`."""
        return self.ids[self.ends.searchsorted(position, side="right")]


def layout_of(book: Book, lengths: Sequence[int]) -> Layout:
    """Return the layout of a book whose excerpts have these lengths, in words."""
    starts: list[int] = []
    ends: list[int] = []
    bounds: dict[str, tuple[int, int]] = {}
    order: dict[str, int] = {}
    start = 0
    for excerpt, length in zip(book.excerpts, lengths, strict=True):
        order[excerpt.id] = len(starts)
        end = start + length
        starts.append(start)
        ends.append(end)
        bounds[excerpt.id] = (start, end)
        start = end
    borders = [starts[number] for number in book.breaks]
    return Layout(
        total=sum(lengths),
        bounds=bounds,
        order=order,
        borders=np.array(borders, dtype=np.intp),
        ids=tuple(excerpt.id for excerpt in book.excerpts),
        ends=np.array(ends, dtype=np.intp),
    )


def validate_measurable(
    book: Book,
    lengths: Sequence[int],
    *,
    k: int,
    mode: WordMode,
) -> None:
    """Raise BookError for a book of fewer than k words, or with words no mode sees.

    Mode `paper` cannot see other scripts; no mode can separate glued words.

    lengths: of its excerpts, in words of that mode.
    """
    icu_version_for(book)
    total = sum(lengths)
    if mode == "paper":
        _validate_words_kept(book, lengths)
    validate_no_glued_words(
        (excerpt.text for excerpt in book.excerpts),
        mode=mode,
        place=f"book {book.id!r}",
    )
    if total < k:
        raise BookError(
            f"it has {amount(total, 'word')}, fewer than k = {k}",
            location=f"book {book.id!r}",
            hint="check the file, or set a lower k in a suite",
        )


def _validate_words_kept(book: Book, lengths: Sequence[int]) -> None:
    """Raise BookError if mode `paper` keeps too few of the words `unicode` keeps.

    lengths: of its excerpts, in words of mode `paper`.
    """
    kept = sum(lengths)
    if kept >= _LEAST_KEPT * _most_unicode_words(book, lengths):
        return
    seen = 0
    for excerpt, length in zip(book.excerpts, lengths, strict=True):
        if excerpt.text.isascii():
            seen += length
        else:
            seen += len(words(excerpt.text, "unicode"))
    if kept < _LEAST_KEPT * seen:
        raise BookError(
            f"word mode 'paper' recognizes only {kept:,} of its {seen:,} words "
            f"({kept / seen:.0%}), too few to measure",
            location=f"book {book.id!r}",
            hint='set word_mode = "unicode" (--word-mode unicode on the command line)',
        )


def icu_version_for(book: Book) -> str | None:
    """Return the version of ICU that separates words of the book; None if none does.

    Raises BookError if ICU has to, and isn't installed.
    """
    texts = [excerpt.text for excerpt in (*book.excerpts, *book.excluded)]
    if not has_runs(texts):
        return None
    version = installed_icu()
    if version or not needs_icu(texts):
        return version
    raise BookError(
        "only ICU can separate its words, and the package icu4py isn't installed",
        location=f"book {book.id!r}",
        hint=f"install it with: {install_command('icu')}",
    )


def _most_unicode_words(book: Book, lengths: Sequence[int]) -> int:
    """Return an upper bound on the words that mode `unicode` keeps, without counting.

    In Latin-1 a word that only that mode keeps has a letter beyond ASCII, as does each
    that it cuts in two.
    """
    most = 0
    for excerpt, length in zip(book.excerpts, lengths, strict=True):
        most += length
        if excerpt.text.isascii():
            continue
        latin_1 = in_latin_1(excerpt.text)
        if latin_1 is None:
            unicode_words = words(excerpt.text, "unicode")
            most += max(0, len(unicode_words) - length)
        else:
            letters_beyond_ascii = latin_1.translate(None, _ASCII)
            most += 2 * len(letters_beyond_ascii)
    return most


def measurable_words(book: Book, scoring: Scoring) -> int:
    """Return N of the book. Raises BookError for one that cannot be measured."""
    mode = scoring.word_mode
    lengths = [len(words(excerpt.text, mode)) for excerpt in book.excerpts]
    validate_measurable(book, lengths, k=scoring.k, mode=mode)
    return sum(lengths)
