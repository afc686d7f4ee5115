"""What the charts of a report need of one pair: plain numbers, compact, without the book's text.

It travels from xdist's workers to the process that writes the report. Positions are words of the
book, intervals half-open.
"""

from __future__ import annotations

import bisect
from itertools import chain
from typing import TYPE_CHECKING

from pytest_memleak.records.plot_records import Heading, Link, PlotData, SpanNote
from pytest_memleak.results.coverage_map import run_lengths
from pytest_memleak.results.quotes import quote
from pytest_memleak.results.rates import rate_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records import Book, Measurement, Span
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.span_sources import ExcerptSpan
    from pytest_memleak.verdict.evaluation import Evaluation

_SPANS = 12
_LINKS = 150
_SOURCES = 8


def plot_data(evaluation: Evaluation, *, quoted: int | None) -> PlotData | None:
    """The plot data of a pair that was measured; `quoted` words of each span, None for all.

    With None, and only then, it holds the book's text.
    """
    analysis, book = evaluation.analysis, evaluation.book
    if analysis is None or book is None:
        return None
    measured, error = analysis.measurement, analysis.error
    block = measured.longest_block
    over = evaluation.pair.scoring.span_threshold
    long = [one for one in analysis.cross.spans if one.words > over]
    crossing = [one for one in long if one.cross]
    return PlotData(
        rounds=error.rounds,
        confidence=error.confidence,
        agreement=analysis.agreement,
        heat=tuple(chain.from_iterable(run_lengths(analysis.counts.times))),
        excerpts=tuple(excerpt.id for excerpt in book.excerpts),
        starts=measured.excerpt_starts,
        chapters=_chapters(book, measured),
        block=None if block.start is None or block.end is None else (block.start, block.end),
        curve=_rounded(error.curve),
        guess=_rounded(error.guess),
        lengths=tuple(sorted(analysis.lengths.items())),
        spans=_worst(analysis, book, quoted),
        links=_links(crossing, book),
        long_count=len(long),
        long_cross=len(crossing),
        null=(analysis.null.null_bmc, analysis.null.null_longest_span) if analysis.null else None,
        text=tuple(excerpt.text for excerpt in book.excerpts) if quoted is None else None,
    )


def _rounded(shares: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(share, 6) for share in shares)


def _chapters(book: Book, measured: Measurement) -> tuple[Heading, ...]:
    """Where each heading begins; a book without headings is one chapter."""
    found: list[Heading] = []
    for excerpt, start in zip(book.excerpts, measured.excerpt_starts, strict=True):
        if not found or excerpt.chapter != found[-1].title:
            found.append(Heading(excerpt.chapter, start))
    return tuple(found)


def _worst(analysis: Analysis, book: Book, quoted: int | None) -> tuple[SpanNote, ...]:
    measured = analysis.measurement
    spans = measured.spans[:_SPANS] or (measured.longest_span,)
    given = analysis.cross.spans
    starts = [one.start for one in given]
    return tuple(
        _note(span, _containing(span, given, starts), analysis, book, quoted)
        for span in spans
        if span.start is not None
    )


def _containing(
    span: Span, given: Sequence[ExcerptSpan], starts: Sequence[int]
) -> ExcerptSpan | None:
    """The span of all generations that holds this one; none where that crosses a border."""
    start, end = span.start or 0, span.end or 0
    place = bisect.bisect_right(starts, start) - 1
    return given[place] if place >= 0 and given[place].end >= end else None


def _note(
    span: Span,
    given: ExcerptSpan | None,
    analysis: Analysis,
    book: Book,
    quoted: int | None,
) -> SpanNote:
    measured = analysis.measurement
    start, end = span.start or 0, span.end or 0
    excerpt = book.excerpts[measured.excerpt_at(start)]
    sources = given.sources if given else (excerpt.id,)
    return SpanNote(
        words=span.words,
        start=start,
        end=end,
        chapter=excerpt.chapter,
        excerpt=excerpt.id,
        generation=span.generation,
        quote=quote(book, span, measured, most=quoted),
        sources=sources[:_SOURCES],
        more=max(0, len(sources) - _SOURCES),
        rate=rate_of(analysis, start, end),
    )


def _links(crossing: Sequence[ExcerptSpan], book: Book) -> tuple[Link, ...]:
    order = {excerpt.id: place for place, excerpt in enumerate(book.excerpts)}
    return tuple(
        Link(
            one.start,
            one.end,
            order[one.target],
            tuple(order[source] for source in one.sources if source != one.target)[:_SOURCES],
        )
        for one in sorted(crossing, key=lambda one: -one.words)[:_LINKS]
    )
