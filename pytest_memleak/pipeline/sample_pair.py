"""The sampling of a pair: its plan is walked, and what the ledger lacks is sampled.

    sample_pair(plan) -> the pair's sampled, greedy, canary, and unrequested generations

All that a pair's model wrote counts (docs/method.md). Null books' generations belong to
other pairs, and a baseline's to another model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from typing import TYPE_CHECKING

from pytest_memleak.errors import Inconclusive
from pytest_memleak.pipeline.canaries import canary_book
from pytest_memleak.pipeline.other_attempts import (
    requests_of_other_pairs,
    samples_of_other_attempts,
)
from pytest_memleak.pipeline.required_samples import Purpose, RequiredSamples
from pytest_memleak.pipeline.sample_readers import (
    FurtherSamples,
    LedgerSamples,
    NoSamples,
    RecordedSamples,
)
from pytest_memleak.pipeline.sampling_plan import (
    LedgerPart,
    MissingPart,
    PlanMode,
    RecordedPart,
    SamplingPlan,
)
from pytest_memleak.records import Book, Generation, Issue
from pytest_memleak.records.number_format import amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.pipeline.extraction_conversation import Conversation
    from pytest_memleak.pipeline.ledger_endpoint import LedgerEndpoint
    from pytest_memleak.pipeline.sample_readers import SampledGenerations, StopRule
    from pytest_memleak.pipeline.sampling_plan import PromptStep
    from pytest_memleak.sampling.cost_plan import Plan

    Enough = Callable[[LedgerSamples], bool]


def sample_pair(
    plan: SamplingPlan,
    *,
    stop: StopRule | None = None,
    until: float | None = None,
) -> tuple[SampledGenerations, ...]:
    """Sample what the ledger lacks of all that the pair's model should write.

    Returns the pair's own samples first, then everything else that its model wrote.

    stop: tells whether the samples after some rounds are enough
    until: a time after the run's, up to which further generations count
    """
    greedy = [
        sample_requirement(required, plan)
        for required in plan.required
        if required.purpose is Purpose.GREEDY
    ]

    def together(own: SampledGenerations) -> tuple[SampledGenerations, ...]:
        further = _further_samples(own, greedy, until)
        return own, *greedy, *further, *samples_of_other_attempts(own, greedy, until)

    def enough(own: LedgerSamples) -> bool:
        return stop is not None and stop(together(own))

    return together(sample_requirement(plan.own, plan, enough=enough))


def sample_requirement(
    required: RequiredSamples,
    plan: SamplingPlan,
    *,
    enough: Enough | None = None,
) -> SampledGenerations:
    """Sample what the ledger lacks of a requirement; return everything there is.

    Failures become issues. Raises MemleakError for an unusable book.

    enough: tells after some rounds whether an early stop is due, where the plan has one
    """
    part = plan.prepare_part(required)
    match part:
        case LedgerPart():
            return _sample_part(part, plan, enough)
        case RecordedPart(required, book, recording):
            book = recording.with_instructions(book)
            return RecordedSamples(
                required=required,
                book=book,
                recording=recording,
            )
        case MissingPart(required, book, issues):
            return NoSamples(
                required=required,
                book=book,
                issues=issues,
            )
        case _:
            raise AssertionError(f"only a dry run plans a {type(part).__name__}")


def _sample_part(
    part: LedgerPart,
    plan: SamplingPlan,
    enough: Enough | None,
) -> LedgerSamples:
    """Walk the steps: sample each, unless they are only read or a call has failed."""
    source = part.source
    issues = list(part.issues)
    walked: list[PairPrompts] = []
    spared: str | None = None
    asks = part.mode is PlanMode.SAMPLING
    find_requests = cache(partial(requests_of_other_pairs, part, plan))
    conversation: Conversation | None = None

    def samples_so_far() -> LedgerSamples:
        book = part.book
        if conversation is not None:
            book = replace(book, prompts=conversation.book_prompts)
        return LedgerSamples(
            required=part.required,
            book=book,
            source=source,
            prompts=_join_prompts(walked),
            until=source.resources.evaluation_time,
            issues=tuple(issues),
            spared=spared,
            conversation=conversation,
            find_requests=find_requests,
        )

    for step in part.steps():
        conversation = step.conversation or conversation
        is_canary = step.purpose is Purpose.CANARY
        if not is_canary and step.purpose is not Purpose.CONTROL:
            walked.append(step.prompts)
        if not asks:
            continue
        try:
            if enough is not None and step.may_stop_after_rounds:
                spared = _sample_in_stages(
                    source, step, lambda: enough(samples_so_far())
                )
            else:
                source.sample_missing(step.prompts, one_by_one=is_canary)
            if is_canary:
                source = source.with_other_model_notice(
                    step.prompts, part.required.pair
                )
        except Inconclusive as error:
            issues.append(part.required.with_label(Issue.of_error("sampled", error)))
            asks = False
    return samples_so_far()


def _join_prompts(walked: Sequence[PairPrompts]) -> PairPrompts:
    """Join prompts that request the same number of samples."""
    first = walked[0]
    if any(prompts.samples != first.samples for prompts in walked):
        raise AssertionError("prompts to join request different numbers of samples")
    specs = chain.from_iterable(prompts.specs for prompts in walked)
    return replace(first, specs=tuple(specs))


def _sample_in_stages(
    source: LedgerEndpoint,
    step: PromptStep,
    is_enough: Callable[[], bool],
) -> str | None:
    """Sample rounds until they are enough; return what that spared, if anything."""
    for rounds in step.may_stop_after_rounds:
        source.sample_missing(replace(step.prompts, samples=rounds))
        if is_enough():
            left = source.plan_missing(step.prompts)
            return _spared_calls_text(left, rounds, requested=step.prompts.samples)
    source.sample_missing(step.prompts)
    return None


def _spared_calls_text(
    left: Plan,
    samples: int,
    *,
    requested: int,
) -> str:
    cost = "" if left.cost is None else f" (at most US${left.cost:,.2f})"
    calls = amount(left.calls, "call")
    generations = amount(left.generations, "generation")
    return (
        f"stopped after {samples} of {requested} rounds, since a limit is exceeded; "
        f"this saved {calls} for {generations}{cost}"
    )


def _further_samples(
    own: SampledGenerations,
    greedy: Sequence[SampledGenerations],
    until: float | None,
) -> Iterator[FurtherSamples]:
    """Yield the canaries and the unrequested generations, if any."""
    if isinstance(own, LedgerSamples):
        until = until or own.until
        canaries = own.canaries.stored_generations(until)
        if canaries:
            book = canary_book(own.book)
            rounds = canaries[-1].ordinal + 1
            yield _build_further_samples(
                own, Purpose.CANARY, book, lambda: canaries, rounds=rounds
            )

    def unrequested() -> Iterator[Generation]:
        return _renumber_by_excerpt(_unrequested_generations((own, *greedy), until))

    if any(True for _ in unrequested()):
        yield _build_further_samples(
            own, Purpose.UNREQUESTED, own.book, unrequested, rounds=0
        )


def _renumber_by_excerpt(generations: Iterable[Generation]) -> Iterator[Generation]:
    """Number the generations of each excerpt from 0."""
    numbers: Counter[str] = Counter()
    for generation in generations:
        yield replace(generation, ordinal=numbers[generation.excerpt_id])
        numbers[generation.excerpt_id] += 1


def _unrequested_generations(
    parts: Iterable[SampledGenerations],
    until: float | None,
) -> Iterator[Generation]:
    """Yield generations beyond the requested rounds: late, more, or unasked."""
    for part in parts:
        match part:
            case LedgerSamples() if until is not None:
                yield from _unrequested_in_ledger(part, until)
            case RecordedSamples():
                samples = part.required.pair.sampling.samples
                for generation in part.requested_and_surplus():
                    if generation.ordinal >= samples:
                        yield generation


def _unrequested_in_ledger(part: LedgerSamples, until: float) -> Iterator[Generation]:
    # Imported here: recorded answers need no database.
    from pytest_memleak.ledger.book_attempts import prompts_with_most_rounds
    from pytest_memleak.ledger.ledger_queries import surplus_generations

    ledger, endpoint_id = part.source.ledger, part.source.endpoint_id
    if not any(
        True
        for _ in surplus_generations(ledger, endpoint_id, part.prompts, until=until)
    ):
        return
    for prompts in prompts_with_most_rounds(
        endpoint_id, part.prompts, part.find_requests()
    ):
        yield from surplus_generations(ledger, endpoint_id, prompts, until=until)


def _build_further_samples(
    own: SampledGenerations,
    purpose: Purpose,
    book: Book,
    read: Callable[[], Iterable[Generation]],
    *,
    rounds: int,
) -> FurtherSamples:
    sampling = replace(own.required.pair.sampling, samples=rounds)
    pair = replace(own.required.pair, sampling=sampling)
    required = RequiredSamples(purpose, pair, own.required.endpoint)
    return FurtherSamples(
        required=required,
        book=book,
        read=read,
        named=own.endpoint_id,
    )
