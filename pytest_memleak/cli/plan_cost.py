"""What a plan costs at most, as commands say it before they ask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_memleak.sampling.cost_plan import Plan


def cost_rounded_up_to_cents(plan: Plan) -> float | None:
    """Return the plan's cost in US$, rounded up to cents; None without prices."""
    return None if plan.cost is None else math.ceil(plan.cost * 100) / 100


def most_cost_text(plan: Plan) -> str:
    """Return "at most US$1.76 (200 input tokens, ...)", or the tokens alone."""
    tokens = (
        f"{plan.prompt_tokens:,} input tokens, {plan.completion_tokens:,} output tokens"
    )
    cost = cost_rounded_up_to_cents(plan)
    return f"at most {tokens}" if cost is None else f"at most US${cost:,.2f} ({tokens})"
