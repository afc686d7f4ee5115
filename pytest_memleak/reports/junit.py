"""What a JUnit report says of a run and of each pair: scalars and verdicts, never text."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from typing import TYPE_CHECKING

from pytest_memleak.records.number_format import day
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.plain_settings import flattened
from pytest_memleak.reports.report_text import served_by, work_named
from pytest_memleak.results.run_verdict import suite_controls
from pytest_memleak.scoring.measure_table import OF_PASSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records import Completeness
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.releases import ReleaseComparison


def case_properties(found: PairResult, *, own: bool = False) -> list[tuple[str, str]]:
    """Properties of one test case.

    own: the test is one's own, with limits of its own: the suite's verdict is not its outcome.
    """
    properties: list[tuple[str, object]] = [
        *_verdict(found, own=own),
        ("memleak.expected", found.expected),
        ("memleak.control", "yes" if found.control else "no"),
        ("memleak.suite", found.suite),
        ("memleak.model", found.model),
        ("memleak.book", found.book),
        ("memleak.book_sha256", found.book_digest),
        *_identity(found),
        *(
            (f"memleak.setting.{name}", inert(str(value)))
            for name, value in flattened(found.settings)
        ),
        ("memleak.words", found.word_count),
        ("memleak.generations_requested", found.requested),
        ("memleak.generations_received", found.received),
        *_works(found),
        *_answers(found.completeness),
        *_answerer(found),
        *_sensitivity(found),
    ]
    properties += [
        ("memleak.baseline_refused", one.refused)
        for one in found.sampled
        if one.purpose == "baseline"
    ]
    properties += [(f"memleak.{name}", value) for name, value in found.measures.items()]
    for name, (low, high) in found.intervals.items():
        properties += [(f"memleak.{name}.low", low), (f"memleak.{name}.high", high)]
    properties += [(f"memleak.{name}.p", p) for name, p in found.chances.items()]
    for name in OF_PASSAGES:
        told = found.details.get(name, {})
        keys = ("book", "excerpt_at", "start", "end", "excerpt_id", "origin", "generation")
        properties += [(f"memleak.{name}.{key}", told[key]) for key in keys if told.get("book")]
        over = told.get("books", {})
        properties += [(f"memleak.{name}.{inert(book)}", count) for book, count in over.items()]
    properties += [(f"memleak.limit.{name}", value) for name, value in found.limits.items()]
    return [(name, str(value)) for name, value in properties]


def _works(found: PairResult) -> Iterator[tuple[str, object]]:
    if not found.works:
        return
    yield "memleak.works", len(found.works)
    for verdict, count in Counter(one.verdict for one in found.works).items():
        yield f"memleak.works.{verdict.value}", count
    for number, one in enumerate(found.leaking, 1):
        name = f"memleak.leaking_work.{number}"
        yield name, inert(work_named(one))
        yield from ((f"{name}.{measure}", one.measures[measure]) for measure in one.over)


def _identity(found: PairResult) -> Iterator[tuple[str, object]]:
    """Which suite, and which weights by which name."""
    yield "memleak.suite_sha256", found.suite_digest
    if found.endpoint:
        yield "memleak.endpoint", inert(found.endpoint)
    for key in ("provider", "base_model", "weights_version", "baseline_model", "job"):
        if found.model_settings.get(key):
            yield f"memleak.{key}", inert(str(found.model_settings[key]))


def _answers(evidence: Completeness) -> Iterator[tuple[str, object]]:
    yield "memleak.generations_surplus", evidence.surplus
    for kind, count in evidence.kinds.items():
        yield f"memleak.answers.{kind.value}", count
    for word, count in evidence.withheld.items():
        yield f"memleak.withheld.{inert(word)}", count
    if evidence.median_length_ratio is not None:
        yield "memleak.median_length_ratio", evidence.median_length_ratio
    if evidence.prompt_overlap is not None:
        yield "memleak.prompt_overlap", evidence.prompt_overlap


def _answerer(found: PairResult) -> Iterator[tuple[str, object]]:
    who = found.provenance
    if who is None:
        return
    if who.first is not None and who.last is not None:
        yield "memleak.drawn_first", day(who.first)
        yield "memleak.drawn_last", day(who.last)
    yield "memleak.calls", who.calls
    yield "memleak.calls_this_run", who.calls_this_run
    yield "memleak.imported", who.imported
    if who.requested is not None:
        yield "memleak.requested", inert(who.requested)
    for number, one in enumerate(who.served, 1):
        yield f"memleak.answered_by.{number}", inert(served_by(one))
        yield f"memleak.answered_by.{number}.calls", one.calls
    if who.refused:
        yield "memleak.refused_settings", inert(", ".join(who.refused))
    if who.weights:
        yield "memleak.weights", inert(who.weights)
    if who.tried:
        yield "memleak.attempt", who.tried.number
        yield "memleak.further_answers", who.tried.further


def _sensitivity(found: PairResult) -> Iterator[tuple[str, object]]:
    known = found.detection
    if known is None:
        return
    yield "memleak.rounds", known.rounds
    yield "memleak.detection", known.detection
    yield "memleak.detection.confidence", known.confidence
    yield "memleak.rounds_alike", "no" if known.blocks is not None else "yes"
    for name, (low, high) in known.ranges.items():
        yield f"memleak.{name}.range_low", low
        yield f"memleak.{name}.range_high", high


def _verdict(found: PairResult, *, own: bool) -> list[tuple[str, str]]:
    if not own:
        return [("memleak.verdict", found.verdict_words)]
    told = (
        f"{found.suite} judges {found.pair} {found.verdict_words} by its own limits; "
        "whether this test passed is by what it asserts itself"
    )
    return [("memleak.suite_verdict", found.verdict_words), ("memleak.suite_verdict.meaning", told)]


def suite_properties(findings: Sequence[PairResult], *, version: str) -> list[tuple[str, str]]:
    """Properties of the whole run: its program, and each suite file by digest.

    What differs from pair to pair stands with its case.
    """
    properties = {"memleak.version": version, "memleak.python": platform.python_version()}
    for found in findings:
        properties[f"memleak.suite.{found.suite}.sha256"] = found.suite_digest
    for suite in suite_controls(findings):
        name = f"memleak.suite.{suite.suite}"
        properties[f"{name}.controls"] = str(suite.controls)
        properties[f"{name}.leak_seen"] = "yes" if suite.saw else "no"
        properties[f"{name}.gates"] = "yes" if suite.gates else "no"
        for limit, one in suite.alarms.items():
            properties[f"{name}.false_alarms.{limit}"] = f"{one.over} of {one.measured}"
    return list(properties.items())


def compared_properties(compared: ReleaseComparison) -> list[tuple[str, str]]:
    """Properties of the closing statement on a release against an earlier one."""
    properties: dict[str, object] = {
        "memleak.compared.verdict": compared.verdict.value,
        "memleak.compared.baseline": inert(compared.baseline),
        "memleak.compared.baseline_sha256": compared.sha256,
        "memleak.compared.confidence": compared.confidence,
        "memleak.compared.comparisons": compared.comparisons,
    }
    for one in compared.changes:
        name = f"memleak.compared.{inert(one.pair)}.{one.measure}"
        told = dataclasses.asdict(one) | {"verdict": one.verdict.value}
        properties |= {
            f"{name}.{key}": value
            for key, value in told.items()
            if key not in ("pair", "measure") and value is not None
        }
    for pair, why in compared.obstacles.items():
        properties[f"memleak.compared.{inert(pair)}.obstacle"] = inert(why)
    return [(name, str(value)) for name, value in properties.items()]
