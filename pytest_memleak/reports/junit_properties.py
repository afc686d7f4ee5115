"""JUnit properties of a run and of each pair: scalars and verdicts, never book text."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_memleak.records.number_format import day
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.book_text import excluded_lines, work_name
from pytest_memleak.reports.generation_text import server_name
from pytest_memleak.reports.setting_keys import flatten
from pytest_memleak.results.run_evidence import suite_controls
from pytest_memleak.results.tried_prompts import tried_prompts
from pytest_memleak.scoring.measure_table import OF_PASSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Completeness
    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.records.verdicts import ReleaseComparison


_PLACE_KEYS = (
    "book",
    "excerpt_at",
    "start",
    "end",
    "excerpt_id",
    "origin",
    "generation",
)


def case_properties(result: PairResult, *, own: bool = False) -> list[tuple[str, str]]:
    """List the properties of one test case.

    own: the user wrote the test, so the suite's verdict isn't its outcome
    """
    return [
        (f"memleak.{name}", str(value)) for name, value in _properties(result, own=own)
    ]


def _properties(result: PairResult, *, own: bool) -> Iterator[tuple[str, object]]:
    yield "suite_verdict" if own else "verdict", result.verdict
    if own:
        suite = f"the verdict on {result.pair} under the limits of {result.suite.name}"
        own_assertions = "this test passes or fails by its own assertions"
        yield "suite_verdict.meaning", f"{suite} is {result.verdict}; {own_assertions}"
    yield "expected", result.expected
    yield "control", "yes" if result.control else "no"
    yield "suite", result.suite.name
    yield "model", result.model.id
    yield "book", result.book.id
    yield "book_sha256", result.book.sha256 or ""
    yield from _identity_properties(result)
    for name, value in flatten(result.settings):
        yield f"setting.{name}", inert(str(value))
    yield "words", result.book.words or 0
    for line in excluded_lines(result.book.parts):
        yield "excluded", line
    yield "book_approval", result.book.approval
    yield "generations_requested", result.requested
    yield "generations_received", result.received
    yield from _work_properties(result)
    yield from _completeness_properties(result.completeness)
    yield from _provenance_properties(result)
    yield from _detection_properties(result)
    for counted in result.sampled:
        if counted.purpose == "baseline":
            yield "baseline_refused", counted.refused
    yield from result.values.items()
    for name, (low, high) in result.intervals.items():
        yield f"{name}.low", low
        yield f"{name}.high", high
    for name, p in result.chances.items():
        yield f"{name}.p", p
    yield from _passage_places(result)
    for name, value in result.limit_by_measure.items():
        yield f"limit.{name}", value


def _passage_places(result: PairResult) -> Iterator[tuple[str, object]]:
    for name in OF_PASSAGES:
        details = result.measures.get(name, {})
        if details.get("book"):
            for key in _PLACE_KEYS:
                yield f"{name}.{key}", details[key]
        for book, count in details.get("books", {}).items():
            yield f"{name}.{inert(book)}", count


def _work_properties(result: PairResult) -> Iterator[tuple[str, object]]:
    if not result.works:
        return
    yield "works", len(result.works)
    counts = Counter(work.verdict for work in result.works)
    for verdict, count in counts.items():
        yield f"works.{verdict.value}", count
    for number, work in enumerate(result.leaking, 1):
        name = f"leaking_work.{number}"
        yield name, inert(work_name(work))
        yield from (
            (f"{name}.{measure}", work.measures[measure]) for measure in work.over
        )


def _identity_properties(result: PairResult) -> Iterator[tuple[str, object]]:
    yield "suite_sha256", result.suite.sha256
    for key in (
        "endpoint",
        "provider",
        "base_model",
        "weights_version",
        "baseline_model",
        "job",
    ):
        if value := getattr(result.model, key):
            yield key, inert(value)


def _completeness_properties(evidence: Completeness) -> Iterator[tuple[str, object]]:
    yield "generations_surplus", evidence.surplus
    for kind, count in evidence.kinds.items():
        yield f"answers.{kind.value}", count
    for word, count in evidence.withheld.items():
        yield f"withheld.{inert(word)}", count
    if evidence.median_length_ratio is not None:
        yield "median_length_ratio", evidence.median_length_ratio
    if evidence.prompt_overlap is not None:
        yield "prompt_overlap", evidence.prompt_overlap
    if evidence.delivery is not None:
        yield "completions_requested", evidence.delivery.requested
        yield "completions_lost", evidence.delivery.lost
        yield "control_calls_requested", evidence.delivery.control_requested
        yield "control_calls_lost", evidence.delivery.control_lost


def _provenance_properties(result: PairResult) -> Iterator[tuple[str, object]]:
    provenance = result.provenance
    if provenance is None:
        return
    if provenance.first is not None and provenance.last is not None:
        yield "drawn_first", day(provenance.first)
        yield "drawn_last", day(provenance.last)
    yield "calls", provenance.calls
    yield "calls_this_run", provenance.calls_this_run
    if provenance.requested is not None:
        yield "requested", inert(provenance.requested)
    for number, server in enumerate(provenance.served, 1):
        yield f"answered_by.{number}", inert(server_name(server))
        yield f"answered_by.{number}.calls", server.calls
    if provenance.refused:
        yield "refused_settings", inert(", ".join(provenance.refused))
    if provenance.weights:
        yield "weights", inert(provenance.weights)
    if provenance.tried:
        yield "attempt", provenance.tried.number
        yield "further_answers", provenance.tried.further


def _detection_properties(result: PairResult) -> Iterator[tuple[str, object]]:
    summary = result.detection
    if summary is None:
        return
    yield "rounds", summary.rounds
    yield "detection", summary.detection
    yield "detection.confidence", summary.confidence
    if summary.detection_if_lost is not None:
        yield "detection.if_lost", summary.detection_if_lost
    yield "rounds_alike", "no" if summary.blocks is not None else "yes"
    for name, (low, high) in summary.ranges.items():
        yield f"{name}.range_low", low
        yield f"{name}.range_high", high


def add_run_properties(run: RunReport, junit: Any) -> None:
    """Add versions, suite digests and controls of the run to pytest's writer."""
    properties = {
        "memleak.version": run.version,
        "memleak.python": platform.python_version(),
    }
    for result in run.results:
        properties[f"memleak.suite.{result.suite.name}.sha256"] = result.suite.sha256
    for suite in suite_controls(run.results):
        name = f"memleak.suite.{suite.suite}"
        properties[f"{name}.controls"] = str(suite.controls)
        properties[f"{name}.leak_seen"] = "yes" if suite.leak_seen else "no"
        properties[f"{name}.gates"] = "yes" if suite.gates else "no"
        for limit, alarms in suite.false_alarms.items():
            properties[f"{name}.false_alarms.{limit}"] = (
                f"{alarms.over} of {alarms.measured}"
            )
    for number, group in enumerate(tried_prompts(run.results), 1):
        properties[f"memleak.tried.{number}"] = inert(
            f"{', '.join(group.pairs)}: {group.text}",
        )
    for name, value in properties.items():
        junit.add_global_property(name, value)


def comparison_properties(compared: ReleaseComparison) -> list[tuple[str, str]]:
    """List the properties of the comparison with an earlier release."""
    properties: dict[str, object] = {
        "memleak.compared.verdict": compared.verdict.value,
        "memleak.compared.baseline": inert(compared.baseline),
        "memleak.compared.baseline_sha256": compared.sha256,
        "memleak.compared.confidence": compared.confidence,
        "memleak.compared.comparisons": compared.comparisons,
    }
    for change in compared.changes:
        name = f"memleak.compared.{inert(change.pair)}.{change.measure}"
        fields = dataclasses.asdict(change) | {"verdict": change.verdict.value}
        properties |= {
            f"{name}.{key}": value
            for key, value in fields.items()
            if key not in ("pair", "measure") and value is not None
        }
    for pair, reason in compared.obstacles.items():
        properties[f"memleak.compared.{inert(pair)}.obstacle"] = inert(reason)
    return [(name, str(value)) for name, value in properties.items()]
