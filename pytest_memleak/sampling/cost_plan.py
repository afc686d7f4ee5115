"""Cost plans: what a pair or a run costs, and its detection limit, before any call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.records import Issue
from pytest_memleak.records.measurement import PlannedRounds

if TYPE_CHECKING:
    from pytest_memleak.ledger.call_reservations import CallTerms
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.prompts import PairPrompts, PromptSpec


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
    seconds:         the time that its calls take, by earlier ones; None without any
    """

    what: str
    sampling: Plan | None = None
    training_tokens: int = 0
    training_cost: float | None = None
    hours: float = 0.0
    hours_cost: float | None = None
    rounds: PlannedRounds | None = None
    seconds: float | None = None

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
    """The steps of a run, each once, and what keeps others from being planned.

    if_lost: control calls, made only if servers lose completions
    without_probability: why suites that want probability measured don't get it
    """

    steps: tuple[PlannedStep, ...]
    obstacles: tuple[Issue, ...]
    if_lost: tuple[PlannedStep, ...] = ()
    without_probability: tuple[Issue, ...] = ()

    @property
    def cost(self) -> float:
        """The most that the steps with a price cost, in US$."""
        return sum(step.cost or 0.0 for step in self.steps)

    @property
    def seconds(self) -> float:
        """The time that calls take, of the steps whose endpoint has earlier ones."""
        return sum(step.seconds or 0.0 for step in self.steps)

    @property
    def untimed(self) -> tuple[str, ...]:
        """The names of the steps with calls whose endpoint has no earlier ones."""
        names = []
        for step in self.steps:
            if step.sampling and step.sampling.calls and step.seconds is None:
                names.append(step.what)
        return tuple(names)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The names of the steps without a price."""
        return tuple(step.what for step in self.steps if step.cost is None)


@dataclass(frozen=True, slots=True)
class DetectionRow:
    """What the suite would cost and detect with so many samples, from scratch.

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
class DetectionTable:
    """The rows of a suite, which limits can pass, and what keeps pairs from a plan.

    confidence: of detection limits and intervals
    """

    rows: tuple[DetectionRow, ...]
    confidence: float
    limits: tuple[str, ...]
    obstacles: tuple[str, ...]


def summed(steps: Sequence[PlannedStep], what: str) -> PlannedStep:
    """Add up several steps as one."""
    plans = [step.sampling for step in steps if step.sampling]
    costs = [step.cost for step in steps if step.cost is not None]
    cost = sum(costs) if len(costs) == len(steps) else None
    sampling = sum_of_plans(plans) if plans else None
    if sampling is not None:
        sampling = replace(sampling, cost=cost)
    return PlannedStep(
        what,
        sampling,
        training_tokens=sum(step.training_tokens for step in steps),
        hours=sum(step.hours for step in steps),
        hours_cost=cost,
    )


class PlannedOrdinals:
    """The generations that a run's plan has counted, so that none is counted twice.

    By book and excerpt, too: summaries that aren't written yet make equal prompts.
    """

    def __init__(self) -> None:
        self._ordinals: dict[tuple[str, ...], set[int]] = {}

    def new(
        self, endpoint_id: str, free: Mapping[PromptSpec, Sequence[int]]
    ) -> dict[PromptSpec, list[int]]:
        """Count the ordinals of an endpoint's prompts; return those that are new."""
        new: dict[PromptSpec, list[int]] = {}
        for prompt, ordinals in free.items():
            key = (endpoint_id, prompt.book_id, prompt.excerpt_id, *prompt.key)
            planned = self._ordinals.setdefault(key, set())
            if added := [ordinal for ordinal in ordinals if ordinal not in planned]:
                new[prompt] = added
                planned.update(added)
        return new


def plan(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    terms: CallTerms,
    counted: PlannedOrdinals | None = None,
) -> Plan:
    """Plan the calls that `sample_missing` would make now, without making any.

    endpoint_id: any name that the ledger doesn't have, before the endpoint exists
    counted: what the run's plan counts already
    """
    ledger.expire_leases()
    # Imported here: recorded answers need no database.
    from pytest_memleak.ledger.ledger_queries import find_missing_ordinals

    lacking = find_missing_ordinals(ledger, endpoint_id, prompts)
    free = lacking.free if counted is None else counted.new(endpoint_id, lacking.free)
    # A server that ignores `n` is sent, and bills, each prompt once per generation.
    prompt_tokens = 0
    completion_tokens = 0
    cost = 0
    for prompt, ordinals in free.items():
        times = len(ordinals)
        tokens_of_prompt = terms.prompt_tokens(prompt)
        highest_cost = terms.cost(tokens_of_prompt, prompt.max_tokens) or 0
        prompt_tokens += times * tokens_of_prompt
        completion_tokens += times * prompt.max_tokens
        cost += times * highest_cost
    per_call = terms.sampler.completions_per_call
    return Plan(
        pair=prompts.pair,
        calls=sum(math.ceil(len(ordinals) / per_call) for ordinals in free.values()),
        generations=sum(map(len, free.values())),
        pending=lacking.elsewhere + lacking.in_batches,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=None if terms.price is None else cost / 1e9,
    )


def sum_of_plans(plans: Sequence[Plan]) -> Plan:
    """Add up several plans of one pair."""
    costs = [each.cost for each in plans if each.cost is not None]
    return Plan(
        pair=plans[0].pair,
        calls=sum(each.calls for each in plans),
        generations=sum(each.generations for each in plans),
        pending=sum(each.pending for each in plans),
        prompt_tokens=sum(each.prompt_tokens for each in plans),
        completion_tokens=sum(each.completion_tokens for each in plans),
        cost=sum(costs) if len(costs) == len(plans) else None,
    )
