"""Usual numbers of samples, and what the next one up would detect and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.pipeline.limit_reachability import planned_rounds
from pytest_memleak.sampling.cost_plan import PowerRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records import Pair
    from pytest_memleak.sampling.cost_plan import RunPlan

USUAL_SAMPLES = (10, 30, 66, 100, 299)


def next_samples(pairs: Iterable[Pair]) -> int | None:
    """Return the next usual number above all pairs' samples, if there is one."""
    most = max((planned_rounds(pair).samples for pair in pairs), default=0)
    for samples in USUAL_SAMPLES:
        if samples > most:
            return samples
    return None


def power_row(planned: RunPlan, pair: Pair, samples: int, note: str = "") -> PowerRow:
    """Return what a plan with so many samples costs, and what `pair` detects."""
    costs = [step.cost for step in planned.steps]
    estimates = [step.sampling for step in planned.steps if step.sampling]
    return PowerRow(
        samples=samples,
        detection=planned_rounds(pair, samples).detection,
        calls=sum(sampling.calls for sampling in estimates),
        generations=sum(sampling.generations for sampling in estimates),
        cost=None if None in costs else sum(cost for cost in costs if cost),
        note=note,
    )
