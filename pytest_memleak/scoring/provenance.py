"""Where a span came from: asked for one excerpt or book, given from another (METRICS section 4).

All matches of at least k words count, untrimmed. Of the distinct intervals of the book, those
that another contains are dropped, and those that lie in no single excerpt (the target).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pytest_memleak.errors import RecordsError
from pytest_memleak.scoring.borders import find_matches_within
from pytest_memleak.scoring.index import Index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.matches import Interval

__all__ = [
    "BookSpan",
    "CrossBook",
    "CrossExcerpt",
    "CrossExcerptTally",
    "ExcerptSpan",
    "Source",
    "cross_book",
    "cross_excerpt",
]

_S = TypeVar("_S")


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
    tally = CrossExcerptTally(index or Index(book, k=scoring.k, mode=scoring.words))
    for generation in generations:
        tally.add(generation)
    return tally.cross_excerpt()


class CrossExcerptTally:
    """`cross_excerpt`, generation by generation."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._sources: dict[Interval, set[str]] = {}

    def add(self, generation: Generation) -> None:
        """Match one generation with the book."""
        matches = find_matches_within(self._index, self._index.code_text(generation.text))
        self.add_matches(generation.excerpt_id, matches)

    def add_matches(self, excerpt_id: str, matches: Iterable[Interval]) -> None:
        """Count what `find_matches_within` found in a generation for that excerpt.

        Raises RecordsError for an excerpt that the book does not have.
        """
        if excerpt_id not in self._index.order:
            raise RecordsError(
                f"a generation is for the excerpt {excerpt_id!r}, which the book does not have",
                hint="score generations against the book they were prompted with",
            )
        for match in matches:
            self._sources.setdefault(match, set()).add(excerpt_id)

    def cross_excerpt(self) -> CrossExcerpt:
        """The spans of all generations so far."""
        order = self._index.order
        spans = tuple(
            ExcerptSpan(
                end - start, start, end, target, tuple(sorted(sources, key=order.__getitem__))
            )
            for (start, end), target, sources in _targeted(self._index, self._sources)
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
    index = index or Index(book, k=scoring.k, mode=scoring.words)
    sources: dict[Interval, set[Source]] = {}
    for book_id, generations in answers.items():
        if book_id == book.id:
            continue
        for generation in generations:
            source = Source(book_id, generation.excerpt_id)
            for match in find_matches_within(index, index.code_text(generation.text)):
                sources.setdefault(match, set()).add(source)
    spans = (
        BookSpan(end - start, start, end, target, tuple(sorted(whence)))
        for (start, end), target, whence in _targeted(index, sources)
    )
    return CrossBook(book.id, tuple(spans))


def _targeted(
    index: Index, sources: Mapping[Interval, set[_S]]
) -> Iterator[tuple[Interval, str, set[_S]]]:
    """The intervals that no other contains and that lie in one excerpt, which is named."""
    excerpts = iter(index.bounds.items())
    target, (_, last) = next(excerpts)
    reached = 0
    for start, end in sorted(sources, key=_by_start_then_longest):
        if end <= reached:  # one that began no later ends no earlier
            continue
        reached = end
        while last <= start:
            target, (_, last) = next(excerpts)
        if end <= last:
            yield (start, end), target, sources[start, end]


def _by_start_then_longest(interval: Interval) -> Interval:
    return interval[0], -interval[1]
