"""Limits, and what evidence says of them (METRICS section 9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pytest_memleak.records.generation import FinishReason
from pytest_memleak.records.measure import Measure

__all__ = [
    "Completeness",
    "Judgement",
    "LimitCheck",
    "Limits",
    "Verdict",
]


class Verdict(StrEnum):
    """What a pair's evidence says of its limits (METRICS section 9)."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Limits(Mapping[str, float]):
    """The most that measures may be, by their names: `Limits(bmc=0.1, longest_span=38)`.

    brought: the rows of those that extensions bring. Equal to any mapping of the same limits.
    """

    __slots__ = ("_limits", "brought")

    def __init__(
        self,
        limits: Mapping[str, float] = MappingProxyType({}),
        /,
        *,
        brought: Iterable[Measure] = (),
        **more: float,
    ) -> None:
        self._limits = {**limits, **more}
        self.brought = {row.name: row for row in brought}

    def __getitem__(self, name: str) -> float:
        return self._limits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)

    def __repr__(self) -> str:
        said = (f"{name}={limit!r}" for name, limit in self._limits.items())
        return f"Limits({', '.join(said)})"


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One limit held against one measure.

    high: the upper end of the measure's interval; rises: whether more samples can only raise it.
    """

    measure: str
    value: float
    limit: float
    high: float
    rises: bool = True

    @property
    def over(self) -> bool:
        """Whether the observed value is over the limit."""
        return self.value > self.limit

    @property
    def in_doubt(self) -> bool:
        """Whether the observed value holds, but the interval's upper end does not."""
        return self.value <= self.limit < self.high


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much of the evidence that the suite asks for is there.

    asked, got: generations; withheld: counts by finish reason; max_withheld: the share of
    the asked ones that may be withheld; gaps: what else is missing, in plain words.
    """

    asked: int
    got: int
    withheld: dict[FinishReason, int]
    max_withheld: float
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the limits it rests on, and why it is not a pass."""

    verdict: Verdict
    checks: tuple[LimitCheck, ...]
    reasons: tuple[str, ...] = ()
