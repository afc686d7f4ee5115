"""Numbers of a bundle's pair that no run can have: every reader rejects them.

The types of a pair (records/pair_result.py) say which numbers it has; here stands what
they can't be, so that no reader has to expect it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_memleak.records.measurement import DetectionSummary, RoundStats
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.provenance import Provenance

Number = int | float

Fact = tuple[str, Number | None]
"""The place of a number in the pair, and the number, if it has one."""


def impossible_numbers(pair: PairResult) -> Iterator[str]:
    """Yield the places of a pair's numbers that no run can have."""
    yield from _negative(_counts(pair))
    yield from _no_shares(_shares(pair))
    yield from _settings(pair.settings)
    for count in pair.sampled:
        if count.refused > count.received:
            yield f"sampled: {count.refused} refusals of {count.received} generations"
    for name, (low, high) in pair.ends.items():
        if low > high:
            yield f"measures.{name}: low exceeds high"
    yield from _likelier_than_certain(pair)
    if pair.rounds is not None:
        yield from _rounds(pair.rounds)
        if pair.rounds.measures.keys() - pair.values.keys():
            yield "rounds.measures: the pair lacks one of these measures"
    if pair.detection is not None:
        for name, (low, high) in pair.detection.ranges.items():
            if not 0 <= low <= high:
                yield f"detection.ranges.{name}: {low} to {high}"


def _negative(counts: Iterator[Fact]) -> Iterator[str]:
    for place, number in counts:
        if number is not None and number < 0:
            yield f"{place}: {number} is negative"


def _likelier_than_certain(pair: PairResult) -> Iterator[str]:
    for window in pair.probability.likeliest if pair.probability else ():
        if not window.log_p <= 0:
            yield f"probability.likeliest: {window.log_p} is over 0"


def _no_shares(shares: Iterator[Fact]) -> Iterator[str]:
    for place, number in shares:
        if number is not None and not 0 <= number <= 1:
            yield f"{place}: {number} isn't from 0 to 1"


def _counts(pair: PairResult) -> Iterator[Fact]:
    evidence = pair.completeness
    yield "completeness.requested", evidence.requested
    yield "completeness.received", evidence.received
    yield "completeness.surplus", evidence.surplus
    for kind, number in evidence.kinds.items():
        yield f"completeness.kinds.{kind}", number
    yield "book.words", pair.book.words
    yield "book.excerpts", pair.book.excerpts
    for count in pair.sampled:
        yield "sampled.requested", count.requested
        yield "sampled.received", count.received
        yield "sampled.refused", count.refused
    if pair.detection is not None:
        yield "detection.rounds", pair.detection.rounds
        yield "detection.answers", pair.detection.answers
    if pair.probability is not None:
        yield "probability.windows", pair.probability.windows
        yield "probability.planned", pair.probability.planned
        yield "probability.unreadable", pair.probability.unreadable
    if pair.provenance is not None:
        yield from _provenance_counts(pair.provenance)


def _provenance_counts(provenance: Provenance) -> Iterator[Fact]:
    yield "provenance.calls", provenance.calls
    yield "provenance.calls_this_run", provenance.calls_this_run
    for server in provenance.served:
        yield "provenance.served.calls", server.calls
    tried = provenance.tried
    if tried is not None:
        yield "provenance.tried.number", tried.number - 1
        yield "provenance.tried.removed", tried.removed
        yield "provenance.tried.resampled", tried.resampled
        yield "provenance.tried.further", tried.further


def _shares(pair: PairResult) -> Iterator[Fact]:
    for name, p in pair.chances.items():
        yield f"measures.{name}.p", p
    if pair.detection is not None:
        yield from _detection_shares(pair.detection)
    delivery = pair.completeness.delivery
    if delivery is not None:
        yield "completeness.delivery.p_uneven", delivery.p_uneven
        yield "completeness.delivery.p_control", delivery.p_control
    if pair.probability is not None:
        for row in pair.probability.shares:
            yield f"probability.shares.{row.samples}", row.share


def _detection_shares(summary: DetectionSummary) -> Iterator[Fact]:
    yield "detection.confidence", summary.confidence
    yield "detection.detection", summary.detection
    yield "detection.detection_limit", summary.detection_limit
    yield "detection.detection_if_lost", summary.detection_if_lost
    yield "detection.clumped", summary.clumped
    yield "detection.drifting", summary.drifting


def _rounds(rounds: RoundStats) -> Iterator[str]:
    lengths = {len(series) for series in rounds.measures.values()}
    if len(lengths) > 1 or 0 in lengths:
        yield "rounds.measures: the numbers of rounds differ, or are 0"
    for name, series in rounds.measures.items():
        if min(series, default=0) < 0:
            yield f"rounds.measures.{name}: a value is negative"
    if rounds.units < 1:
        yield f"rounds.units: {rounds.units}"
    if (rounds.variance or 0) < 0 or rounds.typical < 0:
        yield "rounds: variance or typical is negative"


_SETTINGS = {"samples": 1}
"""Settings that readers use, and the least that each can be."""


def _settings(settings: Mapping[str, object]) -> Iterator[str]:
    for name, least in _SETTINGS.items():
        number = settings.get(name)
        if type(number) is not int or number < least:
            yield f"settings.{name}: {number!r} isn't a number from {least} on"
    probe = settings.get("probe")
    if not isinstance(probe, dict) or not isinstance(probe.get("kind"), str):
        yield "settings.probe: it has no kind"
