"""What a pair's rounds can show, and whether that is as much as the suite asks (METRICS 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Issue
from pytest_memleak.records.number_format import amount, percent, percent_at_most
from pytest_memleak.records.round_stats import DetectionSummary, PlannedRounds
from pytest_memleak.scoring.detection_limit import detection, rounds_to_detect, samples_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Pair
    from pytest_memleak.scoring.analysis import Analysis

# Of detection where the suite judges by observed values (`confidence = 0`).
_CONFIDENCE = 0.95


def planned_rounds(pair: Pair, samples: int | None = None) -> PlannedRounds:
    """What the pair's samples will see, or so many of them."""
    samples, confidence = samples or pair.sampling.samples, pair.confidence or _CONFIDENCE
    needed = None
    if pair.detection_limit is not None and not _are_copies(pair):
        needed = samples_for(
            rounds_to_detect(pair.detection_limit, confidence=confidence, alike=True)
        )
    seen = detection(1 if _are_copies(pair) else samples, confidence=confidence)
    return PlannedRounds(samples, confidence, seen, pair.detection_limit, needed)


def sensitivity_of(analysis: Analysis, pair: Pair, *, answers: int) -> DetectionSummary:
    """What the rounds of the analysis can show.

    answers: of the excerpt that has fewest, those that were withheld left out.
    """
    answers = min(answers, 1) if _are_copies(pair) else answers
    error = analysis.error.with_answers(answers)
    confidence = pair.confidence or _CONFIDENCE
    needed = None
    if pair.detection_limit is not None and not _are_copies(pair):
        rounds = rounds_to_detect(
            pair.detection_limit, confidence=confidence, alike=error.likeness.alike
        )
        answered = max(min(answers, error.rounds), 1) / error.rounds
        needed = samples_for(rounds, answered=answered)
    return DetectionSummary(
        rounds=error.rounds,
        confidence=confidence,
        answers=answers,
        detection=error.detection,
        clumped=error.likeness.clumped,
        drifting=error.likeness.drifting,
        blocks=error.blocks,
        detection_limit=pair.detection_limit,
        samples_needed=needed,
        ranges={name: (one.low, one.high) for name, one in analysis.ranges.items()},
    )


def _are_copies(pair: Pair) -> bool:
    """Whether all rounds are the greedy one: however many there are, they count as one."""
    return pair.sampling.temperature == 0


def sensitivity_issues(found: DetectionSummary | None) -> Iterator[Issue]:
    """Why no pass may rest on these rounds, where they are fewer than `detect` asks for."""
    if found is None or found.detection_limit is None or found.reached:
        return
    rounds = amount(found.rounds, "round")
    fix = f"set samples = {found.samples_needed} or more, or a larger detect"
    if found.samples_needed is None:
        rounds += " at temperature 0, copies that count as 1"
        fix = "set a temperature over 0, or leave detect out"
    elif found.blocks is not None:
        rounds += f", which were not alike and count as {amount(found.blocks, 'block')}"
    elif found.answers < found.rounds:
        rounds += f", {found.answers:,} answers of an excerpt that were not withheld"
    yield Issue(
        "detection",
        f"a passage that comes in {percent_at_most(found.detection)} of the answers to its prompt "
        f"may have gone unseen ({rounds}; {100 * found.confidence:g} %), and detection_limit = "
        f"{found.detection_limit:g} asks for {percent(found.detection_limit)}",
        fix,
    )
