"""Limits, and what evidence says of them (METRICS section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from pytest_memleak.records.generation import FinishReason

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


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a measure may be; None where there is no limit.

    `measures` are limits on the measures that extensions bring.
    """

    bmc: float | None = None
    bmc_excess: float | None = None
    uplift: float | None = None
    longest_block: int | None = None
    longest_span: int | None = None
    spans_over: int | None = None
    nv_recall: float | None = None
    nv_longest_span: int | None = None
    greedy_bmc: float | None = None
    greedy_longest_span: int | None = None
    extractable: float | None = None
    extractable_plain: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)

    def given(self) -> dict[str, float]:
        """The limits there are, by the measure's name."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "measures"}
        return {name: limit for name, limit in own.items() if limit is not None} | dict(
            self.measures
        )


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One limit held against one measure; `high` is the upper end of the measure's interval."""

    measure: str
    value: float
    limit: float
    high: float

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
