"""Source excerpts of spans: the excerpt whose prompt produced each (docs/method.md).

All matches of at least k words count, untrimmed. Of the distinct intervals of the book, those
that another contains are dropped, and those that lie in no single excerpt (the target).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.records.paper_format import missing_excerpt_error
from pytest_memleak.scoring.intervals import Distinct, Packing, outermost
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.text_batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


def cross_excerpt(book: Book, generations: Iterable[Generation], scoring: Scoring) -> CrossExcerpt:
    """Return the spans of `book` in its generations, by prompted excerpt.

    Raises BookError for a book that cannot be measured, RecordsError for a generation that
    belongs to none of its excerpts.
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
    """Return the spans among matches [start, end), by the number of the prompted `excerpt`."""
    ids = layout.ids
    spans = tuple(
        ExcerptSpan(last - first, first, last, ids[target], tuple(map(ids.__getitem__, sources)))
        for first, last, target, sources in _spans_within_excerpts(layout, excerpt, start, end)
    )
    return CrossExcerpt(spans, sum(span.cross for span in spans))


def cross_book(book: Book, texts: Iterable[str], scoring: Scoring) -> list[int]:
    """Return the words of each span of `book` in generations for other books, by its start.

    Prose shares runs of a few words with any book: only long ones matter. Raises BookError for a
    book that cannot be measured.
    """
    index = SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
    matches = _distinct_matches(index, ((0, text) for text in texts))
    spans = _spans_within_excerpts(index.books[0].layout, *matches)
    return [last - first for first, last, _, _ in spans]


def _place(layout: Layout, excerpt_id: str, book_id: str) -> int:
    try:
        return layout.order[excerpt_id]
    except KeyError:
        raise missing_excerpt_error(excerpt_id, book_id=book_id) from None


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


def _spans_within_excerpts(
    layout: Layout, source: Positions, start: Positions, end: Positions
) -> Iterator[tuple[int, int, int, list[int]]]:
    """Yield the intervals that no other contains and that lie in one excerpt, with its number.

    The sources of each follow, ascending.
    """
    first, last = outermost(start, end)
    target = layout.ends.searchsorted(first, side="right")
    inside = last <= layout.ends[target]
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
