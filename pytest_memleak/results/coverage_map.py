"""Where in its book a pair's generations reproduce it, for evidence and charts.

The evidence's map (`CoverageMap`) has numbers and excerpt IDs, no text.
`build_plot_data` adds what the charts need. Positions are words of the book, intervals
half-open.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import EvidenceError
from pytest_memleak.records.plot_records import (
    CoverageMap,
    CoveredExcerpt,
    Heading,
    Link,
    PlacedSpan,
    PlotData,
    SpanNote,
)
from pytest_memleak.results.quotes import own_passage, shown_title
from pytest_memleak.scoring.coverage_similarity import Similarity, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Measurement, Span
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.span_sources import ExcerptSpan
    from pytest_memleak.verdict.evaluation import Evaluation

ModelMatrix = tuple[tuple[Similarity | float | None, ...], ...]
# A bundle is untrusted: its lengths would be allocated.
_MOST_WORDS = 100_000_000


def coverage_map(analysis: Analysis, excerpts: Sequence[str]) -> CoverageMap:
    """Build a pair's map of covered words; excerpts: IDs, in order."""
    measured = analysis.measurement
    times = analysis.counts.times
    borders = [*measured.excerpt_starts, measured.words]
    covered_until = np.concatenate(([0], np.cumsum(times > 0)))
    rows = zip(
        excerpts,
        measured.excerpt_starts,
        np.diff(borders).tolist(),
        np.diff(covered_until[borders]).tolist(),
        analysis.own_spans.by_excerpt,
        strict=True,
    )
    return CoverageMap(
        rounds=analysis.counts.rounds,
        times=" ".join(f"{count}x{length}" for count, length in run_lengths(times)),
        excerpts=tuple(CoveredExcerpt(*row) for row in rows),
        spans=tuple(_placed(span) for span in measured.spans),
        curve=_rounded(analysis.error.curve),
    )


def _placed(span: Span) -> PlacedSpan:
    return PlacedSpan(
        start=span.start or 0,
        end=span.end or 0,
        excerpt_id=span.excerpt_id or "",
        generation=span.generation or 0,
    )


def run_lengths(times: NDArray[np.intc]) -> Iterator[tuple[int, int]]:
    """Yield runs of equal numbers as (number, length)."""
    changes = np.flatnonzero(np.diff(times)) + 1
    starts = np.concatenate(([0], changes))
    lengths = np.diff(np.concatenate((starts, [len(times)])))
    return zip(times[starts].tolist(), lengths.tolist(), strict=True)


def compare_coverage(a: CoverageMap, b: CoverageMap) -> Similarity | None:
    """Compare which words two models reproduce; None unless of the same excerpts."""
    if _places(a) != _places(b):
        return None
    return compare(decode_times(a) > 0, decode_times(b) > 0)


def _places(coverage: CoverageMap) -> list[tuple[str, int, int]]:
    return [(excerpt.id, excerpt.start, excerpt.words) for excerpt in coverage.excerpts]


def compare_models(
    maps: Sequence[CoverageMap],
    agreements: Sequence[float | None],
) -> ModelMatrix:
    """Compare which words each two models reproduce of the same excerpts.

    agreements: each model's with itself, which stand on the diagonal
    """
    masks = [decode_times(coverage) > 0 for coverage in maps]
    matrix: list[tuple[Similarity | float | None, ...]] = []
    for nth, agreement in enumerate(agreements):
        row: list[Similarity | float | None]
        row = [compare(masks[nth], mask) for mask in masks]
        row[nth] = agreement
        matrix.append(tuple(row))
    return tuple(matrix)


def decode_times(coverage: CoverageMap) -> NDArray[np.intc]:
    """Decode the rounds that cover each word from a map of a bundle; shape (N,).

    Raises EvidenceError if its runs don't add up to its excerpts' words.
    """
    words = sum(excerpt.words for excerpt in coverage.excerpts)
    counts: list[int] = []
    lengths: list[int] = []
    for run in coverage.times.split():
        count, _, length = run.partition("x")
        counts.append(int(count))
        lengths.append(int(length))
    fits = sum(lengths) == words and max(counts, default=0) <= coverage.rounds
    if not fits or words > _MOST_WORDS:
        raise EvidenceError("coverage.times doesn't match the words of its excerpts")
    return np.repeat(np.array(counts, dtype=np.intc), lengths)


_SPANS = 12
_LINKS = 150
_SOURCES = 8


def build_plot_data(evaluation: Evaluation, *, quoted: int | None) -> PlotData | None:
    """Build a measured pair's chart data; `quoted` words of each span, None for all.

    Only None includes the book's text.
    """
    analysis = evaluation.analysis
    book = evaluation.book
    if analysis is None or book is None:
        return None
    threshold = evaluation.pair.scoring.effective_threshold
    long = [span for span in analysis.cross.spans if span.words > threshold]
    crossing = [span for span in long if span.cross]
    text = None
    if quoted is None:
        text = tuple(excerpt.text for excerpt in book.excerpts)
    return PlotData(
        chapters=_chapters(book, analysis.measurement),
        guess=_rounded(analysis.error.guess),
        lengths=tuple(sorted(analysis.lengths.items())),
        spans=_worst_spans(analysis, book, quoted),
        links=_links(crossing, book),
        long_count=len(long),
        long_cross=len(crossing),
        text=text,
    )


def _rounded(shares: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(share), 6) for share in shares)


def _chapters(book: Book, measured: Measurement) -> tuple[Heading, ...]:
    """Return where each heading begins; a book without headings is one chapter."""
    headings: list[Heading] = []
    for excerpt, start in zip(book.excerpts, measured.excerpt_starts, strict=True):
        title = shown_title(excerpt.chapter)
        if not headings or title != headings[-1].title:
            headings.append(Heading(title, start))
    return tuple(headings)


def _worst_spans(
    analysis: Analysis,
    book: Book,
    quoted: int | None,
) -> tuple[SpanNote, ...]:
    measured = analysis.measurement
    spans = measured.spans[:_SPANS] or (measured.longest_span,)
    cross_spans = analysis.cross.spans
    starts = [span.start for span in cross_spans]
    return tuple(
        _span_note(span, _containing(span, cross_spans, starts), analysis, book, quoted)
        for span in spans
        if span.start is not None
    )


def _containing(
    span: Span,
    cross_spans: Sequence[ExcerptSpan],
    starts: Sequence[int],
) -> ExcerptSpan | None:
    """Return the span of any generation that contains this one.

    None if it crosses excerpts.

    starts: of `cross_spans`
    """
    place = bisect.bisect_right(starts, span.start or 0) - 1
    if place < 0 or cross_spans[place].end < (span.end or 0):
        return None
    return cross_spans[place]


def _span_note(
    span: Span,
    source_span: ExcerptSpan | None,
    analysis: Analysis,
    book: Book,
    quoted: int | None,
) -> SpanNote:
    passage = own_passage("span", span, analysis, book, quoted)
    sources = source_span.sources if source_span else (passage.excerpt_id,)
    return SpanNote(passage, sources[:_SOURCES], max(0, len(sources) - _SOURCES))


def _links(crossing: Sequence[ExcerptSpan], book: Book) -> tuple[Link, ...]:
    """Return the longest spans in generations for other excerpts, as links to these."""
    order = {excerpt.id: place for place, excerpt in enumerate(book.excerpts)}
    longest_first = sorted(crossing, key=lambda span: -span.words)
    links: list[Link] = []
    for span in longest_first[:_LINKS]:
        others = [source for source in span.sources if source != span.target]
        sources = tuple(order[source] for source in others[:_SOURCES])
        links.append(Link(span.start, span.end, order[span.target], sources))
    return tuple(links)
