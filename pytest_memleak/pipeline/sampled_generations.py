"""Samples for a requirement: the prompted book, the endpoint, and its stored generations.

    sample_all(required_samples(pair, suite), endpoints)
        -> the pair's sampled, greedy, canary, and unrequested generations, by purpose

All that a pair's model wrote counts (docs/method.md). Null books' generations belong to
other pairs, and a baseline's to another model.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import Inconclusive
from pytest_memleak.interfaces.abilities import Recording, abilities_of
from pytest_memleak.pipeline.canaries import Canaries, canary_book
from pytest_memleak.pipeline.ledger_endpoint import (
    LedgerEndpoint,
    ProvenanceCheck,
    check_provenance,
    through_ledger,
    with_notice,
)
from pytest_memleak.pipeline.prepared_books import template_of
from pytest_memleak.pipeline.required_samples import (
    Purpose,
    RequiredSamples,
    continuation_endpoint,
    pair_prompts,
    probed_book,
)
from pytest_memleak.records import Book, Completeness, Generation, Issue, Kind
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair_result import SampledCount
from pytest_memleak.scoring.freed_memory import return_freed_memory
from pytest_memleak.scoring.text_batches import Batch, in_batches
from pytest_memleak.verdict.completeness import completeness
from pytest_memleak.verdict.evidence_requirements import GenerationRequest
from pytest_memleak.verdict.generation_kinds import KINDS, GenerationCensus
from pytest_memleak.verdict.model_identity import record_issues
from pytest_memleak.verdict.prompt_overlap import instruction_issues, prompt_overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.pipeline.endpoints import Endpoints
    from pytest_memleak.sampling.cost_plan import Plan

    Enough = Callable[["SampledGenerations"], bool]
    PairSamples = Sequence["SampledGenerations"]
    Stop = Callable[[PairSamples], bool]

_FIRST_STAGE = 5


@dataclass(frozen=True, slots=True)
class SampledGenerations:
    """The samples for a requirement.

    book: as it was prompted for and is measured; all_there: every generation,
    unrequested ones too, fresh with each call; issues: why some are missing, with their
    purpose; spared: what an early stop didn't sample; source, prompts: endpoint and
    prompts, or else the recording that was read;
    until: the time up to which the ledger was read, in seconds since 1970
    """

    required: RequiredSamples
    book: Book
    all_there: Callable[[], Iterable[Generation]]
    endpoint_id: str | None = None
    issues: tuple[str, ...] = ()
    spared: str | None = None
    source: LedgerEndpoint | None = None
    prompts: PairPrompts | None = None
    recording: Recording | None = None
    until: float | None = None

    def generations(self) -> Iterator[Generation]:
        """Return the requested generations, with all that was written for each."""
        request = generation_request(self.required)
        requested = (
            generation
            for generation in self.all_there()
            if request.counts(generation.ordinal)
        )
        return map(_with_reasoning, requested)

    def of(self, excerpts: Collection[str]) -> Iterator[Generation]:
        """Read only some excerpts' generations."""
        if self.source is None or self.prompts is None:
            return (
                generation
                for generation in self.generations()
                if generation.excerpt_id in excerpts
            )
        few = tuple(
            prompt for prompt in self.prompts.questions if prompt.excerpt_id in excerpts
        )
        stored = partial(self.source.generations, replace(self.prompts, questions=few))
        return replace(self, source=None, all_there=stored).generations()


class CountedGenerations:
    """Generations that are counted as they are read: number, kinds, and digest."""

    def __init__(self, answers: SampledGenerations) -> None:
        self.sampled, self.required, self.book = answers, answers.required, answers.book
        self._request = replace(
            generation_request(answers.required), recorded=answers.recording is not None
        )
        self._census = GenerationCensus(answers.book, self._request)
        self._digest = hashlib.sha256()

    def batches(self) -> Iterator[Batch]:
        """Yield the requested generations with all that was written; count the others, too.

        Read it once: the digest covers everything read. A batch has the words that the
        census reads if they are its own texts'.
        """
        for batch in in_batches(self.sampled.all_there()):
            counted, words = self._census.read(batch.generations)
            requested = (
                each for each in batch.generations if self._request.counts(each.ordinal)
            )
            if written := [*map(_with_reasoning, requested)]:
                self._digest.update(b"".join(map(_framed, written)))
                texts = [generation.text for generation in counted]
                alike = texts == [generation.text for generation in written]
                yield Batch(written, words if alike else None)
        return_freed_memory()

    def generations(self) -> Iterator[Generation]:
        """Yield the same, one by one."""
        return chain.from_iterable(batch.generations for batch in self.batches())

    def completeness(
        self,
        *,
        beside: Iterable[CountedGenerations] = (),
        over_limit: bool = False,
        issues: Iterable[Issue] = (),
        notes: Iterable[str] = (),
    ) -> Completeness:
        """Judge what was read (docs/method.md).

        beside: what else the pair's model wrote: nothing anywhere may be withheld for
        recitation;
        issues, notes: what else is known
        """
        sampling_issues = (Issue("sampled", issue) for issue in self.sampled.issues)
        own = self._census.counted()
        recitation = own.recitation + sum(
            part.withheld_for_recitation for part in beside
        )
        return completeness(
            replace(own, recitation=recitation),
            prompt_overlap(self.book, self._request),
            over_limit=over_limit,
            issues=(*sampling_issues, *issues),
            notes=notes,
        )

    @property
    def withheld_for_recitation(self) -> int:
        """The number of generations that the provider withheld since they recite."""
        return self._census.counted().recitation

    @property
    def fewest(self) -> int:
        """The number of generations of the excerpt with the fewest, without withheld ones."""
        counted = self._census.counted()
        kept = counted.kinds != KINDS.index(Kind.WITHHELD)
        each = np.bincount(
            counted.readings.excerpt[kept], minlength=len(counted.excerpts)
        )
        return int(each.min()) if len(each) else 0

    @property
    def counted(self) -> SampledCount:
        """The counts that evidence gives."""
        counted = self._census.counted()
        return SampledCount(
            purpose=self.required.purpose.value,
            pair=self.required.pair.id,
            endpoint=self.sampled.endpoint_id,
            requested=len(counted.excerpts) * self._request.samples,
            received=len(counted.readings),
            refused=int((counted.kinds == KINDS.index(Kind.REFUSAL)).sum()),
            sha256=self._digest.hexdigest(),
        )


def _frame(text: str) -> bytes:
    """Return the text's bytes after their number, so that no two rows of texts look alike."""
    data = text.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "big") + data


_frame_short = functools.lru_cache(maxsize=1 << 12)(_frame)


def _framed(generation: Generation) -> bytes:
    reason, ordinal = generation.finish_reason.value, str(generation.ordinal)
    head = map(_frame_short, (generation.excerpt_id, ordinal, reason))
    return b"".join((*head, _frame(generation.text)))


def _with_reasoning(generation: Generation) -> Generation:
    return (
        replace(generation, text=generation.written)
        if generation.reasoning
        else generation
    )


def generation_request(required: RequiredSamples) -> GenerationRequest:
    """Return how these samples are requested, for judging completeness: a baseline may refuse."""
    pair = required.pair
    limits = pair.answers
    if required.purpose is Purpose.BASELINE:
        limits = replace(limits, accept_refusals=True)
    return GenerationRequest(
        samples=pair.sampling.samples,
        temperature=pair.sampling.temperature,
        trim=pair.scoring.trim,
        words=pair.scoring.word_mode,
        continuation=pair.probe.kind == "continuation",
        template=template_of(pair.book),
        limits=limits,
    )


def sample_generations(
    required: RequiredSamples, endpoints: Endpoints, *, enough: Enough | None = None
) -> SampledGenerations:
    """Sample what the ledger lacks; return everything there is.

    Failures become issues; instructions that can't earn a pass cost nothing. With
    `enough`, sampling proceeds in stages of whole rounds until it returns True. Raises
    MemleakError for an unusable book.
    """
    pair = required.pair
    book = endpoints.books.book_of(pair)
    if required.missing is not None:
        return SampledGenerations(
            required, book, tuple, issues=(required.describe(required.missing),)
        )
    bad: list[Issue] = []
    if pair.probe.kind == "instruction":
        bad = instruction_issues(book, generation_request(required))
    # A pair's own completeness lists them.
    listed = [] if required.purpose is Purpose.OWN else bad
    issues = tuple(required.describe(issue.cause) for issue in listed)
    try:
        opened = required.endpoint
        if opened is None:
            opened = (endpoints.ready if bad else endpoints.endpoint)(pair.model)
    except Inconclusive as missing:
        return SampledGenerations(
            required, book, tuple, issues=(required.describe(missing.line),)
        )
    if opened is None:
        return SampledGenerations(required, book, tuple, issues=issues)
    if (recording := abilities_of(opened).recording) is not None:
        return _recorded(required, book, recording)
    probed = probed_book(pair, book, opened)
    answers = _through_ledger(
        required, probed, endpoints, opened, enough, may_sample=not bad
    )
    return replace(answers, issues=(*issues, *answers.issues))


def _recorded(
    required: RequiredSamples, book: Book, recording: Recording
) -> SampledGenerations:
    pair = required.pair
    if pair.probe.kind != "instruction":
        issue = (
            f"{pair.model.id} is recorded: it can't be prompted by the probe "
            f"{pair.probe.kind!r}; "
            'set probe = "instruction" for it'
        )
        return SampledGenerations(
            required, book, tuple, issues=(required.describe(issue),)
        )
    prompted = recording.with_instructions(book)
    return SampledGenerations(
        required,
        prompted,
        partial(recording.generations, prompted),
        recording=recording,
    )


def _through_ledger(
    required: RequiredSamples,
    book: Book,
    endpoints: Endpoints,
    opened: Endpoint,
    enough: Enough | None,
    *,
    may_sample: bool,
) -> SampledGenerations:
    pair = required.pair
    may_sample = may_sample and not endpoints.resources.offline
    side = continuation_endpoint(pair, opened) or opened
    source = through_ledger(
        pair.model, endpoints, side, own=required.endpoint is not None
    )
    prompts = pair_prompts(pair, book)
    issues: list[str] = []
    spared = None
    in_stages = enough and may_sample and not source.terms.sampler.batch

    def answers() -> SampledGenerations:
        until = endpoints.resources.now
        all_there = partial(source.all_there, prompts, until)
        return SampledGenerations(
            required,
            book,
            all_there,
            source.endpoint_id,
            tuple(issues),
            spared,
            source,
            prompts,
            until=until,
        )

    try:
        if required.purpose in {Purpose.OWN, Purpose.GREEDY}:
            source = source.current_series(pair, prompts, may_sample=may_sample)
        canaries, is_name = None, source.is_name(pair)
        if may_sample and required.purpose is Purpose.OWN:
            canaries = Canaries(source.ledger, source.endpoint_id, pair, book)
        if canaries and (few := canaries.to_request(prompts, is_name=is_name)):
            source.sample_missing(few)
            source = with_notice(source, few, pair)
        for samples in (
            _stages(prompts.samples, in_stages=in_stages) if may_sample else ()
        ):
            source.sample_missing(replace(prompts, samples=samples))
            if enough and samples < prompts.samples and enough(answers()):
                spared = _spared(source.left(prompts), samples, prompts.samples)
                break
        if canaries and (
            few := canaries.to_request(prompts, is_name=is_name, sampled=True)
        ):
            source.sample_missing(few)
    except Inconclusive as missing:
        issues.append(required.describe(missing.line))
    return answers()


def _stages(samples: int, *, in_stages: object) -> list[int]:
    """Return the numbers of rounds at which to stop in turn; the last is `samples`."""
    if not in_stages:
        return [samples]
    stages = [_FIRST_STAGE]
    while stages[-1] < samples:
        stages.append(stages[-1] * 2)
    return [*(stage for stage in stages if stage < samples), samples]


def _spared(left: Plan, samples: int, requested: int) -> str:
    cost = "" if left.cost is None else f" (at most US${left.cost:,.2f})"
    return (
        f"stopped after {samples} of {requested} rounds, since a limit is exceeded; "
        "this saved "
        f"{amount(left.calls, 'call')} for "
        f"{amount(left.generations, 'generation')}{cost}"
    )


def sample_all(
    required: Sequence[RequiredSamples],
    endpoints: Endpoints,
    *,
    stop: Stop | None = None,
    until: float | None = None,
) -> tuple[SampledGenerations, ...]:
    """Return the pair's samples first, then everything else that its model wrote.

    stop: tells whether the samples after some rounds are enough; until: a time after
    the run's, up to which canaries and unrequested generations count
    """
    own, *others = required
    greedy = [
        sample_generations(sample, endpoints)
        for sample in others
        if sample.purpose is Purpose.GREEDY
    ]

    def together(sampled: SampledGenerations) -> tuple[SampledGenerations, ...]:
        return sampled, *greedy, *_from_ledger_or_record(sampled, greedy, until)

    enough = (lambda so_far: stop(together(so_far))) if stop else None
    return together(sample_generations(own, endpoints, enough=enough))


def _from_ledger_or_record(
    own: SampledGenerations, greedy: Sequence[SampledGenerations], until: float | None
) -> Iterator[SampledGenerations]:
    """Yield the canaries and the unrequested generations, if any."""
    until = until or own.until
    if own.source is not None and until is not None:
        source, pair = own.source, own.required.pair
        every = Canaries(source.ledger, source.endpoint_id, pair, own.book)
        if canaries := every.stored(until):
            stored, rounds = partial(iter, canaries), canaries[-1].ordinal + 1
            yield _part(
                own, Purpose.CANARY, canary_book(own.book), stored, samples=rounds
            )
    unrequested = partial(_unrequested, (own, *greedy), until)
    if any(True for _ in unrequested()):
        yield _part(own, Purpose.UNREQUESTED, own.book, unrequested, samples=0)


def identify(own: SampledGenerations) -> ProvenanceCheck:
    """Check who generated the samples; for recordings, whether their records are of this book."""
    source, pair = own.source, own.required.pair
    if source is None or own.prompts is None or own.until is None:
        if own.recording is None or own.recording.described is None:
            return ProvenanceCheck()
        described = own.recording.described(own.book)
        continued = pair.probe.kind == "continuation"
        return ProvenanceCheck(
            issues=record_issues(own.book, described, continuation=continued)
        )
    canaries = Canaries(source.ledger, source.endpoint_id, pair, own.book)
    same, until = canaries.same_weights, own.until
    check = check_provenance(source, own.prompts, pair, until=until, same=same)
    if own.issues or not check.provenance.calls:
        return check
    issues, notes = canaries.issues(until), canaries.notes(until)
    return replace(check, issues=(*check.issues, *issues), notes=(*check.notes, *notes))


def _unrequested(
    parts: Iterable[SampledGenerations], until: float | None
) -> Iterator[Generation]:
    """Yield generations beyond the requested rounds: late, of more samples, or unrequested."""
    numbers: Counter[str] = Counter()
    for generation in chain.from_iterable(_beside(part, until) for part in parts):
        yield replace(generation, ordinal=numbers[generation.excerpt_id])
        numbers[generation.excerpt_id] += 1


def _beside(part: SampledGenerations, until: float | None) -> Iterator[Generation]:
    if part.source is not None and part.prompts is not None and until is not None:
        from pytest_memleak.ledger.ledger_queries import surplus

        yield from surplus(
            part.source.ledger, part.source.endpoint_id, part.prompts, until=until
        )
    elif part.recording is not None:
        samples = part.required.pair.sampling.samples
        yield from (
            generation
            for generation in part.all_there()
            if generation.ordinal >= samples
        )


def _part(
    own: SampledGenerations,
    purpose: Purpose,
    book: Book,
    all_there: Callable[[], Iterable[Generation]],
    *,
    samples: int,
) -> SampledGenerations:
    sampling = replace(own.required.pair.sampling, samples=samples)
    required = RequiredSamples(
        purpose, replace(own.required.pair, sampling=sampling), own.required.endpoint
    )
    return SampledGenerations(required, book, all_there, own.endpoint_id)
