"""What a pair or a run will cost, and what it could see, before a call is made.

terms = Terms(provider, price=(3.75, 15.0))
plan(ledger, endpoint_id, questionnaire, terms)   -> Plan, without any call
draw(..., terms=terms, budget=20.0)               -> BudgetExceeded before US$ 20 are spent
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_memleak.ledger.call_reservations import Terms
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import missing
from pytest_memleak.ledger.prompts import Ask, PairPrompts, asks
from pytest_memleak.records.round_stats import PlannedRounds


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


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One thing that a run would do; costs in US$, None without a price.

    what:     the pair, or what of it: its greedy answers, its null, a book's summaries
    sampling: None where nothing has to be drawn through the ledger (recorded generations)
    training_tokens: of the fine-tune that is still to be made, 0 if none is
    hours:    that a model is to be deployed for at most, where that is what it is
    rounds:   of a pair's own answers: what so many will see
    """

    what: str
    sampling: Plan | None = None
    training_tokens: int = 0
    training_cost: float | None = None
    hours: float = 0.0
    hours_cost: float | None = None
    rounds: PlannedRounds | None = None

    @property
    def cost(self) -> float | None:
        """US$ at most for all of it."""
        if self.hours:
            return self.hours_cost
        if self.sampling is None or not (self.sampling.generations or self.training_tokens):
            return 0.0
        if self.sampling.cost is None:
            return None
        return self.sampling.cost + (self.training_cost or 0)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is planned, each thing once, and what must be mended before it can be."""

    steps: tuple[PlannedStep, ...]
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PowerRow:
    """What the suite does with so many samples of every pair, nothing of them drawn yet.

    detection: a passage that comes in more than this share of the answers to its prompt would be
               seen
    calls, generations: of all pairs, with their nulls, baselines and greedy answers
    cost:      US$ at most, fine-tuning included; None where a model has no price
    said:      whether these are the suite's own samples, or those for its `detect`
    """

    samples: int
    detection: float
    calls: int
    generations: int
    cost: float | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Power:
    """The rows of a suite, what its limits can hold, and what keeps pairs from being planned.

    confidence: of detection and intervals
    """

    rows: tuple[PowerRow, ...]
    confidence: float
    limits: tuple[str, ...]
    obstacles: tuple[str, ...]


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
