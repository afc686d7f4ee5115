"""Measurements of a pair: runs of the book's words, coverage, measures, its rounds.

Positions are 0-based positions in the book's words, intervals half-open
(docs/method.md).
A `Measure` is a row of the table in `scoring.measure_table`; extensions add rows.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from pytest_memleak.records.book import WordMode


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class Block:
    """A run of the book's words [start, end), `words` long; both None if it is empty.

    It compares with runs and numbers by its length in words, so a test can assert
    `memorization.longest_passage <= 38`. Equal runs also have equal positions.
    """

    words: int
    start: int | None = None
    end: int | None = None

    def __int__(self) -> int:
        return self.words

    def __bool__(self) -> bool:
        return self.words > 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Block):
            return _fields(self) == _fields(other)
        if isinstance(other, int | float):
            return self.words == other
        return NotImplemented

    def __lt__(self, other: Block | float) -> bool:
        return self.words < _length(other)

    def __le__(self, other: Block | float) -> bool:
        return self.words <= _length(other)

    def __gt__(self, other: Block | float) -> bool:
        return self.words > _length(other)

    def __ge__(self, other: Block | float) -> bool:
        return self.words >= _length(other)

    def __hash__(self) -> int:
        return hash(self.words)


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class Span(Block):
    """A run that generation number `generation` (from 0) shares with its excerpt."""

    excerpt_id: str | None = None
    generation: int | None = None


def _length(other: Block | float) -> float:
    return other.words if isinstance(other, Block) else other


def _fields(run: Block) -> tuple[object, ...]:
    generation = (run.excerpt_id, run.generation) if isinstance(run, Span) else ()
    return (run.words, run.start, run.end, *generation)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of each word of the book by memorized pieces (docs/method.md).

    reach:  length of the longest memorized piece over the word, or 0
    rounds: number of rounds (the r-th generation of every excerpt) that cover it
    """

    reach: array[int] = field(repr=False)
    rounds: array[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The four measures of one model on one book (docs/method.md).

    words:      N, the number of words of the book
    bmc:        BMC@k, covered words / N
    spans_over: number of distinct spans longer than T words; `spans`, longest first
    excerpt_starts: positions of the excerpts' first words
    """

    words: int
    k: int
    trim: int
    span_threshold: int
    word_mode: WordMode
    generations: int
    bmc: float
    longest_block: Block
    longest_span: Span
    spans_over: int
    spans: tuple[Span, ...] = field(repr=False)
    coverage: Coverage = field(repr=False)
    excerpt_starts: tuple[int, ...] = field(repr=False)

    def excerpt_at(self, position: int) -> int:
        """Return the index of the excerpt that contains the word at `position`."""
        return bisect.bisect_right(self.excerpt_starts, position) - 1


ProbeKind = Literal["instruction", "continuation", "extraction", "prompts"]

BY_EXCERPT: frozenset[ProbeKind] = frozenset({"instruction", "continuation"})
"""Probes that prompt for each excerpt; the others' prompts request the book."""


class Estimate(NamedTuple):
    """A value and its interval (both ends are the value if it has none).

    p: one-sided p-value of "no more than chance"; None if unknown
    """

    value: float
    low: float
    high: float
    p: float | None = None

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """Return the estimate of a value without an interval."""
        return cls(value, value, value)


@dataclass(frozen=True, slots=True)
class Needs:
    """The attribute of an Analysis that a measure needs, and why it is missing."""

    part: str
    otherwise: str = "it wasn't requested; give it a limit"


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of the table of measures.

    name:     its name in suite files, code, reports and JSON
    title, unit: for readers; `{k}` and `{span_threshold}` are the suite's values
    about:    the subject of its limit, for the schema of suite files
    kind:     "share": a fraction, with limits from 0 to 1; "count": a whole number,
        with limits from 0; "number": any number, with any finite limit
    runs:     for runs of k matching words or more: "longest" for the words of the
        longest run, "number" for the runs over span_threshold; None if k doesn't
        affect it
    lies_in:  where the words of such a run, or of a passage, lie; None if no book is
        too short
    folded:   whether it counts folded words
    of_works: whether its limit applies to each work of a collection
    rises:    whether more samples can only raise it, so an exceeded limit stays
        exceeded
    strict, paper: its limit in these presets, if any
    overview: whether overviews show it, with or without a limit
    short:    its name in the cells of maps, "" where the number alone stands for it;
        None for its full name
    charted:  whether reports draw its value, interval, and limit
    read:     its value from an Analysis, perhaps with an interval; None if it can't be
        computed
    by_round: its value in each round, of a share in whole words; None if it has no
        value per round, so releases can't be compared in it
    function: an extension's function in place of `read`: (book, generations) -> number
    """

    name: str
    title: str = ""
    unit: str = ""
    about: str = ""
    kind: Literal["share", "count", "number"] = "number"
    runs: Literal["longest", "number"] | None = None
    lies_in: Literal["excerpt", "book", "any book"] | None = None
    folded: bool = False
    of_works: bool = False
    rises: bool = False
    strict: float | None = None
    paper: float | None = None
    overview: bool = False
    short: str | None = None
    charted: bool = False
    needs: Needs = field(default=Needs("further"), repr=False)
    read: Callable[[Any], Estimate | Block | float | None] | None = field(
        default=None,
        repr=False,
        compare=False,
    )
    by_round: Callable[[Any], Iterable[int]] | None = field(
        default=None,
        repr=False,
        compare=False,
    )
    function: Callable[..., float] | None = field(
        default=None,
        repr=False,
        compare=False,
    )

    @property
    def cell_name(self) -> str:
        """Its name in the cells of maps."""
        return self.name if self.short is None else self.short

    def value(self, analysis: Any) -> Estimate | Block | float | None:
        """Return what it reads from an Analysis; None if missing."""
        if self.read is None or getattr(analysis, self.needs.part) is None:
            return None
        return self.read(analysis)

    def estimate(self, analysis: Any) -> Estimate | None:
        """Return its value and interval from an Analysis; None if missing."""
        value = self.value(analysis)
        if value is None or isinstance(value, Estimate):
            return value
        number = value.words if isinstance(value, Block) else value
        return Estimate.exact(number)

    def without_functions(self) -> Measure:
        """Return the row without its functions, for display."""
        return replace(
            self,
            read=None,
            by_round=None,
            function=None,
        )

    def limit_fault(self, limit: float) -> str | None:
        """Return why a number can't be a limit on it; None if it can."""
        if not math.isfinite(limit):
            return "a limit must be a finite number"
        if self.kind == "share" and not 0 <= limit <= 1:
            return "a limit on a share must be from 0 to 1"
        if self.kind == "count" and (limit < 0 or limit != int(limit)):
            return "a limit on a count must be a whole number, 0 or more"
        return None


@dataclass(frozen=True, slots=True)
class PassageRate:
    """The rate at which a passage's own prompt generates all of it (docs/method.md).

    start, end:  the book's words [start, end)
    hits, tries: rounds that contain it, and all rounds
    low, high:   the interval (Clopper-Pearson) of the rate
    approximate: whether rounds aren't exchangeable, so that they count for fewer
    """

    start: int
    end: int
    hits: int
    tries: int
    low: float
    high: float
    approximate: bool


def place_in_book(
    *,
    chapter: str | None,
    excerpt_id: str,
    start: int,
    end: int,
) -> str:
    """Name the place of the words `start` to `end` of a book, for a reader."""
    heading = f"{chapter}, " if chapter else ""
    return f"{heading}{excerpt_id}, words {start:,}-{end:,}"


@dataclass(frozen=True, slots=True)
class Passage:
    """A generated passage: its kind, its place, and its redacted words.

    book:      ID and `title` of its book; None for the pair's own
    prompted_excerpt: the prompted excerpt, if another one
    source:    its generation, if not a sampled one
    others:    IDs of further books that contain it
    excused:   whether an excused book contains it, so limits on passages don't apply
    rate:      how often its own prompt generated it, if one prompt requests all of it
    answer:    the generation's redacted words, if they differ from the quote's
    """

    kind: str
    words: int
    start: int
    end: int
    chapter: str | None
    excerpt_id: str
    generation: int | None
    quote: str = field(repr=False)
    book: str | None = None
    title: str | None = None
    prompted_excerpt: str | None = None
    source: str = ""
    others: tuple[str, ...] = ()
    excused: bool = False
    rate: PassageRate | None = None
    answer: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Its place for a reader, and the prompted excerpt if that is another."""
        text = place_in_book(
            chapter=self.chapter,
            excerpt_id=self.excerpt_id,
            start=self.start,
            end=self.end,
        )
        if self.book:
            is_named = self.title and self.title != self.book
            title = f" ({self.title})" if is_named else ""
            text = f"{self.book}{title}: {text}"
        if self.others:
            text += f", also in {', '.join(self.others)}"
        if self.excused:
            limits = "longest_passage, nv_longest_passage, and passages_over"
            text += f", excused from {limits}"
        if self.source:
            return f"{text}, in {self.source}"
        if self.prompted_excerpt:
            return f"{text}, prompted for {self.prompted_excerpt}"
        return text


@dataclass(frozen=True, slots=True)
class RoundStats:
    """Statistics of a pair's rounds (docs/method.md); `alike` if they are exchangeable.

    units:    number of rounds, or of their blocks if they aren't exchangeable
    variance: of BMC over these; None for one round
    typical:  typical length of a span, a share of the book
    measures: per measure, its value in each of the n rounds: for `bmc` its covered
        words
    """

    alike: bool
    units: int
    variance: int | float | None
    typical: int | float
    measures: Mapping[str, tuple[int, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DetectionSummary:
    """Detection limit of n rounds (docs/method.md).

    answers:    fewest generations of any excerpt, without withheld ones; at most 1 at
        temperature 0
    detection:  d: a passage that its own prompt generates at a rate above d appears at
        least once
    clumped, drifting: p-values against exchangeable rounds
    blocks:     number of blocks that replace rounds that aren't exchangeable, else None
    detection_limit: the d that the suite requires
    samples_needed: the samples that reach it, None if no number does
    calls:      whether calls were counted, since one returned several generations
    detection_if_lost: d if each lost completion held the passage; None if none was lost
    ranges:     expected range of each measure in words in another n rounds
    """

    rounds: int
    confidence: int | float
    answers: int
    detection: int | float
    clumped: int | float
    drifting: int | float
    blocks: int | None = None
    detection_limit: int | float | None = None
    samples_needed: int | None = None
    calls: bool = False
    detection_if_lost: int | float | None = None
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether it reaches the detection limit that the suite requires."""
        return self.detection_limit is None or self.detection <= self.detection_limit


@dataclass(frozen=True, slots=True)
class PlannedRounds:
    """Detection limit of planned rounds, if exchangeable and none withheld.

    needed: samples that reach the suite's `detection_limit` if one in ten is withheld,
        None if none do
    """

    samples: int
    confidence: float
    detection: float
    detection_limit: float | None
    needed: int | None
