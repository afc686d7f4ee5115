"""What reports read of a pair and of a run: plain values that travel between processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_memleak.records.plot import PlotData

__all__ = ["Finding", "Passage", "RunReport"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that came back: what it is, where it stands, and its redacted words."""

    kind: str
    words: int
    start: int
    end: int
    chapter: str | None
    excerpt_id: str
    generation: int | None
    quote: str = field(repr=False)

    @property
    def place(self) -> str:
        """Where in the book, for a reader."""
        chapter = f"{self.chapter}, " if self.chapter else ""
        return f"{chapter}{self.excerpt_id}, words {self.start:,}-{self.end:,}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One pair's outcome in plain numbers; no text but redacted quotes.

    elsewhere: the books that nobody asked for of which the longest spans came, twenty at most
    suite: the suite file's name, or its path from here where files of one name are in the run
    """

    suite: str
    suite_path: str
    suite_digest: str
    pair: str
    model: str
    book: str
    book_digest: str
    endpoint: str
    expected: str
    verdict: str
    reasons: tuple[str, ...]
    measures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    limits: dict[str, float]
    settings: dict[str, Any]
    words: int
    asked: int
    got: int
    withheld: dict[str, int]
    passages: tuple[Passage, ...]
    warnings: tuple[str, ...]
    spared: str | None
    changes: tuple[str, ...]
    evidence: dict[str, Any]
    elsewhere: tuple[dict[str, Any], ...] = ()
    plot: PlotData | None = None

    @property
    def probe(self) -> str:
        """How the model was asked for the book."""
        return str(self.settings["probe"]["kind"])

    def to_json(self) -> dict[str, Any]:
        """As plain lists and dicts."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class RunReport:
    """A whole run, for report sinks (hook `memleak_report`).

    outputs: the files that were asked for, by option name ("html", "evidence", "sign"),
    and "step_summary" where the CI server has one.
    """

    version: str
    findings: tuple[Finding, ...]
    outputs: Mapping[str, Path] = field(default_factory=dict)
