"""Source excerpts of spans: the excerpt or book whose prompt produced each (METRICS section 4).

All matches of at least k words count, untrimmed. Of the distinct intervals of the book, those
that another contains are dropped, and those that lie in no single excerpt (the target).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.records.paper_format import missing_excerpt_error
from pytest_memleak.scoring.index import Index, match_all
from pytest_memleak.scoring.intervals import Distinct, Packing, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.index import Layout
    from pytest_memleak.scoring.intervals import Positions


class ExcerptSpan(NamedTuple):
    """A span [start, end) of the excerpt `target`, and the excerpts whose prompts produced it.

    sources: ids of the excerpts, in the book's order.
    """

    words: int
    start: int
    end: int
    target: str
    sources: tuple[str, ...]

    @property
    def cross(self) -> bool:
        """Return whether an excerpt other than its own produced it."""
        return self.sources != (self.target,)


@dataclass(frozen=True, slots=True)
class CrossExcerpt:
    """The spans of one pair by source excerpt.

    spans: by their start; cross: number of spans that another excerpt than theirs produced.
    """

    spans: tuple[ExcerptSpan, ...] = field(repr=False)
    cross: int

    @property
    def count(self) -> int:
        """Return the number of spans."""
        return len(self.spans)

    @property
    def ratio(self) -> float:
        """Return cross-excerpt spans / spans; 0 if there are none."""
        return self.cross / len(self.spans) if self.spans else 0.0


@dataclass(frozen=True, slots=True, order=True)
class PromptedExcerpt:
    """A prompted excerpt of a book."""

    book_id: str
    excerpt_id: str


class BookSpan(NamedTuple):
    """A span [start, end) of the excerpt `target` in generations for other books.

    sources: their prompted excerpts, ascending.
    """

    words: int
    start: int
    end: int
    target: str
    sources: tuple[PromptedExcerpt, ...]


@dataclass(frozen=True, slots=True)
class CrossBook:
    """The spans of one book in a model's generations for other books, by start.

    Prose shares runs of a few words with any book: only long ones matter.
    """

    book_id: str
    spans: tuple[BookSpan, ...] = field(repr=False)

    @property
    def count(self) -> int:
        """Return the number of spans."""
        return len(self.spans)

    @property
    def longest(self) -> BookSpan | None:
        """Return the longest span; the first of equals."""
        return max(self.spans, key=lambda span: span.words, default=None)

    def over(self, words: int) -> int:
        """Return how many spans are longer than `words`."""
        return sum(span.words > words for span in self.spans)


def cross_excerpt(
    book: Book, generations: Iterable[Generation], scoring: Scoring, *, index: Index | None = None
) -> CrossExcerpt:
    """Return the spans of `book` in its generations, by prompted excerpt.

    index: of this book with this `scoring`, if already built.
    Raises BookError for a book that cannot be measured, RecordsError for a generation that
    belongs to none of its excerpts.
    """
    index = index or Index(book, k=scoring.k, mode=scoring.word_mode)
    texts = (
        (_place(index, generation.excerpt_id, book.id), generation.text)
        for generation in generations
    )
    return cross_excerpts(index, *distinct_matches(index, texts))


def cross_excerpts(
    index: Index | Layout, excerpt: Positions, start: Positions, end: Positions
) -> CrossExcerpt:
    """Return the spans among matches [start, end), by the number of the prompted `excerpt`."""
    ids = list(index.bounds)
    spans = tuple(
        ExcerptSpan(last - first, first, last, ids[target], tuple(map(ids.__getitem__, sources)))
        for first, last, target, sources in spans_within_excerpts(index, excerpt, start, end)
    )
    return CrossExcerpt(spans, sum(span.cross for span in spans))


def cross_book(
    book: Book,
    answers: Mapping[str, Iterable[Generation]],
    scoring: Scoring,
    *,
    index: Index | None = None,
) -> CrossBook:
    """Return the spans of `book` in generations for other books.

    answers: per id of another book, one model's generations for it; the book's own, if included,
    are left out. index: of this book with this `scoring`, if already built.
    Raises BookError for a book that cannot be measured.
    """
    index = index or Index(book, k=scoring.k, mode=scoring.word_mode)
    numbers: dict[PromptedExcerpt, int] = {}
    texts = (
        (
            numbers.setdefault(PromptedExcerpt(book_id, generation.excerpt_id), len(numbers)),
            generation.text,
        )
        for book_id, generations in answers.items()
        if book_id != book.id
        for generation in generations
    )
    matches = distinct_matches(index, texts)
    sources, ids = list(numbers), list(index.bounds)
    spans = (
        BookSpan(
            last - first,
            first,
            last,
            ids[target],
            tuple(sorted(sources[source] for source in numbers_of_span)),
        )
        for first, last, target, numbers_of_span in spans_within_excerpts(index, *matches)
    )
    return CrossBook(book.id, tuple(spans))


def _place(index: Index, excerpt_id: str, book_id: str) -> int:
    try:
        return index.order[excerpt_id]
    except KeyError:
        raise missing_excerpt_error(excerpt_id, book_id=book_id) from None


def distinct_matches(
    index: Index, answers: Iterable[tuple[int, str]]
) -> tuple[Positions, Positions, Positions]:
    """Return source, start and end of the matches of texts from numbered sources."""
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


def spans_within_excerpts(
    index: Index | Layout, source: Positions, start: Positions, end: Positions
) -> Iterator[tuple[int, int, int, list[int]]]:
    """Yield the intervals that no other contains and that lie in one excerpt, with its number.

    The sources of each follow, ascending.
    """
    first, last = outermost(start, end)
    excerpt_end = np.array([end for _, end in index.bounds.values()], dtype=np.intp)
    target = excerpt_end.searchsorted(first, side="right")
    inside = last <= excerpt_end[target]
    first, last, target = first[inside], last[inside], target[inside]
    if not len(first):
        return
    nth = np.minimum(first.searchsorted(start), len(first) - 1)  # starts are distinct
    kept = (first[nth] == start) & (last[nth] == end)
    nth, source = nth[kept], source[kept]
    order = np.lexsort((source, nth))
    sources, begin = source[order].tolist(), 0
    ends = np.bincount(nth).cumsum()
    rows = np.stack((first, last, target, ends), axis=1).tolist()
    for span_start, span_end, excerpt, behind in rows:
        yield span_start, span_end, excerpt, sources[begin:behind]
        begin = behind
