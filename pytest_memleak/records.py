"""What the rooms hand to each other: frozen records, and nothing else.

Positions are 0-based positions in the book's words, intervals half-open (METRICS section 1).
Fields that hold a book's or a model's text stay out of `repr`, so that no assertion diff,
log line or traceback quotes them.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "Block",
    "Book",
    "BookSource",
    "Completeness",
    "Coverage",
    "Excerpt",
    "FinishReason",
    "Generation",
    "Judgement",
    "LimitCheck",
    "Limits",
    "Measurement",
    "Model",
    "Pair",
    "Probe",
    "ProbeKind",
    "Sampling",
    "Scoring",
    "Span",
    "Suite",
    "Summarizer",
    "Verdict",
    "WindowSettings",
    "WordMode",
]

WordMode = Literal["paper", "unicode"]
ProbeKind = Literal["instruction", "continuation", "probability"]


# --- books ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Excerpt:
    """300 to 500 words of a book, and the instruction that asks a model for them.

    `instruction` is None where nobody has written one yet; `chapter` is the heading the
    excerpt stands under, if the book has headings.
    """

    id: str
    text: str = field(repr=False)
    instruction: str | None = field(default=None, repr=False)
    chapter: str | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """A book as its excerpts, in order; the excerpts' words joined are the book's words.

    `digest` is the SHA-256 of the excerpts' ids, texts and instructions (hexadecimal);
    `warnings` are what a tolerant reader had to leave out; `contiguous` is whether each excerpt
    follows the one before word for word. Where it does not, no match goes from one to the next.
    """

    id: str
    title: str
    author: str
    excerpts: tuple[Excerpt, ...] = field(repr=False)
    digest: str
    warnings: tuple[str, ...] = ()
    contiguous: bool = True


class FinishReason(StrEnum):
    """Why a completion ended; all but the first two were withheld by the provider."""

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    RECITATION = "recitation"
    REFUSAL = "refusal"
    EMPTY = "empty"

    @property
    def withheld(self) -> bool:
        """Whether the provider kept the text, or part of it, to itself."""
        return self not in {FinishReason.STOP, FinishReason.LENGTH}


@dataclass(frozen=True, slots=True)
class Generation:
    """One completion for one excerpt. `ordinal` is its round, from 0."""

    excerpt_id: str
    ordinal: int
    text: str = field(repr=False)
    finish_reason: FinishReason = FinishReason.STOP
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


# --- measures ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A run of the book's words [start, end), `words` long; both None where it has none.

    Compares with other runs and with plain numbers by its length in words, so that a test
    can say `memorization.longest_block <= 50`. Equal runs are equal in place too; two of one
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


# --- verdicts ------------------------------------------------------------------------------


class Verdict(StrEnum):
    """What a pair's evidence says of its limits (METRICS section 9)."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a measure may be; None where there is no limit.

    `measures` are limits on the measures that extensions bring.
    """

    bmc: float | None = None
    bmc_excess: float | None = None
    uplift: float | None = None
    longest_block: int | None = None
    longest_span: int | None = None
    spans_over: int | None = None
    nv_recall: float | None = None
    nv_longest_span: int | None = None
    greedy_bmc: float | None = None
    greedy_longest_span: int | None = None
    extractable: float | None = None
    extractable_plain: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)

    def given(self) -> dict[str, float]:
        """The limits there are, by the measure's name."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "measures"}
        return {name: limit for name, limit in own.items() if limit is not None} | dict(
            self.measures
        )


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One limit held against one measure; `high` is the upper end of the measure's interval."""

    measure: str
    value: float
    limit: float
    high: float

    @property
    def over(self) -> bool:
        """Whether the observed value is over the limit."""
        return self.value > self.limit

    @property
    def in_doubt(self) -> bool:
        """Whether the observed value holds, but the interval's upper end does not."""
        return self.value <= self.limit < self.high


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much of the evidence that the suite asks for is there.

    asked, got: generations; withheld: counts by finish reason; max_withheld: the share of
    the asked ones that may be withheld; gaps: what else is missing, in plain words.
    """

    asked: int
    got: int
    withheld: dict[FinishReason, int]
    max_withheld: float
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the limits it rests on, and why it is not a pass."""

    verdict: Verdict
    checks: tuple[LimitCheck, ...]
    reasons: tuple[str, ...] = ()


# --- suites --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sampling:
    """How generations are drawn: `samples` per excerpt at `temperature`.

    stop: "failed" draws no more rounds once a limit is broken.
    """

    samples: int = 100
    temperature: float = 1.0
    max_blocked: float = 0.05
    seed: int = 0
    stop: Literal["never", "failed"] = "never"


@dataclass(frozen=True, slots=True)
class Scoring:
    """How generations are measured (METRICS section 3)."""

    k: int = 5
    trim: int = 5
    span_threshold: int = 20
    words: WordMode = "paper"


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """The windows that slide over a book, and the sampling scheme their probability is of.

    prefix_tokens, suffix_tokens, stride: in the model's tokens; top_k: 0 for all tokens;
    n, p: tries, and the least probability that a window comes in them.
    """

    prefix_tokens: int = 50
    suffix_tokens: int = 50
    stride: int = 10
    top_k: int = 40
    temperature: float = 1.0
    n: int = 100
    p: float = 0.5


@dataclass(frozen=True, slots=True)
class Probe:
    """How a model is asked for a book.

    kind:         by an instruction, by the beginning of each excerpt, or for the probability
                  of the book itself
    prefix_words: words of that beginning
    continuation: the suite's template around it, None for what suits the endpoint
    windows:      of the probability
    """

    kind: ProbeKind = "instruction"
    prefix_words: int = 50
    continuation: str | None = None
    windows: WindowSettings = WindowSettings()


@dataclass(frozen=True, slots=True)
class BookSource:
    """Where a suite's book comes from, before anyone has read it.

    `instruction` is the suite's template, None for the paper's own.
    """

    id: str
    source: Path
    title: str | None
    author: str | None
    role: Literal["test", "train"]
    summaries: Path | None
    instruction: str | None
    bring_your_own: bool


@dataclass(frozen=True, slots=True)
class Model:
    """A model under test, as the suite names it; `options` are for its provider.

    endpoint: an endpoint that exists already; finetune_books: ids of the books it is
    fine-tuned on; price: US$ per million tokens (input, output, training).
    """

    id: str
    provider: str
    base: str | None = None
    endpoint: str | None = None
    baseline: str | None = None
    finetune_books: tuple[str, ...] = ()
    finetune: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    price: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One model and one book, the limits that hold for them, and what is expected.

    suite: the suite file that the pair is of. limit_origins: the key of that file that set each
    limit, by measure.
    """

    suite: Path
    model: Model
    book: BookSource
    sampling: Sampling
    scoring: Scoring
    limits: Limits
    confidence: float = 0.95
    expected: Literal["pass", "leak"] = "pass"
    probe: Probe = Probe()
    limit_origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`model/book`, as in the node id."""
        return f"{self.model.id}/{self.book.id}"


@dataclass(frozen=True, slots=True)
class Summarizer:
    """The chat model that writes a suite's missing summaries, and the temperature it is asked at.

    The model's id is none that a suite could give.
    """

    model: Model
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite file, validated; `digest` is the SHA-256 of the file's bytes (hexadecimal).

    catalogue: books that nobody asks for, looked for in all generations; cross_book: whether the
    suite's other test books are looked for as well.
    """

    path: Path
    name: str
    digest: str
    books: tuple[BookSource, ...]
    models: tuple[Model, ...]
    pairs: tuple[Pair, ...]
    summarizer: Summarizer | None = None
    catalogue: tuple[Path, ...] = ()
    cross_book: bool = False

    def book(self, book_id: str) -> BookSource:
        """The book of that id; KeyError where there is none."""
        return {book.id: book for book in self.books}[book_id]
