"""Completions that were requested of a server, and those that it lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Delivery:
    """Requested and lost completions of a pair (docs/method.md).

    requested: completions requested, lost ones among them
    lost: those that the server never delivered, or delivered empty
    missing_choices: of these, choices that an answer lacked
    p_uneven: probability that chance gives one excerpt so many of the lost ones
    control_requested, control_lost: the same for control calls, where any were due
    p_control: probability that control calls lose so few by chance; None without any
    """

    requested: int
    lost: int
    missing_choices: int
    p_uneven: float
    control_requested: int = 0
    control_lost: int = 0
    p_control: float | None = None


@dataclass(frozen=True, slots=True)
class IndependentAnswers:
    """The answers per excerpt that may differ, without withheld ones.

    counts: answers or calls, by excerpt
    are_calls: whether they are calls, since one returned several completions
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    are_calls: bool = False
