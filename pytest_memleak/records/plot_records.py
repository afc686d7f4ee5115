"""Chart data of a pair: compact numbers, without the book's text.

Positions are words of the book, intervals half-open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_memleak.records.measurement import PassageRate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_TIMES = re.compile(r"\d{1,9}x\d{1,9}( \d{1,9}x\d{1,9})*")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the book, and the position of the first word below it."""

    title: str | None
    start: int


@dataclass(frozen=True, slots=True)
class SpanNote:
    """A span of one generation: its place, its redacted words, and its source excerpts.

    sources: IDs of excerpts, at most eight; `more` are left out.
    rate: how often its own prompt generated it.
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
    rate: PassageRate | None


@dataclass(frozen=True, slots=True)
class Link:
    """A span in generations for another excerpt; `target`, `sources`: indices of excerpts."""

    start: int
    end: int
    target: int
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlotData:
    """Chart data of one pair.

    heat:     run-length code of the rounds that cover each word: count, length, count, length...
    excerpts, starts: ids of the excerpts and positions of their first words
    block:    the longest block, None where there is none
    curve, guess: mean BMC of m = 1..n rounds, and an estimate for n + t, t = 1..n
    lengths:  (length, number of runs with the prompted excerpt), by length
    spans:    the worst spans, longest first
    links:    the longest cross-excerpt spans over the suite's threshold
    long_count, long_cross: distinct spans over it, and the cross-excerpt ones among them
    null:     BMC and longest span of null books, if measured
    text:     the excerpts' texts, only if requested
    """

    rounds: int
    confidence: float
    agreement: float
    heat: tuple[int, ...] = field(repr=False)
    excerpts: tuple[str, ...] = field(repr=False)
    starts: tuple[int, ...] = field(repr=False)
    chapters: tuple[Heading, ...] = field(repr=False)
    block: tuple[int, int] | None
    curve: tuple[float, ...] = field(repr=False)
    guess: tuple[float, ...] = field(repr=False)
    lengths: tuple[tuple[int, int], ...] = field(repr=False)
    spans: tuple[SpanNote, ...] = field(repr=False)
    links: tuple[Link, ...] = field(repr=False)
    long_count: int
    long_cross: int
    null: tuple[float, int] | None
    text: tuple[str, ...] | None = field(repr=False)

    @property
    def times(self) -> NDArray[np.intc]:
        """Per word of the book, the number of rounds that cover it; shape (N,)."""
        import numpy as np  # collection doesn't need it

        pairs = np.asarray(self.heat, dtype=np.intc).reshape(-1, 2)
        return np.repeat(pairs[:, 0], pairs[:, 1])


@dataclass(frozen=True, slots=True)
class CoveredExcerpt:
    """An excerpt's first word, words, covered words, and longest span for its own prompt."""

    id: str
    start: int
    words: int
    covered: int
    longest_span: int


@dataclass(frozen=True, slots=True)
class PlacedSpan:
    """A span over T, and the generation that has it."""

    start: int
    end: int
    excerpt_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class CoverageMap:
    """Where in its book a pair's generations reproduce it: numbers and excerpt IDs, no text.

    times: rounds that cover each word, as runs: "0x120 3x4" is no round for the first 120 words
           and three rounds for the next 4
    spans: spans over T, longest first
    curve: expected BMC of m = 1..n rounds, to six decimals
    """

    rounds: int
    times: str
    excerpts: tuple[CoveredExcerpt, ...]
    spans: tuple[PlacedSpan, ...]
    curve: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raise ValueError for a number below 0, or runs that are none."""
        numbers = [self.rounds]
        for excerpt in self.excerpts:
            numbers += [excerpt.start, excerpt.words, excerpt.covered, excerpt.longest_span]
        for span in self.spans:
            numbers += [span.start, span.end, span.generation]
        if min(numbers) < 0 or not _TIMES.fullmatch(self.times):
            raise ValueError("no map of covered words")
