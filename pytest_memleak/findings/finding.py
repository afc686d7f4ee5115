"""From an evaluation to what reports read of it, and back from its journey between processes."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from pytest_memleak.findings.pair_evidence import pair_evidence, settings_of
from pytest_memleak.findings.quotes import quote
from pytest_memleak.records import Verdict
from pytest_memleak.records.finding import Finding, Passage
from pytest_memleak.redaction.text import QUOTED_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import Block, Book, Measurement, Span
    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = ["decoded_finding", "finding", "findings_of", "main_measures"]

_PASSAGES = 5
_ELSEWHERE = 20
_OF_GENERATIONS = ("bmc", "longest_block", "longest_span", "spans_over")
_OF_WINDOWS = ("extractable", "extractable_plain")


def findings_of(found: Iterable[dict[str, Any]]) -> tuple[Finding, ...]:
    """The findings of a run, from their JSON; suites of one name are told apart by their paths."""
    findings = [decoded_finding(one) for one in found]
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
    from pytest_memleak.findings.plot_data import plot_data
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
        plot=plot_data(evaluation, quoted=quoted),
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


def decoded_finding(data: dict[str, Any]) -> Finding:
    """The inverse of `Finding.to_json`."""
    from pytest_memleak.findings.plot_data import decoded_plot

    passages = tuple(Passage(**passage) for passage in data["passages"])
    lists = {name: tuple(data[name]) for name in ("reasons", "warnings", "changes", "elsewhere")}
    intervals = {name: (low, high) for name, (low, high) in data["intervals"].items()}
    seen = data["plot"] and decoded_plot(data["plot"])
    plain = {**data, **lists, "intervals": intervals}
    return Finding(**{**plain, "passages": passages, "plot": seen})
