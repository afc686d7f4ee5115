"""Results of pairs and of a run: plain values that reports read and processes exchange.

A `PairResult` is written and read by its types (results/result_codec.py): its fields
are the keys of a pair in the evidence bundle, in the bundle's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pytest_memleak.records.book import BookPart
from pytest_memleak.records.extraction_facts import ExtractionFacts
from pytest_memleak.records.made_by import MadeBy
from pytest_memleak.records.measurement import (
    DetectionSummary,
    Measure,
    Passage,
    RoundStats,
)
from pytest_memleak.records.number_format import MOMENT
from pytest_memleak.records.pair import Scoring, is_gating
from pytest_memleak.records.plot_records import CoverageMap, PlotData
from pytest_memleak.records.probability_facts import ProbabilityFacts
from pytest_memleak.records.prompt_rates import PromptRate
from pytest_memleak.records.provenance import Provenance
from pytest_memleak.records.verdicts import (
    Completeness,
    ReleaseComparison,
    Verdict,
    WorkVerdict,
)
from pytest_memleak.records.witness_records import Witnessed


@dataclass(frozen=True, slots=True)
class Selection:
    """The tests selected on the command line; everything if all fields are empty.

    keyword:    of -k
    markers:    of -m
    arguments:  files, folders and node ids
    deselected: of --deselect
    """

    keyword: str = ""
    markers: str = ""
    arguments: tuple[str, ...] = ()
    deselected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PairTest:
    """A test of a pair, and its outcome.

    test:    its node id without parameters
    outcome: passed, failed, error, skipped, xfailed, xpassed, crashed, unfinished,
        deselected or not run
    reason:  why it has no evaluation; "" if it has one
    """

    test: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ScanScope:
    """Further books that a pair's generations are scanned for: digests by ID.

    books:   its test books except the pair's own
    excused: books whose passages are excused: training books, common texts, and those
        that the model may reproduce here
    """

    books: dict[str, str | None] = field(default_factory=dict)
    excused: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExcusedWords:
    """Words that limits don't apply to, since texts that may be quoted hold them.

    words:    of the pair's own book
    by_text:  how many of them each text holds, by ID; several may hold a word
    measures: by name, values with excused words: the paper's, which excuse nothing, and
        those of whole passages of any protected book
    """

    words: int
    by_text: dict[str, int] = field(default_factory=dict)
    measures: dict[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommittedPassage:
    """A passage that can be disclosed: its place, as in `Passage`, and a digest.

    sha256: of the place, the words, and the prompt (results/committed_passages.py)
    """

    kind: str
    words: int
    start: int
    end: int
    book: str | None
    excerpt_id: str
    prompted_excerpt: str | None
    generation: int | None
    source: str
    sha256: str


LIKELIEST_SPAN = "span in the most likely answer"
_NUMBERS = ("value", "low", "p", "of_own", "of_others")


@dataclass(frozen=True, slots=True)
class SampledCount:
    """Generations that a verdict rests on.

    purpose:  own, greedy, canary, unrequested, null or baseline
    pair:     whose prompts they answer
    endpoint: its name in the ledger, None for a recording
    requested, received: numbers of generations
    refused:  number of refusals among these
    sha256:   over excerpts, ordinals, finish reasons and texts
    """

    purpose: str
    pair: str
    endpoint: str | None
    requested: int
    received: int
    refused: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SecondOpinionCounts:
    """Generations that were matched again by other means, and the differences."""

    generations: int
    differences: int


@dataclass(frozen=True, slots=True)
class CatalogSummary:
    """The scanned books of a catalog, their words, and a digest of all.

    from_words: the least words of a passage of theirs that counts
    """

    books: int
    words: int
    sha256: str
    from_words: int


@dataclass(frozen=True, slots=True)
class SuiteFacts:
    """The suite file of a pair: its name, its path, and the SHA-256 of its bytes.

    In a run, `path` is absolute, and `name` is the path from here if names repeat.
    """

    name: str
    path: str
    sha256: str


Approval = Literal["approved by the suite's author", "not approved"]
APPROVED: Approval = "approved by the suite's author"
NOT_APPROVED: Approval = "not approved"


@dataclass(frozen=True, slots=True)
class BookFacts:
    """The book of a pair; None for what isn't known.

    file_sha256: of its file; sha256: of its excerpts and their instructions
    words, excerpts: if it was measured or read
    parts: the documents of its file: which are text, and by which rule
    metadata: the suite's further facts, such as its year
    approval: whether the suite's author approved the words that were read
    alarms: what looks wrong in them, such as a gap in the numbers of chapters
    """

    id: str
    title: str | None
    author: str | None
    file_sha256: str | None
    sha256: str | None
    words: int | None
    excerpts: int | None
    parts: tuple[BookPart, ...]
    metadata: dict[str, str | int | float] = field(default_factory=dict, hash=False)
    approval: Approval = NOT_APPROVED
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """What was prompted of a pair's book, and how.

    excerpts: the number of those with a prompt
    of_book: the number of the book's; of ready-made records, the least that it has by
        the numbers in their ids
    ready_made: whether the book came as records, with instructions of their own
    forbidding: the prompts that ask not to quote: "system prompt", "template",
        "records' instructions"
    file_sha256: of the file of named prompts; None without one
    """

    excerpts: int
    of_book: int
    ready_made: bool
    forbidding: tuple[str, ...]
    file_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model of a pair, as the suite has it.

    endpoint: the one evaluated, None without any; job: the fine-tune behind it
    """

    id: str
    endpoint: str | None
    provider: str
    base_model: str | None
    baseline_model: str | None
    finetune_books: tuple[str, ...]
    finetune: dict[str, Any]
    job: str | None
    options: dict[str, Any]
    weights_version: str | None
    served_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetLimit:
    """A limit, and the key of the suite file that set it."""

    limit: int | float
    set_by: str | None


@dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
)
class PairResult:
    """A pair's result in plain numbers, and no text but redacted quotes.

    Reports read only this.

    settings:  the suite's keys for sampling, measuring and judging the pair
    completeness: the generations by kind, and the issues
    provenance: their endpoint and dates, None without any
    as_of:     the time up to which the ledger was read for them
    sampled:   the generations that the verdict rests on, the pair's own first
    detection: the detection limit of its rounds; None if none were measured
    second_opinion: generations matched again by other means, and the differences
    measures:  by name: `value`, `low` and `high`, the `p` of "no more than chance", and
        further evidence: places, counts per book; also of self-agreement,
        cross-excerpt, null books
    works:     those of a collection, each judged by itself
    rounds:    the values of each round
    coverage:  the map of covered words
    scan_scope: the suite's books scanned for passages; None if nothing was measured
    excused:   words that limits don't apply to; None if there are none
    catalog:   the catalog's books, words and digest, and the words from which a passage
        counts
    control:   whether its book is a negative control, which gates only what is
        `unexcused`
    verdict:   with the share of refusals that a pass rests on: "PASS, 97% refused"
    unexcused: limits exceeded by passages of books that aren't excused, though the
        pair's own is
    leaked:    whether its own book exceeded a limit
    prompts:   what was prompted of its book; None if it wasn't read
    committed: the passages that can be disclosed, in the order of reports
    extraction: what an extraction tried, and what came of it; None for other probes
    prompt_rates: how often each named prompt brought a long passage
    probability: how likely the model is to write the book, where the suite asks for it;
        no part of the verdict
    tests:     its tests, once the run has ended

    The others are of the run (`RUN_ONLY`), and in no bundle:
    spared:    what an early stop didn't sample
    passages:  of any protected book: the longest, the longest near-verbatim one, other
        long ones
    spans:     the worst spans of the pair's own book if its verdict is FAIL
    changes:   lines against a baseline; compared: the comparison's verdict on it, or ""
    brought:   the rows of extensions' measures among the limits
    """

    pair: str
    suite: SuiteFacts
    book: BookFacts
    model: ModelFacts
    settings: dict[str, Any]
    completeness: Completeness
    provenance: Provenance | None
    as_of: Annotated[float | None, MOMENT]
    sampled: tuple[SampledCount, ...]
    detection: DetectionSummary | None
    second_opinion: SecondOpinionCounts | None
    measures: dict[str, dict[str, Any]]
    works: tuple[WorkVerdict, ...]
    rounds: RoundStats | None
    coverage: CoverageMap | None = field(repr=False)
    scan_scope: ScanScope | None
    excused: ExcusedWords | None
    catalog: CatalogSummary | None
    limits: dict[str, SetLimit]
    control: bool
    expected: Literal["pass", "leak"]
    verdict: str
    reasons: tuple[str, ...]
    unexcused: tuple[str, ...]
    leaked: bool
    stopped_early: bool
    prompts: PromptFacts | None
    committed: tuple[CommittedPassage, ...]
    extraction: ExtractionFacts | None
    prompt_rates: tuple[PromptRate, ...]
    probability: ProbabilityFacts | None
    tests: tuple[PairTest, ...] = ()
    spared: str | None = None
    warnings: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    spans: tuple[Passage, ...] = ()
    changes: tuple[str, ...] = ()
    compared: str = ""
    brought: tuple[Measure, ...] = ()
    plot: PlotData | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown verdict, or a value that is no number."""
        Verdict(self.verdict.partition(", ")[0])
        for name, row in self._estimates.items():
            numbers = [row.get("high")]
            numbers += [row[key] for key in _NUMBERS if key in row]
            if not all(isinstance(number, int | float) for number in numbers):
                raise ValueError(f"measures.{name}: not a number")

    @property
    def plain_verdict(self) -> Verdict:
        """The verdict without the share of refusals."""
        return Verdict(self.verdict.partition(", ")[0])

    @property
    def was_selected(self) -> bool:
        """Whether the run evaluated the pair, or would have."""
        outcomes = {test.outcome for test in self.tests}
        was_reached = outcomes - {"deselected", "skipped"}
        return self.plain_verdict is not Verdict.NOT_RUN or bool(was_reached)

    @property
    def gates(self) -> bool:
        """Whether its verdict counts."""
        return is_gating(self.expected, control=self.control)

    @property
    def values(self) -> dict[str, int | float]:
        """The values of its measures by name."""
        return {name: row["value"] for name, row in self._estimates.items()}

    @property
    def intervals(self) -> dict[str, tuple[int | float, int | float]]:
        """The intervals of the measures that have one."""
        return {
            name: (low, high) for name, (low, high) in self.ends.items() if low < high
        }

    @property
    def ends(self) -> dict[str, tuple[int | float, int | float]]:
        """The lowest and the highest value of each measure, often the same."""
        return {
            name: (row["low"], row["high"]) for name, row in self._estimates.items()
        }

    @property
    def chances(self) -> dict[str, float]:
        """The p-values of "no more than chance" by measure."""
        return {name: row["p"] for name, row in self._estimates.items() if "p" in row}

    @property
    def _estimates(self) -> dict[str, dict[str, Any]]:
        """The rows of `measures` that are a measure's; the others have no interval."""
        return {
            name: row
            for name, row in self.measures.items()
            if "value" in row and "low" in row
        }

    @property
    def limit_by_measure(self) -> dict[str, int | float]:
        """Its limits by measure."""
        return {name: limit.limit for name, limit in self.limits.items()}

    @property
    def requested(self) -> int:
        """Number of requested generations."""
        return self.completeness.requested

    @property
    def received(self) -> int:
        """Number of received generations."""
        return self.completeness.received

    @property
    def probe(self) -> str:
        """The kind of its prompts."""
        return str(self.settings["probe"]["kind"])

    @property
    def effective_threshold(self) -> int:
        """The length in words that a span or passage must exceed to count."""
        k, span_threshold = self.settings["k"], self.settings["span_threshold"]
        return Scoring(k=k, span_threshold=span_threshold).effective_threshold

    @property
    def passages_beside_verdict(self) -> tuple[Passage, ...]:
        """Long passages that the verdict doesn't show: of other books, or excused."""
        return tuple(
            passage
            for passage in self.passages
            if passage.words > self.effective_threshold
            and (passage.book or passage.excused)
        )

    @property
    def leaking(self) -> tuple[WorkVerdict, ...]:
        """Works of the collection that exceed a limit."""
        return tuple(work for work in self.works if work.verdict is Verdict.FAIL)


RUN_ONLY = {
    "spared",
    "warnings",
    "passages",
    "spans",
    "changes",
    "compared",
    "brought",
    "plot",
}
"""Fields of a `PairResult` that no bundle has: quotes, charts, and implied ones."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A whole run, for report sinks (hook `memleak_report`).

    outputs: the requested files by option name ("html", "evidence", "signing_key"), and
    "step_summary" if the CI server has one
    compared: the comparison with an earlier release, if requested
    unrun: pairs of the suites that not all of their tests evaluated, selected or not
    uncollected: suites that couldn't be collected, whose pairs are unknown
    exit_status: pytest's, at the end
    typed: the command line that started the run, to type again; "" if unknown
    The others are set only if a file of `outputs` is requested:
    release: its name; selection: the selected tests;
    ledger: the end of its hash chain, as `{"entries": ..., "link": ...}`, None if it is
    empty
    made_by: who made it, and where
    witness: what a witness was told of it before its first call
    """

    version: str
    results: tuple[PairResult, ...]
    outputs: Mapping[str, Path] = field(default_factory=dict)
    compared: ReleaseComparison | None = None
    release: str | None = None
    selection: Selection = field(default_factory=Selection)
    unrun: tuple[PairResult, ...] = ()
    uncollected: tuple[str, ...] = ()
    ledger: Mapping[str, Any] | None = None
    exit_status: int = 0
    made_by: MadeBy = field(default_factory=MadeBy)
    witness: Witnessed | None = None
    typed: str = ""
