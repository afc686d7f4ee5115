"""Cost plans: what a pair or a run costs, and its detection limit, before any call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_memleak.ledger.call_reservations import CallTerms
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import missing
from pytest_memleak.ledger.prompts import PairPrompts, asks
from pytest_memleak.records.measurement import PlannedRounds


@dataclass(frozen=True, slots=True)
class Plan:
    """The outstanding work for a pair.

    calls, generations: outstanding
    pending:            generations that open calls or batches will bring
    prompt_tokens:      estimated, for each generation by its own call
    completion_tokens:  at most
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
    """One step of a run; costs in US$, None without a price.

    what:            the pair, or a part of it: its greedy generations, its null,
                     a book's summaries
    sampling:        None if nothing is sampled through the ledger (recordings)
    training_tokens: of the outstanding fine-tune, 0 without one
    hours:           the most hours of a deployment
    rounds:          the detection limit of a pair's own samples
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
        """The most that the step costs, in US$."""
        if self.hours:
            return self.hours_cost
        if self.sampling is None:
            return 0.0
        if not self.sampling.generations and not self.training_tokens:
            return 0.0
        if self.sampling.cost is None:
            return None
        return self.sampling.cost + (self.training_cost or 0)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The steps of a run, each once, and the problems that prevent a plan."""

    steps: tuple[PlannedStep, ...]
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PowerRow:
    """The cost and detection limit of a suite with so many samples, from scratch.

    detection:   the detection limit: a passage generated more often appears
    calls:       of all pairs, with their nulls, baselines, and greedy generations
    generations: of the same
    cost:        US$ at most, fine-tuning included; None if a model has no price
    note:        whether these are the suite's samples, or those for `detection_limit`
    """

    samples: int
    detection: float
    calls: int
    generations: int
    cost: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Power:
    """The rows of a suite, the limits that can pass, and what prevents a plan.

    confidence: of detection limits and intervals
    """

    rows: tuple[PowerRow, ...]
    confidence: float
    limits: tuple[str, ...]
    obstacles: tuple[str, ...]


def plan(
    ledger: Ledger,
    endpoint_id: str | None,
    prompts: PairPrompts,
    terms: CallTerms,
) -> Plan:
    """Plan the calls that `sample_missing` would make now, without making any.

    `endpoint_id` is None before the endpoint exists (before its fine-tune).
    """
    pending = 0
    if endpoint_id is None:
        all_ordinals = list(range(prompts.samples))
        free = dict.fromkeys(prompts.questions, all_ordinals)
    else:
        ledger.expire_leases()
        lacking = missing(ledger, endpoint_id, prompts)
        free = lacking.free
        pending = lacking.elsewhere + lacking.in_batches
    # A server that ignores `n` is sent, and bills, each prompt once per generation.
    prompt_tokens = 0
    completion_tokens = 0
    cost = 0
    for question, ordinals in free.items():
        times = len(ordinals)
        tokens_of_prompt = terms.prompt_tokens(question)
        highest_cost = terms.cost(tokens_of_prompt, question.max_tokens) or 0
        prompt_tokens += times * tokens_of_prompt
        completion_tokens += times * question.max_tokens
        cost += times * highest_cost
    planned_asks = list(asks(free, terms.sampler.completions_per_call))
    return Plan(
        pair=prompts.pair,
        calls=len(planned_asks),
        generations=sum(map(len, free.values())),
        pending=pending,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=None if terms.price is None else cost / 1e9,
    )


def in_all(plans: Sequence[Plan]) -> Plan:
    """Add up several plans of one pair."""
    costs = [pair_plan.cost for pair_plan in plans if pair_plan.cost is not None]
    has_all_costs = len(costs) == len(plans)
    cost = sum(costs) if has_all_costs else None
    return Plan(
        pair=plans[0].pair,
        calls=sum(pair_plan.calls for pair_plan in plans),
        generations=sum(pair_plan.generations for pair_plan in plans),
        pending=sum(pair_plan.pending for pair_plan in plans),
        prompt_tokens=sum(pair_plan.prompt_tokens for pair_plan in plans),
        completion_tokens=sum(pair_plan.completion_tokens for pair_plan in plans),
        cost=cost,
    )
