"""What each round of a pair shows, in numbers: what a later release is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RoundFigures:
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
        return asdict(self) | {"measures": {name: list(one) for name, one in self.measures.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RoundFigures:
        """The inverse of `to_json`, also after a journey through JSON."""
        measures = {name: tuple(one) for name, one in data["measures"].items()}
        return cls(**{**data, "measures": measures})
