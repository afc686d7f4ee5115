"""What a run found, as reports need it: plain values that travel between processes."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import Verdict
from pytest_memleak.reports.evidence import pair_evidence, settings_of
from pytest_memleak.reports.inert import QUOTED_WORDS, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_memleak.evaluation import Evaluation
    from pytest_memleak.records import Block, Book, Measurement, Span
    from pytest_memleak.reports.portrait import Portrait

__all__ = ["Finding", "Passage", "RunReport", "finding", "findings_of", "main_measures"]


_PASSAGES = 5
_ELSEWHERE = 20
_OF_GENERATIONS = ("bmc", "longest_block", "longest_span", "spans_over")
_OF_WINDOWS = ("extractable", "extractable_plain")


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
    portrait: Portrait | None = None

    @property
    def probe(self) -> str:
        """How the model was asked for the book."""
        return str(self.settings["probe"]["kind"])

    def to_json(self) -> dict[str, Any]:
        """As plain lists and dicts."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        """The inverse of `to_json`."""
        from pytest_memleak.reports.portrait import Portrait

        passages = tuple(Passage(**passage) for passage in data["passages"])
        lists = {
            name: tuple(data[name]) for name in ("reasons", "warnings", "changes", "elsewhere")
        }
        intervals = {name: (low, high) for name, (low, high) in data["intervals"].items()}
        seen = data["portrait"] and Portrait.from_json(data["portrait"])
        plain = {**data, **lists, "intervals": intervals}
        return cls(**{**plain, "passages": passages, "portrait": seen})


def findings_of(found: Iterable[dict[str, Any]]) -> tuple[Finding, ...]:
    """The findings of a run, from their JSON; suites of one name are told apart by their paths."""
    findings = [Finding.from_json(one) for one in found]
    paths: dict[str, set[str]] = {}
    for one in findings:
        paths.setdefault(one.suite, set()).add(one.suite_path)
    return tuple(
        dataclasses.replace(one, suite=os.path.relpath(one.suite_path))
        if len(paths[one.suite]) > 1
        else one
        for one in findings
    )


def main_measures(findings: Sequence[Finding]) -> tuple[str, ...]:
    """The measures that an overview has columns for: those that the probes of the run tell."""
    probes = {found.probe for found in findings}
    told = {name for found in findings for name in found.measures}
    windows = tuple(name for name in _OF_WINDOWS if name in told) or _OF_WINDOWS[:1]
    return (
        *(_OF_GENERATIONS if probes - {"probability"} else ()),
        *(windows if "probability" in probes else ()),
    )


@dataclass(frozen=True, slots=True)
class RunReport:
    """A whole run, for report sinks (hook `memleak_report`).

    outputs: the files that were asked for, by option name ("html", "evidence", "sign"),
    and "step_summary" where the CI server has one.
    """

    version: str
    findings: tuple[Finding, ...]
    outputs: Mapping[str, Path] = field(default_factory=dict)


def finding(
    evaluation: Evaluation,
    *,
    quoted: int | None = QUOTED_WORDS,
    changes: tuple[str, ...] = (),
) -> Finding:
    """What reports say of one evaluation.

    quoted: words of each passage, None for all; changes: against a baseline, in words.
    """
    # These bring numpy, which collecting does without.
    from pytest_memleak.reports.portrait import portrait
    from pytest_memleak.scoring.analysis import estimates

    pair, measured = evaluation.pair, evaluation.measurement
    completeness = evaluation.completeness
    known = evaluation.analysis or evaluation.extraction
    found = estimates(known) if known else {}
    return Finding(
        suite=evaluation.suite,
        suite_path=str(pair.suite),
        suite_digest=evaluation.suite_digest,
        pair=pair.id,
        model=pair.model.id,
        book=pair.book.id,
        book_digest=evaluation.book.digest if evaluation.book else "",
        endpoint=evaluation.endpoint or "",
        expected=pair.expected,
        verdict=evaluation.judgement.verdict.value,
        reasons=evaluation.judgement.reasons,
        measures={name: one.value for name, one in found.items()},
        intervals={name: (one.low, one.high) for name, one in found.items() if one.low < one.high},
        limits=pair.limits.given(),
        settings=settings_of(pair),
        words=measured.words if measured else 0,
        asked=completeness.asked,
        got=completeness.got,
        withheld={reason.value: count for reason, count in completeness.withheld.items()},
        passages=tuple(_passages(evaluation, quoted)),
        warnings=_warnings(evaluation),
        spared=evaluation.spared,
        changes=changes,
        evidence=pair_evidence(evaluation),
        elsewhere=tuple(
            dataclasses.asdict(one)
            for one in sorted(evaluation.elsewhere, key=lambda one: -one.longest_span)[:_ELSEWHERE]
        ),
        portrait=portrait(evaluation, quoted=quoted),
    )


def _warnings(evaluation: Evaluation) -> tuple[str, ...]:
    own = evaluation.book.warnings if evaluation.book else ()
    return (*own, *(f"not looked for: {one}" for one in evaluation.unread))


def _passages(evaluation: Evaluation, quoted: int | None) -> list[Passage]:
    """The worst passages, if something was over its limit: block first, then spans."""
    measured, book = evaluation.measurement, evaluation.book
    if not measured or not book or evaluation.judgement.verdict is not Verdict.FAIL:
        return []
    spans: tuple[Span, ...] = measured.spans[:_PASSAGES] or (measured.longest_span,)
    runs: list[tuple[str, Block]] = [("longest block", measured.longest_block)]
    runs += [("span", span) for span in spans]
    return [
        _passage(kind, run, measured, book, quoted) for kind, run in runs if run.start is not None
    ]


def _passage(
    kind: str, run: Block, measured: Measurement, book: Book, quoted: int | None
) -> Passage:
    start, end = run.start or 0, run.end or 0
    excerpt = book.excerpts[measured.excerpt_at(start)]
    return Passage(
        kind=kind,
        words=run.words,
        start=start,
        end=end,
        chapter=excerpt.chapter,
        excerpt_id=excerpt.id,
        generation=getattr(run, "generation", None),
        quote=quote(book, run, measured, most=quoted),
    )
