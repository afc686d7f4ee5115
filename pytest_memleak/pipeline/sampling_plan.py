"""What a pair's verdict takes, as one plan of steps: the sampling story, told once.

    plan = plan_pair(pair, suite, endpoints)    its required samples, its own first
    plan.foreseen_steps(required)               all that one requirement may cost
    part = plan.prepare_part(required)          its book and endpoint, if there are any
    part.steps()                                the prompts to sample, in order

A dry run takes the steps in DRY_RUN mode and adds up what the ledger lacks. A run walks
them SAMPLING: it samples each step before the next, which may depend on the answers.
Offline, and for `memleak verify`, a run walks them READING: they are what it reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError, Inconclusive
from pytest_memleak.interfaces.abilities import Recording, abilities_of
from pytest_memleak.interfaces.protocols import OWN_PROVIDER
from pytest_memleak.pipeline.canaries import canary_prompts
from pytest_memleak.pipeline.extraction_conversation import (
    Conversation,
    ConversationStyle,
)
from pytest_memleak.pipeline.foreseen_turns import longest_further_prompts
from pytest_memleak.pipeline.generation_request import unusable_instruction_issues
from pytest_memleak.pipeline.ledger_endpoint import (
    FutureEndpoint,
    LedgerEndpoint,
    build_ledger_endpoint,
)
from pytest_memleak.pipeline.logprob_endpoint import LogprobEndpoint
from pytest_memleak.pipeline.prompted_book import (
    book_for_probe,
    continuation_endpoint,
    conversation_style,
    pair_prompts,
)
from pytest_memleak.pipeline.required_samples import (
    Purpose,
    RequiredSamples,
    required_samples,
)
from pytest_memleak.pipeline.sampling_stages import stages_before
from pytest_memleak.pipeline.window_logprobs import WindowLogprobs
from pytest_memleak.pipeline.window_texts import WindowTexts
from pytest_memleak.records import Book, BookSource, Issue, Model
from pytest_memleak.sampling.cost_plan import sum_of_plans
from pytest_memleak.scoring.control_call_count import (
    control_calls_due,
    most_control_calls,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.pipeline.canaries import Canaries
    from pytest_memleak.pipeline.endpoints import Endpoints
    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.sampling.cost_plan import Plan, PlannedOrdinals

# A baseline and null books are sampled once, whatever the age of their samples.
_IN_SERIES = {Purpose.OWN, Purpose.GREEDY}


class PlanMode(StrEnum):
    """How a plan's steps are taken."""

    DRY_RUN = "dry run"
    """No call; what isn't there yet is as long as it may become."""
    SAMPLING = "sampling"
    """Each step is sampled before the next is taken."""
    READING = "reading"
    """No call; only what the ledger holds counts."""


@dataclass(frozen=True, slots=True)
class SummaryStep:
    """The summaries that a book's instructions lack."""

    book: BookSource


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A fine-tune that isn't finished."""

    model: Model


@dataclass(frozen=True, slots=True)
class PromptStep:
    """Prompts that are sampled together.

    purpose: of their generations
    prompts: with all their rounds, also those that the ledger holds
    may_stop_after_rounds: numbers of rounds after which the run may stop early
    may_be_left_out: whether a run may leave some of it out
    conversation: that an extraction's step is a turn of
    """

    purpose: Purpose
    source: LedgerEndpoint | FutureEndpoint
    prompts: PairPrompts
    may_stop_after_rounds: tuple[int, ...] = ()
    may_be_left_out: bool = False
    conversation: Conversation | None = None

    def plan_missing_by_stage(self, counted: PlannedOrdinals) -> Plan:
        """Plan what the ledger lacks, stage by stage, without what is `counted`.

        Each stage counts only what the stage before didn't. What is pending is never
        counted off, so the last stage has all of it.
        """
        plans = [
            self.source.plan_missing(replace(self.prompts, samples=rounds), counted)
            for rounds in (*self.may_stop_after_rounds, self.prompts.samples)
        ]
        return replace(sum_of_plans(plans), pending=plans[-1].pending)


Step = SummaryStep | TrainingStep | PromptStep


@dataclass(frozen=True, slots=True)
class _SampledPart(ABC):
    """A requirement with prompts to sample.

    book: as it is prompted for and measured
    source: its endpoint
    """

    required: RequiredSamples
    book: Book
    source: LedgerEndpoint | FutureEndpoint
    prompts: PairPrompts

    def steps(self) -> Iterator[PromptStep]:
        """Yield the steps; each follows from the answers to those before it.

        A pair's own rounds are between canaries, and control calls come last.
        """
        if self.required.purpose is not Purpose.OWN:
            yield from self._round_steps()
            return
        before = self._canaries_before()
        if before is not None:
            yield PromptStep(Purpose.CANARY, self.source, before)
        yield from self._round_steps()
        after = self._canaries_after(before)
        if after is not None:
            yield PromptStep(Purpose.CANARY, self.source, after, may_be_left_out=True)
        controls = self._control_calls()
        if controls is not None:
            yield PromptStep(
                Purpose.CONTROL, self.source, controls, may_be_left_out=True
            )

    def _round_steps(self) -> Iterator[PromptStep]:
        """Yield the steps of the requirement's rounds."""
        yield _step_with_stages(self.required, self.source, self.prompts)

    @abstractmethod
    def _canaries_before(self) -> PairPrompts | None:
        """Return the round that shows which weights answer."""

    @abstractmethod
    def _canaries_after(self, before: PairPrompts | None) -> PairPrompts | None:
        """Return a further round, if none follows the reused samples."""

    @abstractmethod
    def _control_calls(self) -> PairPrompts | None:
        """Return the control calls due for losses; in a dry run, the most of them."""


@dataclass(frozen=True, slots=True)
class LedgerPart(_SampledPart):
    """A requirement that is sampled through the ledger.

    source: its endpoint, in the current series
    mode: READING for instructions that can't earn a pass
    issues: why it is only read
    """

    source: LedgerEndpoint
    mode: PlanMode
    issues: tuple[Issue, ...] = ()

    def _canaries_before(self) -> PairPrompts | None:
        """Return the round that shows which weights answer; reading, all stored."""
        if self.mode is PlanMode.READING:
            return self._canaries.prompts_of_stored_rounds()
        return self._canaries.to_request(
            self.prompts,
            only_name_identifies_weights=self._only_name_identifies_weights,
        )

    def _canaries_after(self, before: PairPrompts | None) -> PairPrompts | None:
        canaries = self._canaries
        by_name = self._only_name_identifies_weights
        match self.mode:
            case PlanMode.READING:
                return None
            case PlanMode.SAMPLING:
                return canaries.to_request(
                    self.prompts,
                    only_name_identifies_weights=by_name,
                    after_sampling=True,
                )
            case PlanMode.DRY_RUN:
                return canaries.most_after_sampling(
                    self.prompts, before, only_name_identifies_weights=by_name
                )

    def _control_calls(self) -> PairPrompts | None:
        source = self.source
        if abilities_of(source.endpoint).samples_each:
            return None
        if self.mode is PlanMode.DRY_RUN:
            due = most_control_calls(self.prompts.requested)
        else:
            due = self._control_completions_due()
        return source.control_prompts(self.required.pair, due) if due else None

    def _control_completions_due(self) -> int:
        """Return the control completions that the losses so far call for."""
        from pytest_memleak.ledger.delivered_and_lost import count_delivered_and_lost

        source = self.source
        counted = count_delivered_and_lost(
            source.ledger,
            source.endpoint_id,
            self.prompts,
            until=source.resources.evaluation_time,
        )
        return control_calls_due(counted.all_requested, counted.all_lost)

    @property
    def _canaries(self) -> Canaries:
        return self.source.canaries(self.required.pair, self.book)

    @property
    def _only_name_identifies_weights(self) -> bool:
        return self.source.only_name_identifies_weights(self.required.pair)


@dataclass(frozen=True, slots=True)
class ConversationPart(LedgerPart):
    """An extraction: each prompt follows from the answers before it.

    prompts: its openings
    style: how its endpoint holds a conversation
    """

    style: ConversationStyle = field(kw_only=True)

    def _round_steps(self) -> Iterator[PromptStep]:
        pair = self.required.pair
        conversation = Conversation(
            self.book,
            self.style,
            turns=pair.probe.turns,
            seed=pair.sampling.seed or 0,
        )
        while (prompt := conversation.next_prompt()) is not None:
            asked = pair_prompts(pair, replace(self.book, prompts=(prompt,)))
            yield PromptStep(
                self.required.purpose,
                self.source,
                asked,
                conversation=conversation,
            )
            answer = next(iter(self.source.generations(asked)), None)
            if answer is None:
                break
            conversation.add_answer(answer)
        if conversation.ended or self.mode is not PlanMode.DRY_RUN:
            return
        left = longest_further_prompts(pair, self.book, self.style, conversation)
        if left.specs:
            yield PromptStep(
                self.required.purpose, self.source, left, may_be_left_out=True
            )

    def requested_prompts(self) -> Iterator[PairPrompts]:
        """Yield the openings, and the turns that the ledger shows to be requested."""
        yield self.prompts
        for step in self._round_steps():
            if not step.may_be_left_out:
                yield step.prompts


@dataclass(frozen=True, slots=True)
class FuturePart(_SampledPart):
    """A requirement whose endpoint doesn't exist before its fine-tune."""

    source: FutureEndpoint

    def _canaries_before(self) -> PairPrompts:
        """Return the first round of a new endpoint."""
        return canary_prompts(self.required.pair, self.book, 1)

    def _canaries_after(self, before: PairPrompts | None) -> None:  # noqa: ARG002 - nothing is reused
        return None

    def _control_calls(self) -> PairPrompts | None:
        due = most_control_calls(self.prompts.requested)
        pair = self.required.pair
        return self.source.controls.prompts(pair, due) if due else None


def _step_with_stages(
    required: RequiredSamples,
    source: LedgerEndpoint | FutureEndpoint,
    prompts: PairPrompts,
) -> PromptStep:
    """Return the step of a requirement's rounds, which may stop early."""
    stop_on_fail = required.pair.sampling.stop_on_fail
    may_stop = stop_on_fail and required.purpose is Purpose.OWN
    stops: tuple[int, ...] = ()
    if may_stop and not source.terms.sampler.batch:
        stops = stages_before(prompts.samples)
    return PromptStep(
        required.purpose,
        source,
        prompts,
        stops,
        may_be_left_out=bool(stops),
    )


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """A requirement whose generations were recorded: nothing is sampled."""

    required: RequiredSamples
    book: Book
    recording: Recording


@dataclass(frozen=True, slots=True)
class MissingPart:
    """A requirement that can't be met in this run, and why."""

    required: RequiredSamples
    book: Book
    issues: tuple[Issue, ...]


Part = LedgerPart | FuturePart | RecordedPart | MissingPart


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """All that one pair's verdict requires, its own samples first.

    Each requirement is prepared in its turn: its instructions may need summaries, and
    its endpoint a fine-tune.

    suite: whose other pairs request prompts of their own
    ids_in_this_run: of the pairs whose verdicts the run gives
    """

    required: tuple[RequiredSamples, ...]
    endpoints: Endpoints
    mode: PlanMode
    suite: Suite
    ids_in_this_run: frozenset[str]

    @property
    def own(self) -> RequiredSamples:
        """The pair's own samples."""
        return self.required[0]

    def foreseen_steps(self, required: RequiredSamples) -> Iterator[Step]:
        """Yield every step that may cost something, as known without a call.

        For a dry run: a run samples the steps of each `prepare_part`.
        """
        assert self.mode is PlanMode.DRY_RUN  # noqa: S101 - a run would skip calls in between
        books, model = self.endpoints.books, required.pair.model
        if required.purpose is Purpose.PROBABILITY:
            logprobs = self.window_logprobs(required)
            for prompts in logprobs.prompts(foreseen=True):
                yield PromptStep(required.purpose, logprobs.source, prompts)
            return
        for source in books.sources_needing_summaries(required.pair):
            yield SummaryStep(source)
        endpoint = self.endpoints.existing_endpoint(model)
        if endpoint is None:
            yield TrainingStep(model)
        if abilities_of(endpoint).recording is not None:
            return
        part = self.prepare_part(required)
        if isinstance(part, LedgerPart | FuturePart):
            yield from part.steps()

    def prepare_part(self, required: RequiredSamples) -> Part:
        """Return the requirement with its book and endpoint.

        When sampling, that writes the book's summaries and fine-tunes the model.
        Instructions that can't earn a pass cost nothing: their samples are only read.
        Raises MemleakError for an unusable book.
        """
        is_dry_run = self.mode is PlanMode.DRY_RUN
        book = self.endpoints.books.pair_book(required.pair, foreseen=is_dry_run)
        if required.missing is not None:
            reason = required.with_label(Issue("sampled", required.missing))
            return MissingPart(required, book, (reason,))
        faults = unusable_instruction_issues(required, book)
        if faults and is_dry_run:
            self._raise_unless_summary_missing(required, faults[0])
        # A pair's own completeness lists its faults.
        listed = () if required.purpose is Purpose.OWN else faults
        issues = tuple(
            required.with_label(replace(fault, rule="sampled")) for fault in listed
        )
        try:
            endpoint = self._prepared_endpoint(
                required, only_if_ready=is_dry_run or bool(faults)
            )
        except Inconclusive as error:
            if is_dry_run:
                raise
            missing = required.with_label(Issue.of_error("sampled", error))
            return MissingPart(required, book, (missing,))
        if endpoint is None and not is_dry_run:
            return MissingPart(required, book, issues)
        if endpoint is None:
            return self._future_part(required, book)
        recording = abilities_of(endpoint).recording
        if recording is not None:
            return _recorded_part(required, book, recording)
        mode = PlanMode.READING if faults and not is_dry_run else self.mode
        return self._ledger_part(required, book, endpoint, mode, issues)

    def _raise_unless_summary_missing(
        self, required: RequiredSamples, fault: Issue
    ) -> None:
        """Raise BookError, unless the book's summaries are still to be written."""
        source = required.pair.book
        if self.endpoints.books.plan_missing_summaries(source) is None:
            place = f"book {source.id!r}"
            raise BookError(fault.cause, location=place, hint=fault.fix)

    def _prepared_endpoint(
        self,
        required: RequiredSamples,
        *,
        only_if_ready: bool,
    ) -> Endpoint | None:
        if required.endpoint is not None:
            return required.endpoint
        if only_if_ready:
            return self.endpoints.existing_endpoint(required.pair.model)
        return self.endpoints.open_endpoint(required.pair.model)

    def window_logprobs(self, required: RequiredSamples) -> WindowLogprobs:
        """Return what reads the log-probabilities of a pair's book.

        Raises MemleakError where its endpoint gives none, or doesn't exist yet.
        """
        pair = required.pair
        is_dry_run = self.mode is PlanMode.DRY_RUN
        endpoint = self._prepared_endpoint(required, only_if_ready=is_dry_run)
        if endpoint is None:
            raise Inconclusive(
                "it isn't fine-tuned yet",
                location=pair.model.id,
                hint="the run measures it after the fine-tune",
            )
        can_give = abilities_of(endpoint).token_logprobs is not None
        if not can_give and self.mode is not PlanMode.READING:
            provider = OWN_PROVIDER if required.endpoint else pair.model.provider
            raise Inconclusive(
                f"{provider} gives no log-probabilities of a text",
                location=pair.model.id,
                hint="docs/ladder.md lists what gives them",
            )
        source = build_ledger_endpoint(
            pair.model,
            self.endpoints,
            LogprobEndpoint(endpoint),
            own=required.endpoint is not None,
        )
        texts = WindowTexts(pair, self.endpoints.books.cut_into_excerpts(pair.book))
        may_sample = self.mode is not PlanMode.READING
        in_series = source.endpoint_within_max_age(
            pair, texts.parts(), may_sample=may_sample
        )
        return WindowLogprobs(texts, in_series)

    def _future_part(self, required: RequiredSamples, book: Book) -> FuturePart:
        pair = required.pair
        probed = book_for_probe(pair, book, None)
        source = FutureEndpoint.from_model(pair.model, self.endpoints)
        prompts = pair_prompts(pair, probed)
        if pair.probe.kind == "extraction":
            turns = longest_further_prompts(pair, probed, ConversationStyle.CHAT)
            prompts = replace(prompts, specs=prompts.specs + turns.specs)
        return FuturePart(required, probed, source, prompts)

    def _ledger_part(
        self,
        required: RequiredSamples,
        book: Book,
        endpoint: Endpoint,
        mode: PlanMode,
        issues: tuple[Issue, ...],
    ) -> LedgerPart:
        pair = required.pair
        probed = book_for_probe(pair, book, endpoint)
        prompts = pair_prompts(pair, probed)
        source = build_ledger_endpoint(
            pair.model,
            self.endpoints,
            continuation_endpoint(pair, endpoint) or endpoint,
            own=required.endpoint is not None,
            probed=endpoint,
        )
        if required.purpose in _IN_SERIES:
            may_sample = mode is not PlanMode.READING
            source = source.endpoint_within_max_age(
                pair, prompts, may_sample=may_sample
            )
        is_extraction = pair.probe.kind == "extraction"
        converses = is_extraction or any(prompt.before for prompt in probed.prompts)
        if converses and source.terms.sampler.batch:
            raise Inconclusive(
                "a conversation can't be sent in batches",
                location=pair.id,
                hint="set batch = false in its [model.options]",
            )
        if is_extraction:
            return ConversationPart(
                required,
                probed,
                source,
                prompts,
                mode,
                issues,
                style=conversation_style(endpoint),
            )
        return LedgerPart(required, probed, source, prompts, mode, issues)


def plan_pair(
    pair: Pair,
    suite: Suite,
    endpoints: Endpoints,
    *,
    ids_in_this_run: frozenset[str],
    endpoint: Endpoint | None = None,
    for_dry_run: bool = False,
) -> SamplingPlan:
    """Plan the samples of a pair.

    ids_in_this_run: of the run's pairs, whose prompts are no other attempts of this one
    endpoint: replaces the suite's own
    for_dry_run: whether for a dry run; else the run samples, or reads if it is offline
    """
    mode = PlanMode.READING if endpoints.resources.offline else PlanMode.SAMPLING
    if for_dry_run:
        mode = PlanMode.DRY_RUN
    required = required_samples(pair, suite, endpoint)
    return SamplingPlan(required, endpoints, mode, suite, ids_in_this_run)


def _recorded_part(
    required: RequiredSamples,
    book: Book,
    recording: Recording,
) -> RecordedPart | MissingPart:
    pair = required.pair
    if pair.probe.kind == "instruction":
        return RecordedPart(required, book, recording)
    issue = Issue(
        "sampled",
        f"{pair.model.id} is recorded: it can't be prompted by the probe "
        f"{pair.probe.kind!r}",
        'set probe = "instruction" for it',
    )
    return MissingPart(required, book, (required.with_label(issue),))
