"""The stages of a sampling that may stop early: after 5, 10, 20, ... rounds.

Each stage doubles the rounds, so a run that stops has sampled less than twice what its
FAIL needed.
"""

from __future__ import annotations

_FIRST_STAGE = 5


def stages_before(rounds: int) -> tuple[int, ...]:
    """Return the numbers of rounds, under `rounds`, after which sampling may stop."""
    stages = []
    stage = _FIRST_STAGE
    while stage < rounds:
        stages.append(stage)
        stage *= 2
    return tuple(stages)
