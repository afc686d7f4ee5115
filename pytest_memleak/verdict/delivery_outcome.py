"""What a pair's server lost, and what that leaves of its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_memleak.records.delivery import Delivery, IndependentAnswers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_memleak.records import Issue


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What was requested and lost, what it leaves to count, with issues.

    delivery: None where no server or file could lose anything
    lost: completions, by excerpt
    """

    delivery: Delivery | None = None
    lost: Mapping[str, int] = field(default_factory=dict)
    answers: IndependentAnswers = field(default_factory=IndependentAnswers)
    issues: tuple[Issue, ...] = ()
