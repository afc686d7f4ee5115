"""How many control calls the losses of a pair call for (docs/method.md)."""

from __future__ import annotations

import math

from pytest_memleak.scoring.loss_tests import MOST_CONTROLS, TEST_LEVEL, p_control

MOST_LOST_SHARE = 0.01
"""The share of lost completions above which control calls are due."""

_LOSSES_EXPECTED = 5


def control_calls_due(requested: int, lost: int) -> int:
    """Return the control completions that these losses call for; 0 for none.

    So many that five would be lost at the pair's own rate, and enough for the test to
    reject if none is. None where `MOST_CONTROLS` aren't enough for that.
    """
    if lost <= MOST_LOST_SHARE * requested:
        return 0
    fewest = math.ceil(_LOSSES_EXPECTED * requested / lost)
    for due in range(min(fewest, MOST_CONTROLS), MOST_CONTROLS + 1):
        if (
            p_control(requested, lost, control_requested=due, control_lost=0)
            <= TEST_LEVEL
        ):
            return due
    return 0


def most_control_calls(requested: int) -> int:
    """Return the most control completions that any number of losses calls for."""
    fewest = math.floor(MOST_LOST_SHARE * requested) + 1
    for lost in range(fewest, requested + 1):
        due = control_calls_due(requested, lost)
        if due:
            return due
    return 0
