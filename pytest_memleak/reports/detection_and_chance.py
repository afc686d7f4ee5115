"""What a run can show, as text: detection limit, expected range, chance, controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records.number_format import amount, percent, percent_at_most
from pytest_memleak.reports.measure_text import format_p
from pytest_memleak.results.run_evidence import suite_controls
from pytest_memleak.scoring.measure_table import BMC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.results.evidence_file import SuiteControls


def detection_text(result: PairResult) -> str:
    """Format the pair's detection limit; "-" where it has none."""
    if not result.detection:
        return "-"
    return percent_at_most(result.detection.detection)


def detection_limit_captions(results: Sequence[PairResult]) -> Iterator[str]:
    """Explain the detection limit, once for each confidence in the run."""
    confidences: dict[float, None] = {}
    for result in results:
        if result.detection:
            confidences[result.detection.confidence] = None
    for confidence in confidences:
        yield detection_limit_caption(confidence)


def detection_limit_caption(confidence: float) -> str:
    """Explain a column of detection limits."""
    return (
        "detection limit: a passage that occurs in more than this share of a prompt's "
        "generations appears at least once in the run "
        f"({100 * confidence:g}% confidence)"
    )


def highest_detection_limit_lines(results: Sequence[PairResult]) -> Iterator[str]:
    """State the run's detection limit: the highest of its pairs, without controls."""
    limited = []
    for result in results:
        if result.detection and not result.control:
            limited.append((result.detection.detection, result))
    if not limited:
        return
    _, highest = max(limited, key=lambda entry: entry[0])
    if highest.detection is None:
        return
    texts = {detection_text(result) for _, result in limited}
    scope = f" (the highest, of {highest.pair})" if len(texts) > 1 else ""
    caption = detection_limit_caption(highest.detection.confidence)
    meaning = caption.removeprefix("detection limit")
    yield f"Detection limit {detection_text(highest)}{scope}{meaning}"


def detection_lines(result: PairResult) -> Iterator[str]:
    """State the pair's detection limit, and what it rests on."""
    summary = result.detection
    if summary is None:
        return
    samples = amount(summary.rounds, "sample")
    if summary.blocks is not None:
        samples += f" that count as {amount(summary.blocks, 'block')}"
    elif summary.calls:
        samples += f" in {amount(summary.answers, 'call')}, which count as one each"
    elif summary.answers < summary.rounds:
        samples += f", only {amount(summary.answers, 'answer')} for one excerpt"
    confidence = f"{100 * summary.confidence:g}% confidence"
    yield f"Detection limit: {detection_text(result)} ({samples}, {confidence})"


def expected_range_lines(result: PairResult) -> Iterator[str]:
    """State the range of lengths expected in a second run."""
    summary = result.detection
    if summary and summary.ranges:
        ranges = []
        for name, (low, high) in summary.ranges.items():
            ends = dict.fromkeys((f"{low:,}", f"{high:,}"))
            ranges.append(f"{name} {'–'.join(ends)}")
        samples = amount(summary.rounds, "sample")
        yield f"Expected range in a second run of {samples}: {', '.join(ranges)} words"


def exchangeability_lines(result: PairResult) -> Iterator[str]:
    """State that rounds aren't exchangeable, if so."""
    summary = result.detection
    if summary and summary.blocks is not None:
        is_clumped = summary.clumped <= summary.drifting
        likelier = "clumped" if is_clumped else "drifting"
        p = 2 * min(summary.clumped, summary.drifting)
        yield (
            f"Rounds aren't exchangeable ({likelier}, p = {p:.2g}): recall varies, or "
            f"the endpoint changed. Intervals use {amount(summary.blocks, 'block')}."
        )


def chance_lines(result: PairResult) -> Iterator[str]:
    """State the coverage of null books beside that of the pair's book."""
    null = result.measures.get("null")
    if null is None:
        return
    books = amount(len(null["books"]), "null book")
    text = (
        f"Chance level: {percent(null['null_bmc'])} ({books}); "
        f"this book {percent(null[BMC.name])}"
    )
    if null["p"] is None:
        yield f"{text}. An interval and a p-value need two null books."
    else:
        yield (
            f"{text}, {format_p(null['p'])}. {books} can detect "
            f"coverage of {null['visible']:.1f} times the chance level."
        )


def control_lines(results: Sequence[PairResult]) -> Iterator[str]:
    """State what controls show: false positives, and whether a known leak showed."""
    suites = suite_controls(results)
    for suite in suites:
        name = f"{suite.suite}: " if len(suites) > 1 else ""
        pairs = []
        for result in results:
            if result.suite.name == suite.suite:
                pairs.append(result)
        # Its own book, whether expected or not.
        leaked = any(pair.leaked for pair in pairs)
        has_generations = any(pair.completeness.received for pair in pairs)
        if suite.controls:
            controls = amount(suite.controls, "negative control")
            rates = ", ".join(_false_positive_lines(suite)) or "none was measured"
            yield f"{name}False positives on {controls}: {rates}"
        if suite.gates and has_generations and not leaked:
            yield (
                f"{name}No positive control leaked, so this run doesn't show that the "
                'gate can detect a leak. Add a pair with expected = "leak", of a model '
                "that reproduces its book."
            )


def _false_positive_lines(suite: SuiteControls) -> Iterator[str]:
    for limit, count in suite.false_alarms.items():
        yield f"{limit} {count.over} of {count.measured}"
