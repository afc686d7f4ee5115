"""Uplift: the BMC of a model minus that of its baseline (docs/method.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Estimate
from pytest_memleak.scoring.bmc_interval import (
    difference_bounds,
    spread,
    typical_span,
)

if TYPE_CHECKING:
    from pytest_memleak.records import Scoring
    from pytest_memleak.scoring.rounds import RoundCounts


def uplift(
    counts: RoundCounts,
    baseline: RoundCounts,
    *,
    scoring: Scoring,
    confidence: float = 0.95,
    alike: bool = True,
    seed: int = 0,
) -> Estimate:
    """Return a model's BMC minus its baseline's, on the same excerpts and rounds.

    The interval is the paired jackknife's: round r is left out of both at once. If the
    rounds of either are not `alike`, blocks of rounds are used, and the blocks'
    bootstrap covers both at once. Raises SettingsError for counts of different books or
    numbers of rounds, and for a confidence outside [0, 1).
    """
    if (counts.words, counts.rounds) != (baseline.words, baseline.rounds):
        raise SettingsError(
            f"{counts.words:,} words and {counts.rounds} rounds of the model, but "
            f"{baseline.words:,} words and {baseline.rounds} rounds of its baseline",
            hint="compare them on the same book and the same rounds",
        )
    difference = counts.bmc - baseline.bmc
    of_difference = spread(
        counts,
        baseline=baseline,
        scoring=scoring,
        alike=alike,
        seed=seed,
    )
    low, high = difference_bounds(
        difference,
        of_difference,
        typical_less=typical_span(baseline, scoring=scoring),
        confidence=confidence,
    )
    return Estimate(difference, low, high)
