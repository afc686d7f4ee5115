"""What the charts of a report need of one pair: plain numbers, compact, without the book's text.

It travels from xdist's workers to the process that writes the report. Positions are words of the
book, intervals half-open.
"""

from __future__ import annotations

import bisect
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_memleak.reports.inert import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.evaluation import Evaluation
    from pytest_memleak.records import Book, Measurement, Span
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.provenance import CrossExcerpt, ExcerptSpan

__all__ = ["Chapter", "Link", "Portrait", "SpanNote", "portrait"]

_SPANS = 12
_LINKS = 150
_SOURCES = 8


@dataclass(frozen=True, slots=True)
class Chapter:
    """A heading of the book, and the position of the first word under it."""

    title: str | None
    start: int


@dataclass(frozen=True, slots=True)
class SpanNote:
    """A span of one generation: its place, its redacted words, and which excerpts gave it.

    sources: ids of excerpts, at most eight of them; more: how many are left out.
    """

    words: int
    start: int
    end: int
    chapter: str | None
    excerpt: str
    generation: int | None
    quote: str = field(repr=False)
    sources: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Link:
    """A span that another excerpt's generations gave.

    target, sources: places among the excerpts.
    """

    start: int
    end: int
    target: int
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Portrait:
    """One pair, to be drawn.

    rounds, confidence: n, and of the interval of BMC
    heat:     run-length code of the rounds that cover each word: count, length, count, length...
    excerpts, starts: ids of the excerpts and positions of their first words
    block:    the longest block, None where there is none
    curve, guess: mean BMC of m = 1..n rounds, and a guess at n + t for t = 1..n
    lengths:  (length, how many runs with the own excerpt), by length
    spans:    the worst spans, longest first
    links:    the longest cross-excerpt spans; span_count, cross_count: of all
    null:     BMC and longest span of the generations for other books, where it was measured
    text:     the excerpts' texts, only where the reader asked for all of it
    """

    rounds: int
    confidence: float
    agreement: float
    heat: tuple[int, ...] = field(repr=False)
    excerpts: tuple[str, ...] = field(repr=False)
    starts: tuple[int, ...] = field(repr=False)
    chapters: tuple[Chapter, ...] = field(repr=False)
    block: tuple[int, int] | None
    curve: tuple[float, ...] = field(repr=False)
    guess: tuple[float, ...] = field(repr=False)
    lengths: tuple[tuple[int, int], ...] = field(repr=False)
    spans: tuple[SpanNote, ...] = field(repr=False)
    links: tuple[Link, ...] = field(repr=False)
    span_count: int
    cross_count: int
    null: tuple[float, int] | None
    text: tuple[str, ...] | None = field(repr=False)

    @property
    def times(self) -> NDArray[np.intc]:
        """Per word of the book, the number of rounds that cover it; shape (N,)."""
        pairs = np.asarray(self.heat, dtype=np.intc).reshape(-1, 2)
        return np.repeat(pairs[:, 0], pairs[:, 1])

    def to_json(self) -> dict[str, Any]:
        """As plain tuples and dicts."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Portrait:
        """The inverse of `to_json`, also after a journey through JSON."""
        plain = ("heat", "excerpts", "starts", "curve", "guess", "block", "null", "text")
        return cls(
            **{
                **data,
                **{name: _tuple(data[name]) for name in plain},
                "chapters": tuple(Chapter(**one) for one in data["chapters"]),
                "lengths": tuple((length, count) for length, count in data["lengths"]),
                "spans": tuple(
                    SpanNote(**{**one, "sources": tuple(one["sources"])}) for one in data["spans"]
                ),
                "links": tuple(
                    Link(**{**one, "sources": tuple(one["sources"])}) for one in data["links"]
                ),
            }
        )


def _tuple(values: Iterable[Any] | None) -> Any:
    return None if values is None else tuple(values)


def portrait(evaluation: Evaluation, *, quoted: int | None) -> Portrait | None:
    """The portrait of a pair that was measured; `quoted` words of each span, None for all.

    With None, and only then, it holds the book's text.
    """
    analysis, book = evaluation.analysis, evaluation.book
    if analysis is None or book is None:
        return None
    measured, error = analysis.measurement, analysis.error
    block = measured.longest_block
    return Portrait(
        rounds=error.rounds,
        confidence=error.confidence,
        agreement=analysis.agreement,
        heat=_run_lengths(analysis.counts.times),
        excerpts=tuple(excerpt.id for excerpt in book.excerpts),
        starts=measured.excerpt_starts,
        chapters=_chapters(book, measured),
        block=None if block.start is None or block.end is None else (block.start, block.end),
        curve=_rounded(error.curve),
        guess=_rounded(error.guess),
        lengths=tuple(sorted(analysis.lengths.items())),
        spans=_worst(analysis, book, quoted),
        links=_links(analysis.cross, book),
        span_count=analysis.cross.count,
        cross_count=analysis.cross.cross,
        null=(analysis.null.null_bmc, analysis.null.null_longest_span) if analysis.null else None,
        text=tuple(excerpt.text for excerpt in book.excerpts) if quoted is None else None,
    )


def _run_lengths(times: NDArray[np.intc]) -> tuple[int, ...]:
    edges = np.flatnonzero(np.diff(times)) + 1
    starts = np.concatenate(([0], edges))
    lengths = np.diff(np.concatenate((starts, [len(times)])))
    return tuple(np.column_stack((times[starts], lengths)).ravel().tolist())


def _rounded(shares: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(share, 6) for share in shares)


def _chapters(book: Book, measured: Measurement) -> tuple[Chapter, ...]:
    """Where each heading begins; a book without headings is one chapter."""
    found: list[Chapter] = []
    for excerpt, start in zip(book.excerpts, measured.excerpt_starts, strict=True):
        if not found or excerpt.chapter != found[-1].title:
            found.append(Chapter(excerpt.chapter, start))
    return tuple(found)


def _worst(analysis: Analysis, book: Book, quoted: int | None) -> tuple[SpanNote, ...]:
    measured = analysis.measurement
    spans = measured.spans[:_SPANS] or (measured.longest_span,)
    given = analysis.cross.spans
    starts = [one.start for one in given]
    return tuple(
        _note(span, _containing(span, given, starts), measured, book, quoted)
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
    measured: Measurement,
    book: Book,
    quoted: int | None,
) -> SpanNote:
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
    )


def _links(cross: CrossExcerpt, book: Book) -> tuple[Link, ...]:
    order = {excerpt.id: place for place, excerpt in enumerate(book.excerpts)}
    crossing = sorted((one for one in cross.spans if one.cross), key=lambda one: -one.words)
    return tuple(
        Link(
            one.start,
            one.end,
            order[one.target],
            tuple(order[source] for source in one.sources if source != one.target)[:_SOURCES],
        )
        for one in crossing[:_LINKS]
    )
