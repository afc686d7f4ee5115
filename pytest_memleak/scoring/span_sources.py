"""Where a span came from: asked for one excerpt or book, given from another (METRICS section 4).

All matches of at least k words count, untrimmed. Of the distinct intervals of the book, those
that another contains are dropped, and those that lie in no single excerpt (the target).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records.paper_format import no_excerpt
from pytest_memleak.scoring.index import Index, match_all
from pytest_memleak.scoring.intervals import Distinct, Packing, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.index import Layout
    from pytest_memleak.scoring.intervals import Positions


@dataclass(frozen=True, slots=True)
class ExcerptSpan:
    """A span [start, end) of the excerpt `target`, and the excerpts whose generations gave it.

    sources: ids of the excerpts, in the book's order.
    """

    words: int
    start: int
    end: int
    target: str
    sources: tuple[str, ...]

    @property
    def cross(self) -> bool:
        """Whether it came from an excerpt other than its own."""
        return self.sources != (self.target,)


@dataclass(frozen=True, slots=True)
class CrossExcerpt:
    """The spans of one pair by where they came from.

    spans: in the order of their start; cross: how many came from another excerpt than theirs.
    """

    spans: tuple[ExcerptSpan, ...] = field(repr=False)
    cross: int

    @property
    def count(self) -> int:
        """The number of spans."""
        return len(self.spans)

    @property
    def ratio(self) -> float:
        """Cross-excerpt spans / spans; 0 where there are none."""
        return self.cross / len(self.spans) if self.spans else 0.0


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """What a generation was asked for: an excerpt of a book."""

    book_id: str
    excerpt_id: str


@dataclass(frozen=True, slots=True)
class BookSpan:
    """A span [start, end) of the excerpt `target`, given by generations for other books.

    sources: what those were asked for, ascending.
    """

    words: int
    start: int
    end: int
    target: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class CrossBook:
    """The spans of one book that a model gives when asked for others, by start.

    Prose shares runs of a few words with any book: it is the long ones that tell.
    """

    book_id: str
    spans: tuple[BookSpan, ...] = field(repr=False)

    @property
    def count(self) -> int:
        """The number of spans."""
        return len(self.spans)

    @property
    def longest(self) -> BookSpan | None:
        """The longest span; the first of equals."""
        return max(self.spans, key=lambda span: span.words, default=None)

    def over(self, words: int) -> int:
        """How many spans are longer than `words`."""
        return sum(span.words > words for span in self.spans)


def cross_excerpt(
    book: Book, generations: Iterable[Generation], scoring: Scoring, *, index: Index | None = None
) -> CrossExcerpt:
    """The spans of `book` in its generations, by the excerpt they were asked for.

    index: of this book with this `scoring`, where there is one already.
    Raises BookError for a book that cannot be measured, RecordsError for a generation that
    belongs to none of its excerpts.
    """
    index = index or Index(book, k=scoring.k, mode=scoring.word_mode)
    asked = (
        (_place(index, generation.excerpt_id, book.id), generation.text)
        for generation in generations
    )
    return cross_excerpt_of(index, *distinct_matches(index, asked))


def cross_excerpt_of(
    index: Index | Layout, excerpt: Positions, start: Positions, end: Positions
) -> CrossExcerpt:
    """The spans among matches [start, end), of generations for the `excerpt` at that place."""
    ids = list(index.bounds)
    spans = tuple(
        ExcerptSpan(
            last - first, first, last, ids[target], tuple(ids[source] for source in sources)
        )
        for first, last, target, sources in targeted(index, excerpt, start, end)
    )
    return CrossExcerpt(spans, sum(span.cross for span in spans))


def cross_book(
    book: Book,
    answers: Mapping[str, Iterable[Generation]],
    scoring: Scoring,
    *,
    index: Index | None = None,
) -> CrossBook:
    """The spans of `book` in generations that were asked for other books.

    answers: per id of another book, one model's generations for it; the book's own, if they
    are among them, are left out. index: of this book with this `scoring`, where there is one.
    Raises BookError for a book that cannot be measured.
    """
    index = index or Index(book, k=scoring.k, mode=scoring.word_mode)
    numbers: dict[Source, int] = {}
    asked = (
        (numbers.setdefault(Source(book_id, generation.excerpt_id), len(numbers)), generation.text)
        for book_id, generations in answers.items()
        if book_id != book.id
        for generation in generations
    )
    matches = distinct_matches(index, asked)
    sources, ids = list(numbers), list(index.bounds)
    spans = (
        BookSpan(
            last - first,
            first,
            last,
            ids[target],
            tuple(sorted(sources[source] for source in whence)),
        )
        for first, last, target, whence in targeted(index, *matches)
    )
    return CrossBook(book.id, tuple(spans))


def _place(index: Index, excerpt_id: str, book_id: str) -> int:
    try:
        return index.order[excerpt_id]
    except KeyError:
        raise no_excerpt(excerpt_id, book_id=book_id) from None


def distinct_matches(
    index: Index, answers: Iterable[tuple[int, str]]
) -> tuple[Positions, Positions, Positions]:
    """Source, start and end of the matches of texts from numbered sources."""
    packing = Packing(index.total.bit_length(), index.total.bit_length())
    matches = Distinct()
    sources: list[int] = []

    def coded() -> Iterator[str]:
        for source, text in answers:
            sources.append(source)
            yield index.code_text(text)

    for text, start, end in match_all(index, coded()):
        matches.add(packing.pack(np.array(sources, dtype=np.intp)[text], start, end))
    return packing.unpack(matches.ascending())


def targeted(
    index: Index | Layout, source: Positions, start: Positions, end: Positions
) -> Iterator[tuple[int, int, int, list[int]]]:
    """The intervals that no other contains and that lie in one excerpt, with its place.

    The sources of each stand beside it, ascending.
    """
    first, last = outermost(start, end)
    excerpt_end = np.array([end for _, end in index.bounds.values()], dtype=np.intp)
    target = excerpt_end.searchsorted(first, side="right")
    inside = last <= excerpt_end[target]
    first, last, target = first[inside], last[inside], target[inside]
    if not len(first):
        return
    nth = np.minimum(first.searchsorted(start), len(first) - 1)  # no two begin alike
    kept = (first[nth] == start) & (last[nth] == end)
    nth, source = nth[kept], source[kept]
    order = np.lexsort((source, nth))
    borders = np.flatnonzero(np.diff(nth[order])) + 1
    sources = np.split(source[order], borders)
    for place, whence in enumerate(sources):
        yield int(first[place]), int(last[place]), int(target[place]), whence.tolist()
