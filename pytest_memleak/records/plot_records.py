"""Chart data of a pair: compact numbers, without the book's text.

Positions are words of the book, intervals half-open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pytest_memleak.records.measurement import Passage

_TIMES = re.compile(r"\d{1,9}x\d{1,9}(?: \d{1,9}x\d{1,9})*+")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the book, and the position of the first word below it."""

    title: str | None
    start: int


@dataclass(frozen=True, slots=True)
class SpanNote:
    """A span of one generation, and the excerpts whose prompts produced it.

    sources: IDs of excerpts, at most eight; `more` are left out.
    """

    passage: Passage
    sources: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Link:
    """A span in generations for another excerpt.

    target, sources: indices of excerpts
    """

    start: int
    end: int
    target: int
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlotData:
    """What charts of one pair need beside its map and measures.

    guess:    estimated mean BMC of n + t rounds, t = 1..n
    lengths:  (length, number of runs with the prompted excerpt), by length
    spans:    the worst spans, longest first
    links:    the longest cross-excerpt spans over the suite's threshold
    long_count, long_cross: distinct spans over it, and the cross-excerpt ones among
    them
    text:     the excerpts' texts, only if requested
    """

    chapters: tuple[Heading, ...] = field(repr=False)
    guess: tuple[float, ...] = field(repr=False)
    lengths: tuple[tuple[int, int], ...] = field(repr=False)
    spans: tuple[SpanNote, ...] = field(repr=False)
    links: tuple[Link, ...] = field(repr=False)
    long_count: int
    long_cross: int
    text: tuple[str, ...] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class CoveredExcerpt:
    """An excerpt's first word, words, covered words, and longest span of its prompt."""

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
    """Where in its book a pair's generations reproduce it: numbers and IDs, no text.

    times: rounds that cover each word, as runs: "0x120 3x4" is no round for the first
    120 words
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
            numbers += [
                excerpt.start,
                excerpt.words,
                excerpt.covered,
                excerpt.longest_span,
            ]
        for span in self.spans:
            numbers += [span.start, span.end, span.generation]
        if min(numbers) < 0 or not _TIMES.fullmatch(self.times):
            raise ValueError("no map of covered words")
