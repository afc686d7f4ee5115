"""What a pair will cost, before a call is made.

terms = Terms(provider, price=(3.75, 15.0))
plan(ledger, endpoint_id, questionnaire, terms)   -> Plan, without any call
draw(..., terms=terms, budget=20.0)               -> BudgetExceeded before US$ 20 are spent
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_memleak.ledger.call_costs import Terms
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import missing
from pytest_memleak.ledger.prompts import Ask, PairPrompts, asks

__all__ = ["Plan", "in_all", "plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is still to be done for a pair.

    calls, generations: outstanding; pending: generations that open calls or batches will bring
    prompt_tokens, completion_tokens: estimated, and at most
    cost:               US$ at most; None without a price
    """

    pair: str
    calls: int
    generations: int
    pending: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def plan(ledger: Ledger, endpoint_id: str | None, questionnaire: PairPrompts, terms: Terms) -> Plan:
    """The calls that `draw` would make now, without making any.

    `endpoint_id` is None where there is no endpoint yet (it has to be fine-tuned first).
    """
    pending = 0
    if endpoint_id is None:
        free = {one: list(range(questionnaire.samples)) for one in questionnaire.questions}
    else:
        ledger.expire_leases()
        lacking = missing(ledger, endpoint_id, questionnaire)
        free, pending = lacking.free, lacking.elsewhere + lacking.in_batches
    calls = list(asks(free, terms.sampler.completions_per_call))
    prompt_tokens, completion_tokens = _tokens(calls, terms)
    costs = [terms.estimate(ask) or 0 for ask in calls]
    return Plan(
        pair=questionnaire.pair,
        calls=len(calls),
        generations=sum(map(len, free.values())),
        pending=pending,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=None if terms.price is None else sum(costs) / 1e9,
    )


def in_all(plans: Sequence[Plan]) -> Plan:
    """Several plans of one pair as one."""
    costs = [one.cost for one in plans if one.cost is not None]
    return Plan(
        pair=plans[0].pair,
        calls=sum(one.calls for one in plans),
        generations=sum(one.generations for one in plans),
        pending=sum(one.pending for one in plans),
        prompt_tokens=sum(one.prompt_tokens for one in plans),
        completion_tokens=sum(one.completion_tokens for one in plans),
        cost=sum(costs) if len(costs) == len(plans) else None,
    )


def _tokens(calls: Iterable[Ask], terms: Terms) -> tuple[int, int]:
    prompt_tokens = completion_tokens = 0
    for ask in calls:
        prompt_tokens += terms.prompt_tokens(ask.question)
        completion_tokens += len(ask.ordinals) * ask.question.max_tokens
    return prompt_tokens, completion_tokens
