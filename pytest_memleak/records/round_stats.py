"""Statistics of a pair's rounds: values per round, and the detection limit they reach.

Later releases are compared with the values per round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RoundStats:
    """A pair's rounds (METRICS section 7); numbers only.

    alike:    whether the rounds were
    units:    rounds, or the blocks of them that stand for rounds that were not alike
    variance: of BMC over these; None for one round
    typical:  typical length of a span, a share of the book
    measures: per measure, its value in each of the n rounds: for `bmc` its covered words
    """

    alike: bool
    units: int
    variance: float | None
    typical: float
    measures: Mapping[str, tuple[int, ...]] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """As plain lists and dicts."""
        return asdict(self) | {
            "measures": {name: list(values) for name, values in self.measures.items()}
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RoundStats:
        """The inverse of `to_json`, also after a journey through JSON."""
        measures = {name: tuple(values) for name, values in data["measures"].items()}
        return cls(**{**data, "measures": measures})


@dataclass(frozen=True, slots=True)
class DetectionSummary:
    """What n rounds can show (METRICS section 6).

    rounds:     n
    confidence: of `detection`
    answers:    of the excerpt that has fewest, withheld ones left out; at temperature 0 at most 1
    detection:  d: a passage that an answer to its own prompt gives back with a probability above
                it would have been seen
    clumped, drifting: p-values against rounds that are alike
    blocks:     how many blocks stand for the rounds where these are not alike, else None
    detection_limit, samples_needed: the d that the suite asks for, and the samples that would
    reach it,
                None where no number does
    ranges:     per measure, the words that it is likely to have in another n rounds, least and most
    """

    rounds: int
    confidence: float
    answers: int
    detection: float
    clumped: float
    drifting: float
    blocks: int | None = None
    detection_limit: float | None = None
    samples_needed: int | None = None
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether it is as sensitive as the suite asks."""
        return self.detection_limit is None or self.detection <= self.detection_limit

    def to_json(self) -> dict[str, Any]:
        """As plain lists and dicts."""
        return dataclasses.asdict(self) | {"ranges": {k: list(v) for k, v in self.ranges.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DetectionSummary:
        """The inverse of `to_json`, also after a journey through JSON."""
        ranges = {name: (low, high) for name, (low, high) in data["ranges"].items()}
        return cls(**{**data, "ranges": ranges})


@dataclass(frozen=True, slots=True)
class PlannedRounds:
    """What the rounds of a pair will see, if they are alike and none is withheld.

    detection_limit: the detection limit that the suite requires, None without one
    needed: samples that reach `detection_limit` where one in ten is withheld, None where none do
    """

    samples: int
    confidence: float
    detection: float
    detection_limit: float | None
    needed: int | None
