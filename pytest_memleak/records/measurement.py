"""What is measured of a pair: runs of the book's words, coverage, the four measures.

Positions are 0-based positions in the book's words, intervals half-open (METRICS section 1).
A `Measure` is a row of the table in `scoring.measure_table`; extensions bring more.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from pytest_memleak.records.book import WordMode


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A run of the book's words [start, end), `words` long; both None where it has none.

    Compares with other runs and with plain numbers by its length in words, so that a test
    can say `memorization.longest_passage <= 38`. Equal runs are equal in place too; two of one
    length at different places are neither longer nor shorter than each other.
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
        return self.words == other if isinstance(other, int | float) else NotImplemented

    def __lt__(self, other: object) -> bool:
        length = _length(other)
        return NotImplemented if length is None else self.words < length

    def __le__(self, other: object) -> bool:
        length = _length(other)
        return NotImplemented if length is None else self.words <= length

    def __gt__(self, other: object) -> bool:
        length = _length(other)
        return NotImplemented if length is None else self.words > length

    def __ge__(self, other: object) -> bool:
        length = _length(other)
        return NotImplemented if length is None else self.words >= length

    def __hash__(self) -> int:
        return hash(self.words)


@dataclass(frozen=True, slots=True, eq=False)
class Span(Block):
    """A run that one generation shares with its own excerpt.

    `generation` is the place of the generation among those of `excerpt_id`, from 0.
    """

    excerpt_id: str | None = None
    generation: int | None = None


def _length(other: object) -> float | None:
    if isinstance(other, Block):
        return other.words
    return other if isinstance(other, int | float) else None


def _fields(run: Block) -> tuple[object, ...]:
    return (
        run.words,
        run.start,
        run.end,
        *((run.excerpt_id, run.generation) if isinstance(run, Span) else ()),
    )


@dataclass(frozen=True, slots=True)
class Coverage:
    """Per word of the book, what the memorized pieces (METRICS section 3) say of it.

    reach:  length of the longest memorized piece over the word; 0 where there is none, so
            that BMC@k' for any k' >= k is the share of words with reach >= k'.
    rounds: number of rounds (the r-th generation of every excerpt) that cover it.
    """

    reach: array[int] = field(repr=False)
    rounds: array[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The four measures of one model on one book (METRICS section 3).

    words:         N, the number of words of the book
    bmc:           BMC@k, covered words / N
    longest_block: longest contiguous memorized block
    longest_span:  longest contiguous regurgitated span, in one generation
    spans_over:    number of distinct contiguous regurgitated spans longer than T words
    spans:         those spans, longest first
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
        """The place among the excerpts of the one that holds the word at `position`."""
        return bisect.bisect_right(self.excerpt_starts, position) - 1

    def bmc_at(self, k: int) -> float:
        """BMC@k for a k that is at least the one this was measured with."""
        if k < self.k:
            raise ValueError(
                f"BMC@{k} needs a measurement with k <= {k}; this one has k = {self.k}"
            )
        return sum(reach >= k for reach in self.coverage.reach) / self.words


ProbeKind = Literal["instruction", "continuation", "probability"]


class Estimate(NamedTuple):
    """A value, and its interval where it has one (else both ends are the value).

    p: one-sided, of "no more than chance"; None where nothing tells it
    """

    value: float
    low: float
    high: float
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What must have been evaluated for a measure to be had.

    part:       the attribute of an Analysis or an Extraction that is then there
    otherwise:  what to say where it is not
    of_windows: the same of a pair whose probe is "probability"
    """

    part: str
    otherwise: str = "it was not asked for"
    of_windows: str = 'the probe "probability" has no generations'


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure.

    name:     its only one: in suite files, code, reports and JSON alike
    title, unit: for whoever does not know it; `{k}` and `{span_threshold}` are the suite's
    about:    what its limit is on, for the schema of suite files
    kind:     "share": a fraction, with limits from 0 to 1; "count": a whole number, with limits
              from 0; "number": any, with any finite limit
    runs:     of what matches in k words in a row and more: the words of the longest run, or the
              number of runs over span_threshold; None where a larger k would hide none of it
    of_works: whether each work of a collection is held against its limit
    rises:    whether more samples can only raise it, so that a limit once broken stays broken
    overview: the probes whose overviews show it, limit or not
    needs:    what it cannot be had without
    read:     of what `needs` names (an Analysis or an Extraction): its value, perhaps with an
              interval; None where it cannot be had
    by_round: of what `needs` names: its value in each round alone, of a share in whole words;
              None for one of which no round tells, which releases cannot be compared in
    function: of an extension's, in place of `read`: (book, generations) -> number
    """

    name: str
    title: str = ""
    unit: str = ""
    about: str = ""
    kind: Literal["share", "count", "number"] = "number"
    runs: Literal["longest", "number"] | None = None
    of_works: bool = False
    rises: bool = False
    overview: tuple[ProbeKind, ...] = ()
    needs: Needs = field(default=Needs("further"), repr=False)
    read: Callable[[Any], Estimate | Block | float | None] | None = field(
        default=None, repr=False, compare=False
    )
    by_round: Callable[[Any], Iterable[int]] | None = field(default=None, repr=False, compare=False)
    function: Callable[..., float] | None = field(default=None, repr=False, compare=False)

    def estimate(self, analysis: Any) -> Estimate | None:
        """Its value and interval from an Analysis or an Extraction; None where there is none."""
        if self.read is None or getattr(analysis, self.needs.part, None) is None:
            return None
        value = self.read(analysis)
        if value is None or isinstance(value, Estimate):
            return value
        number = value.words if isinstance(value, Block) else value
        return Estimate(number, number, number)

    def without_functions(self) -> Measure:
        """The row without its functions, for whoever only shows it."""
        return replace(self, read=None, by_round=None, function=None)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Measure:
        """A row that was told, from its plain values."""
        return cls(**{**data, "overview": tuple(data["overview"]), "needs": Needs(**data["needs"])})

    def refusal(self, limit: float) -> str | None:
        """Why a number cannot be a limit on it; None where it can."""
        if not math.isfinite(limit):
            return "a limit is a finite number"
        if self.kind == "share" and not 0 <= limit <= 1:
            return "a limit on a share is from 0 to 1"
        if self.kind == "count" and (limit < 0 or limit != int(limit)):
            return "a limit on a count is a whole number, 0 or more"
        return None


@dataclass(frozen=True, slots=True)
class PassageRate:
    """How likely an answer to a passage's prompt gives it back whole (METRICS section 6).

    start, end:  the book's words [start, end)
    hits, tries: rounds that give it back, of how many
    low, high:   the interval (Clopper-Pearson) of the probability
    approximate: whether rounds were not alike, so that they count for fewer
    """

    start: int
    end: int
    hits: int
    tries: int
    low: float
    high: float
    approximate: bool
