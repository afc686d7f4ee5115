"""The index of a book: its n-grams in an Aho-Corasick automaton, one word two characters.

pyahocorasick scans a node's edges one by one, so a word coded as one character would make
the root as wide as the vocabulary. Each word is coded as two characters of two small,
disjoint alphabets instead (ids by falling frequency): edges stay few, and a hit can only
begin at the first character of a word.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, repeat
from typing import TYPE_CHECKING

import ahocorasick

from pytest_memleak.errors import BookError, SettingsError
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Book, WordMode

__all__ = ["CODE_LENGTH", "Index"]

CODE_LENGTH = 2

_RADIX = 64
_SECOND_ALPHABET = 0x100
_FIRST_ALPHABET = _SECOND_ALPHABET + _RADIX
_UNKNOWN = "\x00\x00"

# Longer n-grams find nothing more, since longer matches are runs of these; they only cost memory.
_LONGEST_ANCHOR = 6

_LEAST_KEPT = 0.90


class Index:
    """A book's words, and where each of its n-grams stands.

    total:   N, the number of words
    bounds:  per excerpt id, its words [start, end)
    order:   per excerpt id, its place among the excerpts
    borders: positions that no match may lie across, ascending
    anchor:  n of the n-grams in the automaton, at most k
    """

    def __init__(self, book: Book, *, k: int, mode: WordMode = "paper") -> None:
        """Index `book` for matches of at least `k` words.

        Raises SettingsError for k < 1, BookError for a book of fewer than k words and for one
        that mode `paper` cannot see (under 90 % of the words that mode `unicode` keeps).
        """
        if k < 1:
            raise SettingsError(f"k must be at least 1, but is {k}")
        excerpts = [words(excerpt.text, mode) for excerpt in book.excerpts]
        self.mode = mode
        self.k = k
        self.bounds: dict[str, tuple[int, int]] = {}
        self.order: dict[str, int] = {}
        start = 0
        for place, (excerpt, its_words) in enumerate(zip(book.excerpts, excerpts, strict=True)):
            self.bounds[excerpt.id] = (start, start + len(its_words))
            self.order[excerpt.id] = place
            start += len(its_words)
        self.total = start
        starts = [first for first, _ in self.bounds.values()]
        self.borders = () if book.contiguous else tuple(starts[1:])
        self._refuse_unmeasurable(book)
        self.anchor = min(k, _LONGEST_ANCHOR)
        frequency = Counter(chain.from_iterable(excerpts))
        self._codes = {
            word: chr(_FIRST_ALPHABET + number // _RADIX) + chr(_SECOND_ALPHABET + number % _RADIX)
            for number, (word, _) in enumerate(frequency.most_common())
        }
        self.coded = self.code(chain.from_iterable(excerpts))
        self._automaton = self._build()

    def code(self, some_words: Iterator[str] | list[str]) -> str:
        """Words as text that `hits` can scan: two characters each, unknown words alike."""
        return "".join(map(self._codes.get, some_words, repeat(_UNKNOWN)))

    def code_text(self, text: str) -> str:
        """The words of `text`, coded."""
        return self.code(words(text, self.mode))

    def hits(self, coded: str) -> Iterator[tuple[int, int | tuple[int, ...]]]:
        """Every n-gram of the book in `coded`, in order of its end.

        Yields the index of its last character in `coded`, and its one position in the book
        or the tuple of its positions, ascending.
        """
        return self._automaton.iter(coded)  # type: ignore[no-any-return]

    def _build(self) -> ahocorasick.Automaton:
        length = self.anchor * CODE_LENGTH
        coded = self.coded
        positions: dict[str, int | tuple[int, ...]] = {}
        repeated: dict[str, list[int]] = {}
        for position in range(self.total - self.anchor + 1):
            gram = coded[position * CODE_LENGTH : position * CODE_LENGTH + length]
            first = positions.setdefault(gram, position)
            if first != position:
                repeated.setdefault(gram, [first]).append(position)  # type: ignore[list-item]
        positions.update((gram, tuple(places)) for gram, places in repeated.items())
        automaton = ahocorasick.Automaton()
        for gram, places in positions.items():
            automaton.add_word(gram, places)
        automaton.make_automaton()
        return automaton

    def _refuse_unmeasurable(self, book: Book) -> None:
        if self.mode == "paper":
            seen = sum(
                len(words(excerpt.text, "unicode"))
                for excerpt in book.excerpts
                if not excerpt.text.isascii()
            )
            kept = sum(
                end - start
                for excerpt, (start, end) in zip(book.excerpts, self.bounds.values(), strict=True)
                if not excerpt.text.isascii()
            )
            ascii_only = self.total - kept
            if ascii_only + kept < _LEAST_KEPT * (ascii_only + seen):
                raise BookError(
                    f"word mode 'paper' keeps {self.total:,} of its {ascii_only + seen:,} words "
                    f"({self.total / (ascii_only + seen):.0%}), and would measure nothing",
                    place=f"book {book.id!r}",
                    hint='set words = "unicode" (--words unicode on the command line)',
                )
        if self.total < self.k:
            raise BookError(
                f"it has {self.total} words, fewer than k = {self.k}", place=f"book {book.id!r}"
            )
