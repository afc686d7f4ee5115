"""What a pair's model wrote for its book in other attempts, as the ledger holds it.

After a FAIL, a reworded instruction, another seed, or another `max_tokens` is another
attempt on the same model: its passages still count (docs/method.md). Prompts that
another pair of the run requests, such as those of a temperature curve, are that
pair's, unless it is expected to leak: its verdict would hide them. So would a pair that
the run doesn't evaluate. A positive control has only its own.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.canaries import canary_prompts
from pytest_memleak.pipeline.ledger_endpoint import SECONDS_PER_DAY
from pytest_memleak.pipeline.required_samples import Purpose, RequiredSamples
from pytest_memleak.pipeline.sample_readers import FurtherSamples, LedgerSamples
from pytest_memleak.pipeline.sampling_plan import (
    ConversationPart,
    LedgerPart,
    plan_pair,
)
from pytest_memleak.records import Book, Generation, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.ledger.book_attempts import (
        AnsweredPrompt,
        BookAttempt,
        Requests,
    )
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.pipeline.sample_readers import SampledGenerations
    from pytest_memleak.pipeline.sampling_plan import SamplingPlan
    from pytest_memleak.records import Pair

_REQUESTED = {Purpose.OWN, Purpose.GREEDY, Purpose.BASELINE}


def requests_of_other_pairs(part: LedgerPart, plan: SamplingPlan) -> Requests:
    """Return the rounds of prompts for the book that the run's other pairs request.

    Null books' samples are their own pairs'.
    """
    from pytest_memleak.ledger.same_model import without_series

    requests: dict[tuple[str, tuple[str, str]], int] = {}
    for pair in _other_pairs(part, plan):
        with contextlib.suppress(MemleakError):  # raises again in its turn
            for name, prompts in _prompts_by_endpoint_id(pair, part.required, plan):
                for prompt in prompts.specs:
                    place = without_series(name), prompt.key
                    rounds = max(prompts.samples, requests.get(place, 0))
                    requests[place] = rounds
    return requests


def _other_pairs(part: LedgerPart, plan: SamplingPlan) -> Iterator[Pair]:
    """Yield the pairs whose prompts may be for the same book."""
    own = part.required
    if own.purpose not in {Purpose.OWN, Purpose.GREEDY}:
        return
    for pair in plan.suite.pairs:
        if pair.id == own.pair.id or pair.expected == "leak":
            continue
        if pair.id not in plan.ids_in_this_run:
            continue
        # A test's own endpoint replaces that of its model.
        if own.endpoint is not None and pair.model.id != own.pair.model.id:
            continue
        if pair.book.id == own.pair.book.id or _shares_prompts(pair, part, plan):
            yield pair


def _shares_prompts(pair: Pair, part: LedgerPart, plan: SamplingPlan) -> bool:
    """Tell whether the pair's book has the same words, or an instruction, too."""
    instructions = {excerpt.instruction for excerpt in part.book.excerpts}
    try:
        book = plan.endpoints.books.cut_into_excerpts(pair.book)
    except MemleakError:
        return False
    if book.words_digest == part.book.words_digest:
        return True
    return any(excerpt.instruction in instructions for excerpt in book.excerpts)


def _prompts_by_endpoint_id(
    pair: Pair,
    own: RequiredSamples,
    plan: SamplingPlan,
) -> Iterator[tuple[str, PairPrompts]]:
    """Yield what a pair requests, each with the endpoint's name in the ledger."""
    theirs = plan_pair(
        pair,
        plan.suite,
        plan.endpoints,
        ids_in_this_run=plan.ids_in_this_run,
        endpoint=own.endpoint,
        for_dry_run=True,
    )
    for required in theirs.required:
        if required.purpose not in _REQUESTED or required.missing:
            continue
        part = theirs.prepare_part(required)
        if not isinstance(part, LedgerPart):
            continue
        requested = [part.prompts]
        if isinstance(part, ConversationPart):
            requested = [*part.requested_prompts()]
        for prompts in requested:
            yield part.source.endpoint_id, prompts
        if required.purpose is Purpose.OWN:
            canaries = canary_prompts(required.pair, part.book, rounds=1 << 30)
            yield part.source.endpoint_id, canaries


def samples_of_other_attempts(
    own: SampledGenerations,
    own_greedy: Sequence[SampledGenerations],
    until: float | None,
) -> Iterator[FurtherSamples]:
    """Yield what the pair's model wrote for the book in each other attempt.

    Each has the book with the attempt's instructions, by which its texts are trimmed.
    An endpoint that is only a name counts for `max_age_days`, but never for less than
    by default: else a short age would end an attempt that failed.
    """
    if not isinstance(own, LedgerSamples) or own.required.pair.expected == "leak":
        return
    until = until or own.until
    since = -math.inf
    pair, source = own.required.pair, own.source
    if source.only_name_identifies_weights(pair):
        days = max(pair.sampling.max_age_days, Sampling().max_age_days)
        since = until - days * SECONDS_PER_DAY
    numbers: Counter[str] = Counter()
    for attempt in _recorded_attempts(own, own_greedy, until):
        for book, excerpts, received in _books_with_prompts(own.book, attempt):
            read = partial(
                _numbered_generations,
                source.ledger,
                excerpts,
                since=since,
                until=until,
                first=dict(numbers),
                most=max(received.values()),
            )
            numbers.update(received)
            if any(True for _ in read()):
                yield _attempt_samples(own, book, read, attempt)


def _recorded_attempts(
    own: LedgerSamples,
    own_greedy: Sequence[SampledGenerations],
    until: float,
) -> Sequence[BookAttempt]:
    from pytest_memleak.ledger.book_attempts import book_attempts

    source = own.source
    beside = [canary_prompts(own.required.pair, own.book, rounds=1)]
    beside += [part.prompts for part in own_greedy if isinstance(part, LedgerSamples)]
    own_keys = {prompt.key for prompts in beside for prompt in prompts.specs}
    attempts = book_attempts(
        source.ledger,
        source.endpoint_id,
        own.prompts,
        until=until,
        find_requests=own.find_requests,
        own_keys=own_keys,
    )
    return attempts.others


def _books_with_prompts(
    book: Book,
    attempt: BookAttempt,
) -> Iterator[tuple[Book, dict[int, str], Counter[str]]]:
    """Yield the book with the attempt's instructions, often once.

    Excerpts that were cut otherwise take the places that are free. With each book come
    the excerpts of the prompts by their row ids, and how much they received.
    """
    by_instruction: defaultdict[str, list[AnsweredPrompt]] = defaultdict(list)
    for answered in attempt.answered:
        by_instruction[answered.prompt.instruction_digest].append(answered)
    left = list(by_instruction.values())
    while left:
        placed, left = _prompts_by_excerpt_and_rest(book, left)
        excerpts = tuple(
            replace(
                excerpt,
                instruction=placed[excerpt.id][0].prompt.instruction
                if excerpt.id in placed
                else None,
            )
            for excerpt in book.excerpts
        )
        row_ids: dict[int, str] = {}
        received: Counter[str] = Counter()
        for excerpt_id, answers in placed.items():
            for answered in answers:
                row_ids[answered.row_id] = excerpt_id
                received[excerpt_id] += answered.received
        yield replace(book, excerpts=excerpts), row_ids, received


def _prompts_by_excerpt_and_rest(
    book: Book,
    prompts: Sequence[list[AnsweredPrompt]],
) -> tuple[dict[str, list[AnsweredPrompt]], list[list[AnsweredPrompt]]]:
    """Give each excerpt the prompts of one instruction; return those left over, too."""
    excerpt_ids = [excerpt.id for excerpt in book.excerpts]
    placed: dict[str, list[AnsweredPrompt]] = {}
    others = []
    for answers in prompts:
        excerpt_id = answers[0].prompt.excerpt_id
        if excerpt_id in excerpt_ids and excerpt_id not in placed:
            placed[excerpt_id] = answers
        else:
            others.append(answers)
    free = [excerpt_id for excerpt_id in excerpt_ids if excerpt_id not in placed]
    placed |= zip(free, others, strict=False)
    return placed, others[len(free) :]


def _numbered_generations(
    ledger: Ledger,
    excerpts: Mapping[int, str],
    *,
    since: float,
    until: float,
    first: Mapping[str, int],
    most: int,
) -> Iterator[Generation]:
    """Yield the prompts' generations, numbered from `first` on, by excerpt.

    most: of an excerpt
    """
    from pytest_memleak.ledger.ledger_queries import generations_of_prompts

    every = generations_of_prompts(
        ledger, excerpts, most=most, since=since, until=until
    )
    for generation in every:
        number = first.get(generation.excerpt_id, 0) + generation.ordinal
        yield replace(generation, ordinal=number)


def _attempt_samples(
    own: LedgerSamples,
    book: Book,
    read: partial[Iterator[Generation]],
    attempt: BookAttempt,
) -> FurtherSamples:
    sampling = replace(own.required.pair.sampling, samples=0)  # so that all count
    pair = replace(own.required.pair, sampling=sampling)
    return FurtherSamples(
        required=RequiredSamples(Purpose.ATTEMPT, pair, own.required.endpoint),
        book=book,
        read=read,
        named=attempt.answered[0].endpoint,
        attempt=attempt.number,
    )
