"""What reports read of a pair and of a run: plain values that travel between processes."""

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
    """What a run was asked to run, as it was typed; all of it where everything is empty.

    keyword: of -k; markers: of -m; arguments: files, folders and node ids; deselected: of
    --deselect
    """

    keyword: str = ""
    markers: str = ""
    arguments: tuple[str, ...] = ()
    deselected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PairTest:
    """A test of a pair, and what became of it.

    suite_path, pair: whose test it is
    endpoint: by which its evaluation was made, as in the finding; None where there is none
    test:     its node id without parameters
    outcome:  passed, failed, error, skipped, xfailed, xpassed, crashed, unfinished, deselected or
              not run
    reason:   why there is no evaluation; "" where there is one
    """

    suite_path: str
    pair: str
    endpoint: str | None
    test: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ScanScope:
    """Books of the suite that a pair's passages may be of; each id with a digest of the book.

    books:    its test books, but for the pair's own
    excused:  those that excuse what they contain: training books, common texts, and those that
              the model may give back here
    """

    books: dict[str, str] = field(default_factory=dict)
    excused: dict[str, str] = field(default_factory=dict)


LIKELIEST_SPAN = "likeliest answer's span"

_NOTHING = Completeness(requested=0, received=0)


@dataclass(frozen=True, slots=True)
class SampledCount:
    """Answers that a verdict rests on.

    purpose: own, greedy, canary, unrequested, null or baseline; pair: whose questions they answer
    endpoint: the ledger's name of who answered, None for a recording
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
    """A passage that came back: what it is, where it stands, and its redacted words.

    book:      id of the book that it is of, and that book's title; None for the pair's own
    asked_for: of a passage, the excerpt whose answer gave it
    source:    which generation gave it, where it is none of the sampled ones
    others:    ids of further books that hold it
    excused:   whether an excused book contains it: reported, and held to no limit on passages
    rests:     whether the words of prompts are not counted in `start` and `end` (continuation)
    rate:      how often its own prompt brought it, where one prompt asks for all of it
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
        """Where in which book, for a reader, and what was asked for where it was something else."""
        title = f" ({self.title})" if self.title and self.title != self.book else ""
        book = f"{self.book}{title}: " if self.book else ""
        chapter = f"{self.chapter}, " if self.chapter else ""
        asked = f", asked for {self.asked_for}" if self.asked_for else ""
        asked = f", in {self.source}" if self.source else asked
        others = f", also in {', '.join(self.others)}" if self.others else ""
        limits = "longest_passage, nv_longest_passage, and passages_over"
        excused = f", excused from {limits}" if self.excused else ""
        words = f"words {self.start:,}-{self.end:,}" + (
            ", prompts not counted" if self.rests else ""
        )
        return f"{book}{chapter}{self.excerpt_id}, {words}{others}{excused}{asked}"

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Passage:
        """The inverse of `dataclasses.asdict`, also after a journey through JSON."""
        rate = data["rate"] and PassageRate(**data["rate"])
        return cls(**{**data, "others": tuple(data["others"]), "rate": rate})


@dataclass(frozen=True, slots=True)
class PairResult:
    """One pair's outcome in plain numbers; no text but redacted quotes. All that reports read.

    suite:     the suite file's name, or its path from here where files of one name are in the run
    model_settings: provider, base, baseline, job and so on, as the suite names them
    control:   whether its book is a control, which gates nothing but what is `unexcused`
    unexcused: the limits that passages of books which nothing excuses break, though the pair's own
              is; leaked: whether its own book broke a limit
    measures:  by name; intervals: of those that have one; chances: p of "no more than chance"
    details:   what the evidence says beside the values: places, self-agreement, cross-excerpt, null
    limits:    by measure; limit_origins: the key of the suite file that set each
    settings:  how the pair was sampled, measured and judged: the suite's keys
    word_count, excerpts: of the book, 0 where nothing was measured or read
    completeness: what the answers were, and what is missing; provenance: who gave them, and when;
              None where nobody was asked
    sampled: the answers that the verdict rests on, the pair's own first; as_of: up to when the
    ledger was read for them, in seconds since 1970
    passages:  of any protected book: the longest, the longest near-verbatim one, other long ones
    spans:     the worst spans of the pair's own book, where its verdict is FAIL
    changes:   against a baseline, in words; compared: what the comparison says of it, ""
               where it says nothing
    scan_scope: the suite's books that passages were looked for in; None where nothing was measured
    catalog: how many books that nobody asks for were looked for, their words, a digest of all,
              and the words from which on a passage of them counts
    windows:   of the probe "probability": the map along the book
    rounds:    of the others: what each round shows, in numbers
    coverage:  of the others: where in the book, in numbers (results/coverage_map.py)
    detection: what its rounds can show; None where none were measured
    second_opinion: how many generations were matched again by other means, and the differences
    parts:     the documents of the book's file: which are text, and by which rule
    title, author: of the book, "" where nobody says; book_file: SHA-256 of its file
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
        """The verdict as it stands everywhere, with the refusals that a pass was given for."""
        return verdict_words(Verdict(self.verdict), self.completeness)

    @property
    def requested(self) -> int:
        """How many generations were asked for."""
        return self.completeness.requested

    @property
    def received(self) -> int:
        """How many of them are there."""
        return self.completeness.received

    @property
    def probe(self) -> str:
        """How the model was asked for the book."""
        return str(self.settings["probe"]["kind"])

    @property
    def unasked(self) -> tuple[Passage, ...]:
        """Long passages that no verdict tells by itself: of other books, or excused."""
        over = self.settings["span_threshold"]
        return tuple(
            passage
            for passage in self.passages
            if passage.words > over and (passage.book or passage.excused)
        )

    @property
    def leaking(self) -> tuple[WorkVerdict, ...]:
        """The works of the collection that are over a limit."""
        return tuple(work for work in self.works if work.verdict is Verdict.FAIL)

    def to_json(self) -> dict[str, Any]:
        """As plain lists and dicts."""
        data = dataclasses.asdict(dataclasses.replace(self, completeness=_NOTHING))
        works = [work | {"verdict": work["verdict"].value} for work in data["works"]]
        return data | {"completeness": self.completeness.to_json(), "works": works}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PairResult:
        """The inverse of `to_json`, also after a journey through JSON."""
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

    outputs: the files that were asked for, by option name ("html", "evidence", "signing_key"),
    and "step_summary" where the CI server has one.
    compared: whether anything got worse since an earlier release, where that was asked.
    Where evidence or a page is asked for, also what they say of the run as a whole:
    release: its name; selection: what was asked to run; tests: what became of each pair's tests;
    unrun: the pairs that some test would have evaluated and none did; uncollected: what could not
    be collected, so that nobody knows which pairs it has; ledger: where its chain ends, as
    `{"entries": ..., "link": ...}`, None where nothing was ever written to it.
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
