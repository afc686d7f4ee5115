"""Results of pairs and of a run: plain values that reports read and processes exchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_memleak.records.book import BookPart
from pytest_memleak.records.measurement import Measure, PassageRate
from pytest_memleak.records.plot_records import PlotData
from pytest_memleak.records.provenance import Provenance
from pytest_memleak.records.releases import ReleaseComparison
from pytest_memleak.records.round_stats import DetectionSummary, RoundStats
from pytest_memleak.records.verdicts import Completeness, Verdict, WorkVerdict, verdict_words


@dataclass(frozen=True, slots=True)
class Selection:
    """The tests selected on the command line; everything if all fields are empty.

    keyword: of -k; markers: of -m; arguments: files, folders and node ids; deselected: of
    --deselect
    """

    keyword: str = ""
    markers: str = ""
    arguments: tuple[str, ...] = ()
    deselected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PairTest:
    """A test of a pair, and its outcome.

    suite_path, pair: whose test it is
    endpoint: the endpoint of its evaluation, as in the result; None without one
    test:     its node id without parameters
    outcome:  passed, failed, error, skipped, xfailed, xpassed, crashed, unfinished, deselected or
              not run
    reason:   why it has no evaluation; "" if it has one
    """

    suite_path: str
    pair: str
    endpoint: str | None
    test: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ScanScope:
    """Books of the suite that a pair's generations are scanned for; each ID with the book's digest.

    books:    its test books except the pair's own
    excused:  books whose passages are excused: training books, common texts, and those that the
              model may reproduce here
    """

    books: dict[str, str] = field(default_factory=dict)
    excused: dict[str, str] = field(default_factory=dict)


LIKELIEST_SPAN = "likeliest answer's span"

_NOTHING = Completeness(requested=0, received=0)


@dataclass(frozen=True, slots=True)
class SampledCount:
    """Generations that a verdict rests on.

    purpose: own, greedy, canary, unrequested, null or baseline; pair: whose prompts they answer
    endpoint: its name in the ledger, None for a recording
    requested, received: generations; refused: those that are refusals
    sha256: over excerpts, ordinals, finish reasons and texts
    """

    purpose: str
    pair: str
    endpoint: str | None
    requested: int
    received: int
    refused: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A generated passage: its kind, its place, and its redacted words.

    book:      ID and `title` of its book; None for the pair's own
    asked_for: the prompted excerpt, if another one
    source:    its generation, if not a sampled one
    others:    IDs of further books that contain it
    excused:   whether an excused book contains it, so limits on passages don't apply
    rests:     whether `start` and `end` exclude the words of prompts (continuation)
    rate:      how often its own prompt generated it, if one prompt requests all of it
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
    asked_for: str | None = None
    source: str = ""
    others: tuple[str, ...] = ()
    excused: bool = False
    rests: bool = False
    rate: PassageRate | None = None

    @property
    def place(self) -> str:
        """Its place for a reader, and the prompted excerpt if that is another."""
        title = f" ({self.title})" if self.title and self.title != self.book else ""
        book = f"{self.book}{title}: " if self.book else ""
        chapter = f"{self.chapter}, " if self.chapter else ""
        prompted = f", prompted for {self.asked_for}" if self.asked_for else ""
        prompted = f", in {self.source}" if self.source else prompted
        others = f", also in {', '.join(self.others)}" if self.others else ""
        limits = "longest_passage, nv_longest_passage, and passages_over"
        excused = f", excused from {limits}" if self.excused else ""
        words = f"words {self.start:,}-{self.end:,}" + (
            ", prompts not counted" if self.rests else ""
        )
        return f"{book}{chapter}{self.excerpt_id}, {words}{others}{excused}{prompted}"

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Passage:
        """Invert `dataclasses.asdict`, also after a round trip through JSON."""
        rate = data["rate"] and PassageRate(**data["rate"])
        return cls(**{**data, "others": tuple(data["others"]), "rate": rate})


@dataclass(frozen=True, slots=True)
class PairResult:
    """A pair's result in plain numbers, and no text but redacted quotes. Reports read only this.

    suite:     the suite file's name, or its path from here if names repeat in the run
    model_settings: provider, base model, baseline model, job and so on
    control:   whether its book is a negative control, which gates only what is `unexcused`
    unexcused: limits exceeded by passages of books that aren't excused, though the pair's own is;
              leaked: whether its own book exceeded a limit
    measures:  by name; intervals: of those that have one; chances: p of "no more than chance"
    details:   further evidence by measure: places, self-agreement, cross-excerpt, null books
    limits:    by measure; limit_origins: the key of the suite file that set each
    settings:  the suite's keys for sampling, measuring and judging the pair
    word_count, excerpts: of the book, 0 if it wasn't measured or read
    completeness: the generations by kind, and the issues; provenance: their endpoint and dates,
              None without any
    sampled:   the generations that the verdict rests on, the pair's own first; as_of: the time up
              to which the ledger was read for them, in seconds since 1970
    passages:  of any protected book: the longest, the longest near-verbatim one, other long ones
    spans:     the worst spans of the pair's own book if its verdict is FAIL
    changes:   lines against a baseline; compared: the comparison's verdict on it, or ""
    scan_scope: the suite's books scanned for passages; None if nothing was measured
    catalog:   the catalog's books, words and digest, and the words from which a passage counts
    windows:   with the probe "probability", the map along the book
    rounds:    with other probes, the values of each round
    coverage:  with other probes, the map of covered words (results/coverage_map.py)
    detection: the detection limit of its rounds; None if none were measured
    second_opinion: generations matched again by other means, and the differences
    parts:     the documents of the book's file: which are text, and by which rule
    title, author: of the book, "" if unknown; book_file: SHA-256 of its file
    brought:   the rows of extensions' measures among the limits
    works:     those of a collection, each judged by itself
    """

    suite: str
    suite_path: str
    suite_digest: str
    pair: str
    model: str
    model_settings: dict[str, Any]
    book: str
    book_digest: str
    endpoint: str
    expected: str
    verdict: str
    reasons: tuple[str, ...]
    measures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    details: dict[str, Any]
    limits: dict[str, float]
    limit_origins: dict[str, str]
    settings: dict[str, Any]
    word_count: int
    excerpts: int
    completeness: Completeness
    sampled: tuple[SampledCount, ...]
    warnings: tuple[str, ...]
    spared: str | None
    passages: tuple[Passage, ...] = ()
    spans: tuple[Passage, ...] = ()
    changes: tuple[str, ...] = ()
    compared: str = ""
    scan_scope: ScanScope | None = None
    catalog: dict[str, Any] | None = None
    windows: dict[str, Any] | None = None
    rounds: RoundStats | None = None
    coverage: dict[str, Any] | None = None
    brought: tuple[Measure, ...] = ()
    plot: PlotData | None = None
    provenance: Provenance | None = None
    as_of: float | None = None
    parts: tuple[BookPart, ...] = ()
    title: str = ""
    author: str = ""
    book_file: str | None = None
    works: tuple[WorkVerdict, ...] = ()
    detection: DetectionSummary | None = None
    second_opinion: dict[str, int] | None = None
    control: bool = False
    unexcused: tuple[str, ...] = ()
    leaked: bool = False
    chances: dict[str, float] = field(default_factory=dict)

    @property
    def verdict_words(self) -> str:
        """The verdict, with the share of refusals that a pass rests on."""
        return verdict_words(Verdict(self.verdict), self.completeness)

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
    def unasked(self) -> tuple[Passage, ...]:
        """Long passages that the verdict doesn't show: of other books, or excused."""
        over = self.settings["span_threshold"]
        return tuple(
            passage
            for passage in self.passages
            if passage.words > over and (passage.book or passage.excused)
        )

    @property
    def leaking(self) -> tuple[WorkVerdict, ...]:
        """Works of the collection that exceed a limit."""
        return tuple(work for work in self.works if work.verdict is Verdict.FAIL)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and dicts."""
        data = dataclasses.asdict(dataclasses.replace(self, completeness=_NOTHING))
        works = [work | {"verdict": work["verdict"].value} for work in data["works"]]
        return data | {"completeness": self.completeness.to_json(), "works": works}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PairResult:
        """Invert `to_json`, also after a round trip through JSON."""
        lists = ("reasons", "warnings", "changes", "unexcused")
        intervals = {name: (low, high) for name, (low, high) in data["intervals"].items()}
        return cls(
            **{
                **data,
                **{name: tuple(data[name]) for name in lists},
                "intervals": intervals,
                "passages": tuple(map(Passage.from_json, data["passages"])),
                "spans": tuple(map(Passage.from_json, data["spans"])),
                "completeness": Completeness.from_json(data["completeness"]),
                "provenance": data["provenance"] and Provenance.from_json(data["provenance"]),
                "detection": data["detection"] and DetectionSummary.from_json(data["detection"]),
                "sampled": tuple(SampledCount(**samples) for samples in data["sampled"]),
                "parts": tuple(BookPart(**part) for part in data["parts"]),
                "works": tuple(map(WorkVerdict.from_json, data["works"])),
                "brought": tuple(map(Measure.from_json, data["brought"])),
                "scan_scope": data["scan_scope"] and ScanScope(**data["scan_scope"]),
                "rounds": data["rounds"] and RoundStats.from_json(data["rounds"]),
                "plot": data["plot"] and PlotData.from_json(data["plot"]),
            }
        )


@dataclass(frozen=True, slots=True)
class RunReport:
    """A whole run, for report sinks (hook `memleak_report`).

    outputs: the requested files by option name ("html", "evidence", "signing_key"), and
    "step_summary" if the CI server has one
    compared: the comparison with an earlier release, if requested
    The others are set only if evidence or an HTML report is requested:
    release: its name; selection: the selected tests; tests: the outcomes of each pair's tests;
    unrun: pairs with tests of which none evaluated them; uncollected: suites that couldn't be
    collected, whose pairs are unknown; ledger: the end of its hash chain, as
    `{"entries": ..., "link": ...}`, None if the ledger is empty
    """

    version: str
    results: tuple[PairResult, ...]
    outputs: Mapping[str, Path] = field(default_factory=dict)
    compared: ReleaseComparison | None = None
    release: str | None = None
    selection: Selection = field(default_factory=Selection)
    tests: tuple[PairTest, ...] = ()
    unrun: tuple[PairResult, ...] = ()
    uncollected: tuple[str, ...] = ()
    ledger: Mapping[str, Any] | None = None
