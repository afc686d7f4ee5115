"""What a run would still request and pay: its pairs' sampling plans, walked unasked."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.ledger_endpoint import LedgerEndpoint
from pytest_memleak.pipeline.limit_reachability import (
    planned_rounds,
    validate_limits_can_be_exceeded,
)
from pytest_memleak.pipeline.required_samples import Purpose, RequiredSamples
from pytest_memleak.pipeline.sampling_plan import (
    PromptStep,
    SamplingPlan,
    SummaryStep,
    TrainingStep,
)
from pytest_memleak.records import Issue
from pytest_memleak.records.number_format import amount
from pytest_memleak.sampling.cost_plan import (
    Plan,
    PlannedOrdinals,
    PlannedStep,
    RunPlan,
    sum_of_plans,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import BookSource, Model, Pair
    from pytest_memleak.records.measurement import PlannedRounds


def plan_run(
    pairs: Iterable[Pair],
    suite_of: Callable[[Pair], SuiteRun],
    *,
    samples: int | None = None,
) -> RunPlan:
    """Plan a run of these pairs; what several of them need is counted once.

    samples: replaces the suite's. A summary that isn't written yet counts as long as it
    may become.
    """
    planner = _RunPlanner(samples)
    chosen = [(pair, suite_of(pair)) for pair in pairs]
    names = {(pair.suite, pair.id) for pair, _ in chosen}
    shared: list[_Requirement] = []
    for pair, suite in chosen:
        for requirement in planner.requirements(pair, suite):
            if requirement.is_shared and requirement.name in names:
                shared.append(requirement)
            else:
                planner.add(requirement)
    # After the pairs themselves, which sample the same, nearly always nothing is left.
    for requirement in shared:
        planner.add_rest_of_shared(requirement)
    return RunPlan(
        tuple(planner.steps),
        tuple(_with_pairs(planner.pairs_by_obstacle)),
        tuple(planner.if_lost),
        tuple(_with_pairs(planner.pairs_without_probability)),
    )


_PairsByIssue = dict[Issue, dict[tuple[object, str], None]]


def _with_pairs(pairs_by_issue: _PairsByIssue) -> Iterator[Issue]:
    """Yield each issue once, whatever pairs it is of, such as a missing file."""
    for issue, pairs in pairs_by_issue.items():
        (_, place), *others = pairs
        if others:
            place += f" and {amount(len(others), 'more pair')}"
        yield issue.placed_in(place)


@dataclass(frozen=True, slots=True)
class _Requirement:
    """Samples that a pair of the run requires."""

    pair: Pair
    suite_run: SuiteRun
    plan: SamplingPlan
    required: RequiredSamples

    @property
    def name(self) -> tuple[object, str]:
        """The suite and the pair whose prompts they answer."""
        return self.required.pair.suite, self.required.pair.id

    @property
    def is_shared(self) -> bool:
        """Whether they are those of another pair."""
        return self.required.purpose in {Purpose.NULL, Purpose.BASELINE}

    @property
    def is_own(self) -> bool:
        return self.required.purpose is Purpose.OWN


class _RunPlanner:
    """Adds up the steps of a run's pairs.

    steps: the rows of the plan
    if_lost: control calls, which only losses call for
    pairs_by_obstacle: what can't be planned
    pairs_without_probability: why theirs can't be measured, which ends no plan
    """

    def __init__(self, samples: int | None) -> None:
        self.steps: list[PlannedStep] = []
        self.if_lost: list[PlannedStep] = []
        self.pairs_by_obstacle: _PairsByIssue = {}
        self.pairs_without_probability: _PairsByIssue = {}
        self._samples = samples
        self._counted = PlannedOrdinals()
        self._paces: dict[str, float | None] = {}  # seconds per call, by endpoint
        self._planned: set[tuple[object, ...]] = set()

    def requirements(self, pair: Pair, suite_run: SuiteRun) -> Iterator[_Requirement]:
        """Yield what the pair requires, by the plan that its run would walk."""
        plan = suite_run.plan_pair(pair, for_dry_run=True)
        for required in plan.required:
            yield _Requirement(
                pair, suite_run, plan, self._with_planned_samples(required)
            )

    def _with_planned_samples(self, required: RequiredSamples) -> RequiredSamples:
        is_greedy = required.purpose is Purpose.GREEDY
        is_extraction = required.pair.probe.kind == "extraction"
        if self._samples is None or is_greedy or is_extraction:
            return required
        sampling = replace(required.pair.sampling, samples=self._samples)
        return replace(required, pair=replace(required.pair, sampling=sampling))

    def add(self, requirement: _Requirement) -> None:
        """Add the rows of a requirement, or what keeps it from being planned."""
        try:
            self._add_rows(requirement)
        except MemleakError as error:
            issue = requirement.required.with_label(Issue.of_error("plan", error))
            issues = self.pairs_by_obstacle
            if requirement.required.purpose is Purpose.PROBABILITY:
                issues = self.pairs_without_probability
            pairs = issues.setdefault(issue, {})
            pairs[requirement.pair.suite, requirement.pair.id] = None

    def add_rest_of_shared(self, requirement: _Requirement) -> None:
        """Add what is left of a requirement whose own pair is planned already."""
        with contextlib.suppress(MemleakError):  # its own pair reports it
            self._add_rows(requirement)

    def _add_rows(self, requirement: _Requirement) -> None:
        required, suite = requirement.required, requirement.suite_run
        suite.validate_preregistration()
        training = None
        sampled: list[tuple[PromptStep, Plan]] = []
        for step in requirement.plan.foreseen_steps(required):
            match step:
                case SummaryStep():
                    self._add_summaries(step.book, suite)
                case TrainingStep():
                    training = self._training_tokens_and_cost(step.model, suite)
                case PromptStep(purpose=Purpose.CONTROL):
                    left = step.plan_missing_by_stage(self._counted)
                    if left.generations:
                        self.if_lost.append(PlannedStep(required.pair.id, left))
                case PromptStep():
                    sampled.append((step, step.plan_missing_by_stage(self._counted)))
        plans = [left for _, left in sampled]
        sampling = sum_of_plans(plans) if plans else None
        rounds = None
        if requirement.is_own:
            self._validate_requirement(requirement)
            rounds = _planned_rounds(required.pair)
        if self._has_row(requirement, sampling, training):
            tokens, cost = training or (0, None)
            name = _row_name(required)
            row = PlannedStep(
                name,
                sampling,
                tokens,
                cost,
                rounds=rounds,
                seconds=self._seconds_for_calls(sampled),
            )
            self.steps.append(row)
        if sampling is not None and sampling.generations:
            self._add_deployment(required.pair.model, suite)

    def _seconds_for_calls(
        self,
        sampled: Sequence[tuple[PromptStep, Plan]],
    ) -> float | None:
        """Return the time of planned calls; None where no earlier ones show it."""
        total = 0.0
        for step, left in sampled:
            if not left.calls:
                continue
            pace = self._seconds_per_call(step)
            if pace is None:
                return None
            total += pace * left.calls
        return total

    def _seconds_per_call(self, step: PromptStep) -> float | None:
        """Return the seconds of a call to the step's endpoint, read once."""
        from pytest_memleak.ledger.call_pace import seconds_per_call

        source = step.source
        if not isinstance(source, LedgerEndpoint):
            return None
        name = source.endpoint_id
        if name not in self._paces:
            self._paces[name] = seconds_per_call(source.ledger, name)
        return self._paces[name]

    def _validate_requirement(self, requirement: _Requirement) -> None:
        books = requirement.suite_run.books
        book = books.pair_book(requirement.pair, foreseen=True)
        validate_limits_can_be_exceeded(
            requirement.pair,
            book,
            requirement.suite_run.suite,
            requirement.suite_run.protected,
        )

    def _has_row(
        self,
        requirement: _Requirement,
        sampling: Plan | None,
        training: tuple[int, float | None] | None,
    ) -> bool:
        """Tell whether the requirement has a row of its own; each pair has one."""
        pair = requirement.required.pair
        is_first = self._is_first_time(pair.suite, pair.id, pair.sampling, pair.probe)
        if requirement.is_own or training is not None:
            return True
        return sampling is not None and (is_first or sampling.generations > 0)

    def _add_summaries(self, book: BookSource, suite_run: SuiteRun) -> None:
        if self._is_first_time(suite_run.suite.path, "summaries", book.id):
            lacking = suite_run.books.plan_missing_summaries(book, self._counted)
            if lacking is not None:
                self.steps.append(PlannedStep(lacking.pair, lacking))

    def _training_tokens_and_cost(
        self,
        model: Model,
        suite_run: SuiteRun,
    ) -> tuple[int, float | None] | None:
        """Return the tokens of the model's fine-tune and their cost, once."""
        if not self._is_first_time(suite_run.suite.path, "training", model.id):
            return None
        tokens = suite_run.endpoints.training_tokens(model)
        cost = None if model.price is None else tokens * model.price[2] / 1e6
        return tokens, cost

    def _add_deployment(self, model: Model, suite_run: SuiteRun) -> None:
        """Add the deployment that the model needs, unless it is active."""
        deployment = suite_run.endpoints.required_deployment(model, foreseen=True)
        if deployment is None:
            return
        if not self._is_first_time(suite_run.suite.path, "deployment", model.id):
            return
        from pytest_memleak.ledger.deployments import is_deployed

        if is_deployed(suite_run.resources.ledger, model.provider, deployment.digest):
            return
        price = model.price_per_hour
        step = PlannedStep(
            f"{model.id} (deployed for at most {deployment.hours:g} h)",
            hours=deployment.hours,
            hours_cost=None if price is None else deployment.hours * price,
        )
        self.steps.append(step)

    def _is_first_time(self, *what: object) -> bool:
        is_first = what not in self._planned
        self._planned.add(what)
        return is_first


def _planned_rounds(pair: Pair) -> PlannedRounds | None:
    """Return what the pair's samples detect; an extraction has no rounds."""
    return None if pair.probe.kind == "extraction" else planned_rounds(pair)


def _row_name(required: RequiredSamples) -> str:
    name = required.pair.id
    return name if required.purpose is Purpose.OWN else f"{name} ({required.purpose})"
