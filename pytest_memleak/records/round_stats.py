"""Statistics of a pair's rounds: values per round, and the detection limit they reach.

Later releases are compared with the values per round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RoundStats:
    """Statistics of a pair's rounds (METRICS section 7); numbers only.

    alike:    whether the rounds are exchangeable
    units:    number of rounds, or of their blocks if they aren't exchangeable
    variance: of BMC over these; None for one round
    typical:  typical length of a span, a share of the book
    measures: per measure, its value in each of the n rounds: for `bmc` its covered words
    """

    alike: bool
    units: int
    variance: int | float | None
    typical: int | float
    measures: Mapping[str, tuple[int, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DetectionSummary:
    """Detection limit of n rounds (METRICS section 6).

    rounds:     n
    confidence: of `detection`
    answers:    fewest generations of any excerpt, without withheld ones; at most 1 at temperature 0
    detection:  d: a passage that its own prompt generates at a rate above d appears at least once
    clumped, drifting: p-values against exchangeable rounds
    blocks:     number of blocks that replace rounds that aren't exchangeable, else None
    detection_limit, samples_needed: the d that the suite requires, and the samples that reach it,
                None if no number does
    ranges:     expected range of each measure in words in another n rounds
    """

    rounds: int
    confidence: int | float
    answers: int
    detection: int | float
    clumped: int | float
    drifting: int | float
    blocks: int | None = None
    detection_limit: int | float | None = None
    samples_needed: int | None = None
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether it reaches the detection limit that the suite requires."""
        return self.detection_limit is None or self.detection <= self.detection_limit


@dataclass(frozen=True, slots=True)
class PlannedRounds:
    """Detection limit of planned rounds, if exchangeable and none withheld.

    detection_limit: the detection limit that the suite requires, None without one
    needed: samples that reach `detection_limit` if one in ten is withheld, None if none do
    """

    samples: int
    confidence: float
    detection: float
    detection_limit: float | None
    needed: int | None
