"""Attempts: the sets of prompts that one model answered for one book.

An attempt is a distinct set of prompts, settings, and seed. The same book has the same
words, or shares an instruction; prompts that another pair of the run requests belong
to that pair (docs/method.md).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from pytest_memleak.ledger.call_states import IS_ANSWERED, call_end
from pytest_memleak.ledger.generation_ordinals import is_beyond
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import stored_prompt_ids
from pytest_memleak.ledger.prompts import (
    CANARY_TOKENS,
    PairPrompts,
    PromptSpec,
    prompt_from_row,
    stored_seed,
    stored_temperature,
)
from pytest_memleak.ledger.same_model import same_model_endpoints, without_series
from pytest_memleak.ledger.sampling_history import settings_sampled
from pytest_memleak.ledger.statements import split_for_statement
from pytest_memleak.ledger.tables import calls, generations, stored_prompts
from pytest_memleak.records.provenance import Tried

Key = tuple[str, str]
"""The two digests that name a prompt (`PromptSpec.key`)."""

Requests = Mapping[tuple[str, Key], int]
"""Rounds that other pairs of the run request, by endpoint without series, and key."""

FindRequests = Callable[[], Requests]
"""Finds them; called only where the ledger has more than the pair's own."""


@dataclass(frozen=True, slots=True)
class AnsweredPrompt:
    """A prompt for a book, as an endpoint answered it.

    row_id:   in the ledger
    began:    when the first answered call began, in seconds since 1970
    received: the number of its stored generations
    """

    row_id: int
    endpoint: str
    prompt: PromptSpec
    began: float
    received: int

    @property
    def place(self) -> tuple[str, Key]:
        """Its place among `Requests`."""
        return without_series(self.endpoint), self.prompt.key


@dataclass(slots=True)
class BookAttempt:
    """Prompts that were answered with one setting, each excerpt's once.

    began:  when the first was
    greedy: greedy prompts with the same instructions: canaries, and continuations
    """

    began: float
    prompts: list[AnsweredPrompt] = field(default_factory=list)
    greedy: list[AnsweredPrompt] = field(default_factory=list)
    number: int = 0

    @property
    def answered(self) -> list[AnsweredPrompt]:
        """All its prompts."""
        return [*self.prompts, *self.greedy]


@dataclass(frozen=True, slots=True)
class BookAttempts:
    """The attempts of a pair's model on its book.

    own_number: that of the pair's own, from 1
    others:     the other attempts, in order; perhaps with own_number, where the same
                instructions were greedily sampled at another length
    """

    own_number: int
    others: tuple[BookAttempt, ...] = ()


def book_attempts(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    *,
    until: float,
    find_requests: FindRequests = dict,
    own_keys: Collection[Key] = (),
) -> BookAttempts:
    """Sort what the pair's model answered for its book, up to a time, into attempts.

    until:    in seconds since 1970
    find_requests: finds the prompts of other pairs, which are no attempts of this one
    own_keys: of further prompts of the pair: greedy ones and canaries
    """
    own = {prompt.key for prompt in prompts.specs}
    is_greedy = prompts.temperature == 0
    mine = BookAttempt(began=math.inf)
    sampled: list[AnsweredPrompt] = []
    greedy: list[AnsweredPrompt] = []
    for answered in answered_prompts(ledger, endpoint_id, prompts, until=until):
        key = answered.prompt.key
        if answered.endpoint == endpoint_id and key in own:
            mine.began = min(mine.began, answered.began)
            continue
        is_own = answered.endpoint == endpoint_id and key in own_keys
        if is_own or answered.place in find_requests():
            continue
        if _is_canary_or_greedy(answered.prompt, is_greedy=is_greedy):
            greedy.append(answered)
        else:
            sampled.append(answered)
    attempts = [mine, *_split_at_repeated_excerpts(sampled)]
    instructions = {prompt.instruction_digest for prompt in prompts.specs}
    attempts += _attach_greedy_prompts(greedy, attempts, instructions)
    attempts.sort(key=lambda attempt: attempt.began)
    for number, attempt in enumerate(attempts, 1):
        attempt.number = number
    others = [attempt for attempt in attempts if attempt.answered]
    return BookAttempts(mine.number, tuple(others))


def answered_prompts(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    *,
    until: float,
) -> list[AnsweredPrompt]:
    """List all prompts for the book that its model answered, in the order of time."""
    if not prompts.specs:
        return []
    same_book = stored_prompts.c.book_words.in_(_same_books(ledger, prompts))
    same_model = same_model_endpoints(ledger, endpoint_id, same_book, until=until)
    of_model = stored_prompts.c.endpoint.in_(same_model)
    rows = ledger.rows(_ANSWERED.where(same_book, of_model, calls.c.began <= until))
    answered = [
        AnsweredPrompt(
            row.id,
            row.endpoint,
            prompt_from_row(row._mapping),  # noqa: SLF001 - SQLAlchemy's public name
            row.first,
            row.received,
        )
        for row in rows
    ]
    return sorted(answered, key=lambda prompt: (prompt.began, prompt.row_id))


def _same_books(ledger: Ledger, prompts: PairPrompts) -> list[str]:
    """Return the digests of the words of books that share an instruction, too."""
    words = {prompt.book_words for prompt in prompts.specs}
    digests = {prompt.instruction_digest for prompt in prompts.specs}
    query = sa.select(stored_prompts.c.book_words).distinct()
    for some in split_for_statement(sorted(digests)):
        rows = ledger.rows(query.where(stored_prompts.c.instruction_digest.in_(some)))
        words.update(row.book_words for row in rows)
    return sorted(words)


_RECEIVED = (
    sa.select(generations.c.prompt, sa.func.count().label("received"))
    .group_by(generations.c.prompt)
    .subquery()
)
_ANSWERED = (
    sa.select(
        stored_prompts,
        sa.func.min(calls.c.began).label("first"),
        sa.func.coalesce(sa.func.max(_RECEIVED.c.received), 0).label("received"),
    )
    .select_from(calls)
    .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
    .outerjoin(_RECEIVED, _RECEIVED.c.prompt == stored_prompts.c.id)
    .where(IS_ANSWERED)
    .group_by(*stored_prompts.c)
)


def _is_canary_or_greedy(prompt: PromptSpec, *, is_greedy: bool) -> bool:
    """Tell whether a prompt accompanies an attempt: a canary, or a greedy one."""
    if stored_temperature(prompt.temperature) != 0:
        return False
    is_canary = prompt.seed == 0 and prompt.max_tokens == CANARY_TOKENS
    return is_canary or not is_greedy


def _split_at_repeated_excerpts(
    answered: Iterable[AnsweredPrompt],
) -> list[BookAttempt]:
    """Divide prompts, in the order of time, into sets of one for each excerpt.

    An excerpt that is prompted again with the same setting begins another set.
    """
    attempts: list[BookAttempt] = []
    latest: dict[Any, tuple[BookAttempt, set[str]]] = {}
    for prompt in answered:
        spec = prompt.prompt
        setting = prompt.endpoint, stored_temperature(spec.temperature), spec.seed
        attempt, excerpts = latest.get(setting, (None, set()))
        if attempt is None or spec.excerpt_id in excerpts:
            attempt, excerpts = BookAttempt(prompt.began), set()
            attempts.append(attempt)
            latest[setting] = attempt, excerpts
        attempt.prompts.append(prompt)
        excerpts.add(spec.excerpt_id)
    return attempts


def _attach_greedy_prompts(
    greedy: Iterable[AnsweredPrompt],
    attempts: Sequence[BookAttempt],
    own_instructions: Collection[str],
) -> list[BookAttempt]:
    """Put greedy prompts beside the attempts that have their instructions.

    Returns those without one, as attempts of their own. The pair's own attempt comes
    first.
    """
    by_instruction: dict[tuple[str, str], BookAttempt] = {}
    for attempt in attempts:
        for answered in attempt.prompts:
            place = answered.endpoint, answered.prompt.instruction_digest
            by_instruction.setdefault(place, attempt)
    left = []
    for answered in greedy:
        instruction = answered.prompt.instruction_digest
        with_it = by_instruction.get((answered.endpoint, instruction))
        if with_it is None and instruction in own_instructions:
            with_it = attempts[0]
        if with_it is None:
            left.append(answered)
        else:
            with_it.greedy.append(answered)
    return _split_at_repeated_excerpts(left)


def number_pair_attempt(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    *,
    until: float,
    find_requests: FindRequests = dict,
    own_keys: Collection[Key] = (),
) -> Tried | None:
    """Number the attempt of the pair's generations, among those begun by `until`.

    Returns None if nothing was sampled. `until` is in seconds since 1970.

    own_keys: of the pair's canaries, which may have prompts that it didn't need
    """
    if not prompts.specs:
        return None
    first_prompt = prompts.specs[0]
    own_ids = stored_prompt_ids(ledger, endpoint_id, prompts.specs).values()
    same_words = stored_prompts.c.book_words == first_prompt.book_words
    is_greedy = prompts.temperature == 0
    sampled = [
        setting
        for setting in settings_sampled(ledger, endpoint_id, same_words, until=until)
        if setting.first <= until and (is_greedy or setting.temperature != 0)
    ]
    own_began = _first_call_began(ledger, own_ids, until)
    if own_began is None:
        return None
    counted = [
        setting
        for setting in sampled
        if setting.first < own_began
        or _is_of_endpoint_and_setting(setting, endpoint_id, first_prompt)
    ]
    own_series = without_series(endpoint_id)
    endpoints = {setting.endpoint for setting in counted}
    resampled = sum(
        endpoint != endpoint_id and without_series(endpoint) == own_series
        for endpoint in endpoints
    )
    attempts = book_attempts(
        ledger,
        endpoint_id,
        prompts,
        until=until,
        find_requests=find_requests,
        own_keys=own_keys,
    )
    return Tried(
        number=attempts.own_number,
        seeds=len({setting.seed for setting in counted}),
        temperatures=len({setting.temperature for setting in counted}),
        resampled=resampled,
        runs=len({setting.run for setting in counted}),
        removed=sum(setting.removed for setting in counted),
        further=_count_requested_by_no_pair(
            ledger, endpoint_id, prompts, until, find_requests
        ),
    )


def _is_of_endpoint_and_setting(
    setting: Any, endpoint_id: str, prompt: PromptSpec
) -> bool:
    temperature = stored_temperature(prompt.temperature)
    own = endpoint_id, temperature, stored_seed(prompt.seed)
    return (setting.endpoint, setting.temperature, setting.seed) == own


def _first_call_began(
    ledger: Ledger,
    row_ids: Iterable[int],
    until: float,
) -> float | None:
    """Return when the first call for these prompts began; None without any."""
    first: list[float] = []
    query = sa.select(sa.func.min(calls.c.began)).where(calls.c.began <= until)
    for some in split_for_statement(list(row_ids)):
        ((began,),) = ledger.rows(query.where(calls.c.prompt.in_(some)))
        if began is not None:
            first.append(began)
    return min(first, default=None)


def _count_requested_by_no_pair(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    until: float,
    find_requests: FindRequests,
) -> int:
    """Count the generations for the same prompts that no pair of the suite requests."""
    if not _count_beyond_requested(ledger, endpoint_id, prompts, until):
        return 0
    return sum(
        _count_beyond_requested(ledger, endpoint_id, part, until)
        for part in prompts_with_most_rounds(endpoint_id, prompts, find_requests())
    )


def _count_beyond_requested(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    until: float,
) -> int:
    count = 0
    ids = stored_prompt_ids(ledger, endpoint_id, prompts.specs)
    beyond = _STORED_COUNT.where(is_beyond(prompts.samples), call_end <= until)
    for some in split_for_statement(list(ids.values())):
        ((of_some,),) = ledger.rows(beyond.where(generations.c.prompt.in_(some)))
        count += of_some
    return count


_STORED_COUNT = (
    sa.select(sa.func.count())
    .select_from(generations)
    .join(calls, calls.c.id == generations.c.call)
)


def prompts_with_most_rounds(
    endpoint_id: str,
    prompts: PairPrompts,
    requests: Requests,
) -> Iterator[PairPrompts]:
    """Yield the prompts with the most rounds that any pair of the suite requests."""
    name = without_series(endpoint_id)
    parts: defaultdict[int, list[PromptSpec]] = defaultdict(list)
    for prompt in prompts.specs:
        elsewhere = requests.get((name, prompt.key), 0)
        parts[max(prompts.samples, elsewhere)].append(prompt)
    for rounds, some in sorted(parts.items()):
        yield replace(prompts, samples=rounds, specs=tuple(some))
