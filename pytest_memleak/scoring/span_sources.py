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
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.word_ranges import Distinct, Packing, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.book_layout import Layout
    from pytest_memleak.scoring.word_ranges import NumbersStartsAndEnds, Positions


class ExcerptSpan(NamedTuple):
    """A span [start, end) of the excerpt `target`, and its sources.

    sources: ids of the excerpts whose prompts produced it, in the book's order
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


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class CrossExcerpt:
    """The spans of one pair by source excerpt, by their start.

    ids:     of the book's excerpts
    start, end, target: words [start, end) and excerpt of each span; shape (spans,)
    sources: numbers of the excerpts that produced each span, span after span
    behind:  where each span's end among `sources`; shape (spans,)
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
        source_ids = [self.ids[number] for number in self.sources.tolist()]
        columns = (self.start, self.end, self.target, self.behind)
        rows = np.stack(columns, axis=1)
        spans = []
        first_source = 0
        for row in rows.tolist():
            start, end, target, behind = row
            span = ExcerptSpan(
                words=end - start,
                start=start,
                end=end,
                target=self.ids[target],
                sources=tuple(source_ids[first_source:behind]),
            )
            spans.append(span)
            first_source = behind
        return tuple(spans)

    @property
    def count(self) -> int:
        """Return the number of spans."""
        return len(self.start)

    @property
    def cross(self) -> int:
        """Return the number of spans that another excerpt than theirs produced."""
        span = np.arange(self.count)
        sources_of_span = np.diff(self.behind, prepend=0)
        span_of_source = span.repeat(sources_of_span)
        is_own = self.sources == self.target[span_of_source]
        own_sources = np.bincount(span_of_source, is_own, minlength=self.count)
        return int(np.count_nonzero(own_sources < sources_of_span))

    @property
    def ratio(self) -> float:
        """Return cross-excerpt spans / spans; 0 if there are none."""
        if not self.count:
            return 0.0
        return self.cross / self.count


def cross_excerpt(
    book: Book,
    generations: Iterable[Generation],
    scoring: Scoring,
) -> CrossExcerpt:
    """Return the spans of `book` in its generations, by prompted excerpt.

    Raises BookError for a book that cannot be measured, RecordsError for a generation
    that belongs to none of its excerpts.
    """
    index = SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
    layout = index.books[0].layout
    answers = (
        (_excerpt_number(layout, generation.excerpt_id, book.id), generation.text)
        for generation in generations
    )
    excerpt, start, end = _distinct_matches(index, answers)
    return cross_excerpt_of_matches(layout, excerpt, start, end)


def cross_excerpt_of_matches(
    layout: Layout,
    excerpt: Positions,
    start: Positions,
    end: Positions,
) -> CrossExcerpt:
    """Return the spans among matches [start, end) of generations for each `excerpt`.

    They are those that no other contains and that lie in one excerpt. excerpt: number
    of the prompted one.
    """
    span_start, span_end = outermost(start, end)
    target = layout.ends.searchsorted(span_start, side="right")
    in_one_excerpt = span_end <= layout.ends[target]
    span_start = span_start[in_one_excerpt]
    span_end = span_end[in_one_excerpt]
    target = target[in_one_excerpt]
    spans = len(span_start)
    if not spans:
        nothing = span_start
        return CrossExcerpt(
            layout.ids,
            start=nothing,
            end=nothing,
            target=target,
            sources=nothing,
            behind=nothing,
        )
    # Spans have distinct starts, so a match's start names the only one it can be.
    first_not_before = span_start.searchsorted(start)
    span_of_match = np.minimum(first_not_before, spans - 1)
    starts_alike = span_start[span_of_match] == start
    ends_alike = span_end[span_of_match] == end
    is_span = starts_alike & ends_alike
    span = span_of_match[is_span]
    source = excerpt[is_span]
    excerpts = len(layout.ids)
    by_span_then_source = np.argsort(span * excerpts + source)
    sources_of_span = np.bincount(span)
    return CrossExcerpt(
        ids=layout.ids,
        start=span_start,
        end=span_end,
        target=target,
        sources=source[by_span_then_source],
        behind=sources_of_span.cumsum(),
    )


def cross_book_span_lengths(
    book: Book,
    texts: Iterable[str],
    scoring: Scoring,
) -> list[int]:
    """Return the words of each span of `book` in generations for other books.

    By its start. Prose shares runs of a few words with any book: only long ones matter.
    Raises BookError for a book that cannot be measured.
    """
    index = SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
    layout = index.books[0].layout
    answers = ((0, text) for text in texts)
    excerpt, start, end = _distinct_matches(index, answers)
    spans = cross_excerpt_of_matches(layout, excerpt, start, end)
    words = spans.end - spans.start
    lengths: list[int] = words.tolist()
    return lengths


def _excerpt_number(
    layout: Layout,
    excerpt_id: str,
    book_id: str,
) -> int:
    try:
        return layout.order[excerpt_id]
    except KeyError:
        raise UnknownExcerpt(excerpt_id, book_id=book_id) from None


def _distinct_matches(
    index: SharedIndex,
    answers: Iterable[tuple[int, str]],
) -> NumbersStartsAndEnds:
    """Return source, start and end of the matches of texts from numbered sources."""
    layout = index.books[0].layout
    position_bits = layout.total.bit_length()
    packing = Packing(position_bits, position_bits)
    distinct = Distinct()
    for batch in batches_of(answers, lambda answer: len(answer[1])):
        sources, texts = zip(*batch, strict=True)
        shared = index.matches(texts, near=False)
        matches = shared.matches
        source_of_text = np.array(sources, dtype=np.intp)
        source = source_of_text[matches.text]
        packed = packing.pack(source, matches.start, matches.end)
        distinct.add(packed)
    return packing.unpack(distinct.ascending())
