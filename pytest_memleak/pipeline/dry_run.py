"""What a run would still request, pay, and detect: from books, suites, and ledger alone."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError, MemleakError
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.pipeline.canaries import Canaries, canary_prompts
from pytest_memleak.pipeline.ledger_endpoint import call_terms, through_ledger
from pytest_memleak.pipeline.limit_reachability import (
    planned_rounds,
    validate_limit_reach,
)
from pytest_memleak.pipeline.required_samples import (
    Purpose,
    continuation_endpoint,
    pair_prompts,
    probed_book,
    required_samples,
)
from pytest_memleak.pipeline.sample_steps import USUAL_SAMPLES, power_row
from pytest_memleak.pipeline.sampled_generations import generation_request
from pytest_memleak.records.number_format import amount
from pytest_memleak.sampling.cost_plan import (
    Plan,
    PlannedStep,
    Power,
    PowerRow,
    RunPlan,
)
from pytest_memleak.scoring.bmc_interval import least_upper_end
from pytest_memleak.scoring.book_layout import measurable_words
from pytest_memleak.scoring.measure_table import BMC, BMC_EXCESS, CHANCE, with_needs
from pytest_memleak.verdict.prompt_overlap import instruction_issues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.pipeline.required_samples import RequiredSamples
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Book, BookSource, Pair
# The coverage that so many null books detect, as a multiple of chance (docs/method.md).
_SEEN = (
    (10, "about twice"),
    (4, "two to three times"),
    (3, "about three times"),
    (2, "about eight times"),
)


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
    chosen = tuple(pairs)
    return _Planner({(pair.suite, pair.id) for pair in chosen}, samples).plan(
        chosen, suite_of
    )


class _Planner:
    def __init__(self, chosen: set[tuple[object, str]], samples: int | None) -> None:
        self._chosen = chosen
        self._samples = samples
        self._planned: set[tuple[object, ...]] = set()

    def plan(
        self, pairs: Iterable[Pair], suite_of: Callable[[Pair], SuiteRun]
    ) -> RunPlan:
        steps: list[PlannedStep] = []
        obstacles: list[str] = []
        for pair in pairs:
            suite = suite_of(pair)
            for required in map(self._resized, required_samples(pair, suite.suite)):
                planned_there = (required.pair.suite, required.pair.id) in self._chosen
                if required.purpose is Purpose.NULL and planned_there:
                    continue
                try:
                    steps += self._steps(pair, required, suite)
                except MemleakError as error:
                    obstacles.append(f"{pair.id}: {required.describe(error.line)}")
        return RunPlan(tuple(steps), tuple(dict.fromkeys(obstacles)))

    def _resized(self, required: RequiredSamples) -> RequiredSamples:
        if self._samples is None or required.purpose is Purpose.GREEDY:
            return required
        sampling = replace(required.pair.sampling, samples=self._samples)
        return replace(required, pair=replace(required.pair, sampling=sampling))

    def _steps(
        self, pair: Pair, required: RequiredSamples, suite: SuiteRun
    ) -> Iterator[PlannedStep]:
        suite.validate_preregistration()
        model = required.pair.model
        for source in self._books_of(required.pair, suite):
            if self._first(pair.suite, "summaries", source.id):
                lacking = suite.books.outstanding_summaries(source)
                if lacking is not None:
                    yield PlannedStep(lacking.pair, lacking)
        opened = suite.endpoints.ready(model)
        tokens = cost = None
        if opened is None and self._first(pair.suite, "training", model.id):
            tokens = suite.endpoints.training_tokens(model)
            cost = model.price and tokens * model.price[2] / 1e6
        sampling = None
        if abilities_of(opened).recording is None:
            probed = required.pair
            if self._first(probed.suite, probed.id, probed.sampling, probed.probe):
                sampling = _sampling(required, suite, opened)
        if required.purpose is Purpose.OWN:
            validate_limit_reach(
                pair, _book_of(pair, suite), suite.suite, suite.protected
            )
        if sampling or tokens or required.purpose is Purpose.OWN:
            own = required.purpose is Purpose.OWN
            rounds = planned_rounds(required.pair) if own else None
            yield PlannedStep(
                _named(required), sampling, tokens or 0, cost, rounds=rounds
            )
        if sampling is not None and sampling.generations:
            yield from self._deployment(required.pair, suite)

    def _deployment(self, pair: Pair, suite: SuiteRun) -> Iterator[PlannedStep]:
        """Yield the deployment that the model needs, unless it is active."""
        model = pair.model
        deployment = suite.endpoints.deployment_of(model, foreseen=True)
        if deployment is None or not self._first(pair.suite, "deployment", model.id):
            return
        from pytest_memleak.ledger.deployments import deployed

        if not deployed(suite.resources.ledger, model.provider, deployment.digest):
            price = model.price_per_hour
            yield PlannedStep(
                f"{model.id} (deployed for at most {deployment.hours:g} h)",
                hours=deployment.hours,
                hours_cost=None if price is None else deployment.hours * price,
            )

    def _books_of(self, pair: Pair, suite: SuiteRun) -> list[BookSource]:
        """Return the books whose summaries the samples need."""
        trained = [suite.suite.book(book_id) for book_id in pair.model.finetune_books]
        return [pair.book, *trained] if pair.probe.kind == "instruction" else trained

    def _first(self, *what: object) -> bool:
        first = what not in self._planned
        self._planned.add(what)
        return first


def _named(required: RequiredSamples) -> str:
    name = required.pair.id
    return name if required.purpose is Purpose.OWN else f"{name} ({required.purpose})"


def _sampling(
    required: RequiredSamples, suite: SuiteRun, opened: Endpoint | None
) -> Plan:
    from pytest_memleak.sampling.cost_plan import in_all, plan

    pair = required.pair
    book = _book_of(pair, suite)
    if pair.probe.kind == "instruction":
        bad = instruction_issues(book, generation_request(required))
        # Summaries that are still to be written can't be judged yet.
        if bad and suite.books.outstanding_summaries(pair.book) is None:
            raise BookError(bad[0].cause, location=f"book {book.id!r}", hint=bad[0].fix)
    probed = probed_book(pair, book, opened)
    prompts = pair_prompts(pair, probed)
    if opened is None:
        first = canary_prompts(pair, probed, 1)
        every = (prompts, first) if required.purpose is Purpose.OWN else (prompts,)
        terms = call_terms(pair.model, suite.endpoints, own=False)
        return in_all(
            [plan(suite.resources.ledger, None, prompts, terms) for prompts in every]
        )
    source = through_ledger(
        pair.model,
        suite.endpoints,
        continuation_endpoint(pair, opened) or opened,
        own=False,
    )
    if required.purpose in {Purpose.OWN, Purpose.GREEDY}:
        source = source.current_series(pair, prompts, may_sample=True)
    if required.purpose is not Purpose.OWN:
        return source.left(prompts)
    canaries = Canaries(source.ledger, source.endpoint_id, pair, probed)
    few = canaries.to_request(prompts, is_name=source.is_name(pair))
    return in_all([source.left(each) for each in (prompts, few) if each is not None])


def _book_of(pair: Pair, suite: SuiteRun) -> Book:
    if pair.probe.kind == "instruction":
        return suite.books.foreseen(pair.book)
    return suite.books.cut(pair.book)


def suite_power(suite: SuiteRun) -> Power:
    """Return what the suite can detect, for usual numbers of samples and for its own.

    Its resources should be offline, with an empty ledger.
    """
    pairs = suite.suite.pairs
    notes, confidence = _suite_notes(pairs), planned_rounds(pairs[0]).confidence
    rows: list[PowerRow] = []
    obstacles: dict[str, None] = {}
    for samples in sorted({*USUAL_SAMPLES, *notes}):
        planned = plan_run(pairs, lambda _: suite, samples=samples)
        obstacles |= dict.fromkeys(planned.obstacles)
        rows.append(power_row(planned, pairs[0], samples, notes.get(samples, "")))
    return Power(
        tuple(rows), confidence, tuple(_of_limits(pairs, suite)), tuple(obstacles)
    )


def _suite_notes(pairs: Iterable[Pair]) -> dict[int, str]:
    """Return the numbers of samples that the suite itself names, and why."""
    notes: dict[int, list[str]] = {}
    for pair in pairs:
        planned = planned_rounds(pair)
        notes.setdefault(planned.samples, []).append("this suite's samples")
        if planned.needed is not None:
            notes.setdefault(planned.needed, []).append(
                f"detection_limit {planned.detection_limit:g} at 10% withheld"
            )
    return {
        samples: ", ".join(dict.fromkeys(texts)) for samples, texts in notes.items()
    }


def _of_limits(pairs: Iterable[Pair], suite: SuiteRun) -> Iterator[str]:
    """Yield which limits of gating pairs can pass, whatever is sampled."""
    gating = [pair for pair in pairs if pair.gates]
    within = {
        limit: least
        for (limit, _), least in _least_bmc(gating, suite)
        if least <= limit
    }
    for limit, least in within.items():
        yield f"bmc limit {limit:g} can pass: with no recall, the upper bound of bmc is {least:.2g}"
    yield from limits_out_of_reach(pairs, suite)
    yield from _of_excess(
        [pair for pair in gating if with_needs(pair.limits, CHANCE)], suite
    )


def limits_out_of_reach(pairs: Iterable[Pair], suite: SuiteRun) -> Iterator[str]:
    """Yield the limits of gating pairs that a book is too short to pass."""
    for (limit, book), least in _least_bmc(
        [pair for pair in pairs if pair.gates], suite
    ):
        if least > limit:
            yield (
                f"bmc limit {limit:g} can't pass for {book}, which is too short: with "
                "no recall, "
                f"the upper bound of bmc is {least:.2g}; test more of the book, or "
                "raise the limit"
            )


def _least_bmc(
    pairs: Iterable[Pair], suite: SuiteRun
) -> list[tuple[tuple[float, str], float]]:
    """Return the upper bound without recall, by limit of bmc and book; the highest last."""
    least: dict[tuple[float, str], float] = {}
    for pair in pairs:
        if BMC.name in pair.limits and pair.confidence:
            with contextlib.suppress(MemleakError):  # the plan reports it
                words = measurable_words(suite.books.cut(pair.book), pair.scoring)
                least[pair.limits[BMC.name], pair.book.id] = least_upper_end(
                    words, scoring=pair.scoring, confidence=pair.confidence
                )
    return sorted(least.items(), key=lambda entry: entry[1])


def _of_excess(pairs: Iterable[Pair], suite: SuiteRun) -> Iterator[str]:
    by_nulls: dict[int, list[str]] = {}
    for pair in pairs:
        nulls = sum(
            required.purpose is Purpose.NULL
            for required in required_samples(pair, suite.suite)
        )
        by_nulls.setdefault(nulls, []).append(pair.id)
    for nulls, names in by_nulls.items():
        limit = BMC_EXCESS.name + (
            f" of {', '.join(names)}" if len(by_nulls) > 1 else ""
        )
        books = amount(nulls, "null book")
        if seen := next((many for least, many in _SEEN if nulls >= least), None):
            yield f"{limit}: {books} can detect coverage of {seen} the chance level"
        else:
            yield (
                f"{limit}: no interval and no p-value from {books}; add negative "
                "controls until "
                "the suite has two"
            )
