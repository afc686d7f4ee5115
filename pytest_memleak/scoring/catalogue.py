"""Books that nobody asked for, many at once, in a model's generations (METRICS section 4).

One index holds all books of a shelf, so that a generation is read once however many they are;
no match goes from one book to the next.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Book, Excerpt
from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.layout import refuse_unmeasurable
from pytest_memleak.scoring.provenance import distinct_matches, targeted
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_memleak.records import Generation, Scoring, WordMode

__all__ = ["Elsewhere", "Shelf", "measurable_words", "scanned", "words_digest"]

_SOURCES = 5


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What a pair's generations give of a book that they were not asked for.

    words:        N, of that book
    longest_span: words of the longest span [start, end) in it, and the excerpt it stands in;
                  0 and None where there is none
    spans_over:   how many spans are longer than T words
    asked_for:    the excerpts whose generations gave the longest, five at most
    digest:       SHA-256 of the book's words (hexadecimal)
    """

    book: str
    words: int
    longest_span: int
    start: int | None
    end: int | None
    excerpt_id: str | None
    spans_over: int
    asked_for: tuple[str, ...]
    digest: str


class Shelf:
    """Some books, indexed together; each must be one that can be measured."""

    def __init__(self, books: Sequence[Book], scoring: Scoring) -> None:
        self._books = books
        self._threshold = scoring.span_threshold
        self.digests = tuple(words_digest(book, scoring.words) for book in books)
        excerpts = [
            Excerpt(f"{place}/{excerpt.id}", excerpt.text)
            for place, book in enumerate(books)
            for excerpt in book.excerpts
        ]
        self._excerpt_ids = [excerpt.id for book in books for excerpt in book.excerpts]
        together = Book("catalogue", "", "", tuple(excerpts), digest="")
        self._index = Index(together, k=scoring.k, mode=scoring.words)
        self._first_excerpts = np.cumsum([0, *(len(book.excerpts) for book in books)])[:-1]
        starts = [start for start, _ in self._index.bounds.values()]
        self._starts = np.array(starts, dtype=np.intp)[self._first_excerpts]
        self._index.borders = self._starts[1:]

    def scan(self, generations: Iterable[Generation]) -> list[Elsewhere]:
        """What the generations give of each book, in the order of the books."""
        asked: dict[str, int] = {}
        numbered = ((asked.setdefault(one.excerpt_id, len(asked)), one.text) for one in generations)
        matches = distinct_matches(self._index, numbered)
        found: list[list[tuple[int, int, int, list[int]]]] = [[] for _ in self._books]
        for span in targeted(self._index, *matches):
            place = int(self._first_excerpts.searchsorted(span[2], side="right")) - 1
            found[place].append(span)
        ids = list(asked)
        return [self._told(place, spans, ids) for place, spans in enumerate(found)]

    def _told(
        self, place: int, spans: list[tuple[int, int, int, list[int]]], ids: list[str]
    ) -> Elsewhere:
        ends = [*self._starts[1:].tolist(), self._index.total]
        offset = int(self._starts[place])
        longest = max(spans, key=lambda span: span[1] - span[0], default=None)
        start, end, target, whence = longest or (0, 0, None, [])
        return Elsewhere(
            book=self._books[place].id,
            words=ends[place] - offset,
            longest_span=end - start,
            start=None if longest is None else start - offset,
            end=None if longest is None else end - offset,
            excerpt_id=None if target is None else self._excerpt_ids[target],
            spans_over=sum(end - start > self._threshold for start, end, _, _ in spans),
            asked_for=tuple(ids[one] for one in whence[:_SOURCES]),
            digest=self.digests[place],
        )


def scanned(
    shelves: Iterable[Sequence[Book]],
    scoring: Scoring,
    generations: Callable[[], Iterable[Generation]],
) -> Iterator[list[Elsewhere]]:
    """What the generations give of each book, a shelf at a time; one index is in memory.

    generations: read once for each shelf.
    """
    for books in shelves:
        yield Shelf(books, scoring).scan(generations())


def measurable_words(book: Book, scoring: Scoring) -> int:
    """N of the book; BookError for one that cannot be measured."""
    lengths = [len(words(excerpt.text, scoring.words)) for excerpt in book.excerpts]
    refuse_unmeasurable(book, lengths, k=scoring.k, mode=scoring.words)
    return sum(lengths)


def words_digest(book: Book, mode: WordMode) -> str:
    """SHA-256 of the book's words: the same however it is cut into excerpts."""
    found = (word for excerpt in book.excerpts for word in words(excerpt.text, mode))
    return hashlib.sha256(" ".join(found).encode("utf-8", "surrogatepass")).hexdigest()
