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

    from pytest_memleak.records import Book, Measurement, Span
    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.array_types import Flags, PerWord
    from pytest_memleak.scoring.span_sources import ExcerptSpan
    from pytest_memleak.verdict.evaluation import Evaluation

MatrixCell = Similarity | float | None
ModelMatrix = tuple[tuple[MatrixCell, ...], ...]
# A bundle is untrusted: its lengths would be allocated.
_MOST_WORDS = 100_000_000


def coverage_map(analysis: Analysis, excerpts: Sequence[str]) -> CoverageMap:
    """Build a pair's map of covered words; excerpts: IDs, in order."""
    measured = analysis.measurement
    times = analysis.counts.times
    bounds = [*measured.excerpt_starts, measured.words]
    words = np.diff(bounds)
    covered_words = np.cumsum(times > 0)
    covered_until = np.concatenate(([0], covered_words))
    covered = np.diff(covered_until[bounds])
    columns = (
        excerpts,
        measured.excerpt_starts,
        words.tolist(),
        covered.tolist(),
        analysis.own_spans.by_excerpt,
    )
    rows = zip(*columns, strict=True)
    runs = [f"{count}x{length}" for count, length in run_lengths(times)]
    return CoverageMap(
        rounds=analysis.counts.rounds,
        times=" ".join(runs),
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


def run_lengths(times: PerWord) -> Iterator[tuple[int, int]]:
    """Yield runs of equal numbers as (number, length)."""
    step = np.diff(times)
    changes = np.flatnonzero(step) + 1
    starts = np.concatenate(([0], changes))
    edges = np.concatenate((starts, [len(times)]))
    numbers = times[starts].tolist()
    lengths = np.diff(edges).tolist()
    return zip(numbers, lengths, strict=True)


def compare_coverage(a: CoverageMap, b: CoverageMap) -> Similarity | None:
    """Compare which words two models reproduce; None unless of the same excerpts."""
    if _excerpts_and_places(a) != _excerpts_and_places(b):
        return None
    return compare(_mask(a), _mask(b))


def _mask(coverage: CoverageMap) -> Flags:
    """Tell which words any round covers."""
    mask: Flags = decode_rounds_per_word(coverage) > 0
    return mask


def _excerpts_and_places(coverage: CoverageMap) -> list[tuple[str, int, int]]:
    places = []
    for excerpt in coverage.excerpts:
        places.append((excerpt.id, excerpt.start, excerpt.words))
    return places


def compare_models(
    maps: Sequence[CoverageMap],
    agreements: Sequence[float | None],
) -> ModelMatrix:
    """Compare which words each two models reproduce of the same excerpts.

    agreements: each model's with itself, which stand on the diagonal
    """
    masks = [_mask(coverage) for coverage in maps]
    matrix: list[tuple[MatrixCell, ...]] = []
    for nth, agreement in enumerate(agreements):
        own = masks[nth]
        row: list[MatrixCell] = [compare(own, mask) for mask in masks]
        row[nth] = agreement
        matrix.append(tuple(row))
    return tuple(matrix)


def decode_rounds_per_word(coverage: CoverageMap) -> PerWord:
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
    lengths_fit = sum(lengths) == words
    counts_fit = max(counts, default=0) <= coverage.rounds
    is_too_long = words > _MOST_WORDS
    if is_too_long or not lengths_fit or not counts_fit:
        raise EvidenceError("coverage.times doesn't match the words of its excerpts")
    rounds = np.array(counts, dtype=np.intc)
    return np.repeat(rounds, lengths)


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
    rounded = [round(float(share), 6) for share in shares]
    return tuple(rounded)


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
    notes = []
    for span in spans:
        if span.start is None:
            continue
        source_span = _containing(span, cross_spans, starts)
        passage = own_passage("span", span, analysis, book, quoted)
        notes.append(_span_note(passage, source_span))
    return tuple(notes)


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
    if place < 0:
        return None
    last_before = cross_spans[place]
    if last_before.end < (span.end or 0):
        return None
    return last_before


def _span_note(passage: Passage, source_span: ExcerptSpan | None) -> SpanNote:
    sources: tuple[str, ...] = (passage.excerpt_id,)
    if source_span:
        sources = source_span.sources
    left_out = sources[_SOURCES:]
    return SpanNote(
        passage=passage,
        sources=sources[:_SOURCES],
        more=len(left_out),
    )


def _links(crossing: Sequence[ExcerptSpan], book: Book) -> tuple[Link, ...]:
    """Return the longest spans in generations for other excerpts, as links to these."""
    order = {excerpt.id: place for place, excerpt in enumerate(book.excerpts)}
    longest_first = sorted(crossing, key=lambda span: -span.words)
    links: list[Link] = []
    for span in longest_first[:_LINKS]:
        others = [source for source in span.sources if source != span.target]
        sources = [order[source] for source in others[:_SOURCES]]
        target = order[span.target]
        link = Link(
            start=span.start,
            end=span.end,
            target=target,
            sources=tuple(sources),
        )
        links.append(link)
    return tuple(links)
