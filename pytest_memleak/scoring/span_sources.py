"""Source excerpts of spans: the excerpt whose prompt produced each (docs/method.md).

All matches of at least k words count, untrimmed. Of the distinct intervals of the book,
those that another contains are dropped, and those that lie in no single excerpt (the
target).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import UnknownExcerpt
from pytest_memleak.scoring.intervals import Distinct, Packing, outermost
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.text_batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.book_layout import Layout
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


@dataclass(frozen=True, slots=True, eq=False)
class CrossExcerpt:
    """The spans of one pair by source excerpt, by their start.

    ids: of the book's excerpts; start, end, target: of each span
    sources, behind: numbers of all spans' sources, and where each span's end
    """

    ids: Sequence[str] = field(repr=False)
    start: Positions = field(repr=False)
    end: Positions = field(repr=False)
    target: Positions = field(repr=False)
    sources: Positions = field(repr=False)
    behind: Positions = field(repr=False)

    @property
    def spans(self) -> tuple[ExcerptSpan, ...]:
        """Return the spans as records."""
        ids, sources = self.ids, [self.ids[source] for source in self.sources.tolist()]
        columns = (self.start, self.end, self.target, self.behind)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        spans, begin = [], 0
        for start, end, target, behind in rows:
            sources_of_span = tuple(sources[begin:behind])
            spans.append(
                ExcerptSpan(end - start, start, end, ids[target], sources_of_span)
            )
            begin = behind
        return tuple(spans)

    @property
    def count(self) -> int:
        """Return the number of spans."""
        return len(self.start)

    @property
    def cross(self) -> int:
        """Return the number of spans that another excerpt than theirs produced."""
        of = np.arange(self.count).repeat(np.diff(self.behind, prepend=0))
        own = np.bincount(of, self.sources == self.target[of], minlength=self.count)
        return int(np.count_nonzero(own < np.bincount(of, minlength=self.count)))

    @property
    def ratio(self) -> float:
        """Return cross-excerpt spans / spans; 0 if there are none."""
        return self.cross / self.count if self.count else 0.0


def cross_excerpt(
    book: Book, generations: Iterable[Generation], scoring: Scoring
) -> CrossExcerpt:
    """Return the spans of `book` in its generations, by prompted excerpt.

    Raises BookError for a book that cannot be measured, RecordsError for a generation
    that belongs to none of its excerpts.
    """
    index = SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
    layout = index.books[0].layout
    texts = (
        (_place(layout, generation.excerpt_id, book.id), generation.text)
        for generation in generations
    )
    return cross_excerpts(layout, *_distinct_matches(index, texts))


def cross_excerpts(
    layout: Layout, excerpt: Positions, start: Positions, end: Positions
) -> CrossExcerpt:
    """Return the spans among matches [start, end), by the number of the prompted `excerpt`.

    They are those that no other contains and that lie in one excerpt.
    """
    first, last = outermost(start, end)
    target = layout.ends.searchsorted(first, side="right")
    inside = last <= layout.ends[target]
    first, last, target = first[inside], last[inside], target[inside]
    if not len(first):
        return CrossExcerpt(layout.ids, first, last, target, first, first)
    nth = np.minimum(first.searchsorted(start), len(first) - 1)  # starts are distinct
    kept = (first[nth] == start) & (last[nth] == end)
    nth, source = nth[kept], excerpt[kept]
    order = np.argsort(nth * len(layout.ids) + source)
    behind = np.bincount(nth).cumsum()
    return CrossExcerpt(layout.ids, first, last, target, source[order], behind)


def cross_book(book: Book, texts: Iterable[str], scoring: Scoring) -> list[int]:
    """Return the words of each span of `book` in generations for other books, by its start.

    Prose shares runs of a few words with any book: only long ones matter. Raises
    BookError for a book that cannot be measured.
    """
    index = SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
    matches = _distinct_matches(index, ((0, text) for text in texts))
    spans = cross_excerpts(index.books[0].layout, *matches)
    lengths: list[int] = (spans.end - spans.start).tolist()
    return lengths


def _place(layout: Layout, excerpt_id: str, book_id: str) -> int:
    try:
        return layout.order[excerpt_id]
    except KeyError:
        raise UnknownExcerpt(excerpt_id, book_id=book_id) from None


def _distinct_matches(
    index: SharedIndex, answers: Iterable[tuple[int, str]]
) -> tuple[Positions, Positions, Positions]:
    """Return source, start and end of the matches of texts from numbered sources."""
    bits = index.books[0].layout.total.bit_length()
    packing = Packing(bits, bits)
    distinct = Distinct()
    for batch in batches_of(answers, lambda answer: len(answer[1])):
        sources, texts = zip(*batch, strict=True)
        matches = index.matches(texts, near=False).matches
        source = np.array(sources, dtype=np.intp)[matches.text]
        distinct.add(packing.pack(source, matches.start, matches.end))
    return packing.unpack(distinct.ascending())
