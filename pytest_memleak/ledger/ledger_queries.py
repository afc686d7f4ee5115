"""A pair's generations in the ledger, those that are missing, and their costs.

Only some prompts' generations are in memory at a time.
"""

from __future__ import annotations

import operator
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.call_outcomes import prompt_ids_by_key
from pytest_memleak.ledger.call_states import (
    BILLED,
    TOKEN_AND_COST_SUMS,
    CallState,
    call_end,
)
from pytest_memleak.ledger.generation_ordinals import (
    IS_SURPLUS,
    is_beyond,
    is_requested,
)
from pytest_memleak.ledger.generation_texts import texts_of_calls
from pytest_memleak.ledger.ledger import IS_LIVING, Ledger
from pytest_memleak.ledger.prompts import PairPrompts, PromptSpec
from pytest_memleak.ledger.statements import (
    bound_list,
    count_where,
    split_for_statement,
)
from pytest_memleak.ledger.tables import calls, claims, leases
from pytest_memleak.ledger.tables import generations as generations_
from pytest_memleak.records import FinishReason, Generation

_AT_ONCE = 500  # generations in memory


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """The counts of a pair's generations and calls.

    requested: generations that the suite requests
    got:       those that are stored, including withheld ones
    withheld:  counts by finish reason
    calls:     calls made, including lost ones
    lost:      calls with an unknown outcome, which may have been billed
    recovered: calls whose interrupted answer was recovered from the provider
    billed:    US$ of answered calls; None without a price
    cost:      the same, with lost calls at their highest cost
    """

    requested: int
    got: int
    withheld: dict[FinishReason, int]
    calls: int = 0
    lost: int = 0
    recovered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    billed: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A pair's missing generations, by prompt in order.

    free:       ordinals that no open call is sampling
    elsewhere:  the number of ordinals that open calls are sampling
    in_batches: the number of ordinals in batches whose results weren't read yet
    holder:     the process that has sampled some for the longest
    """

    free: dict[PromptSpec, list[int]]
    elsewhere: int
    in_batches: int
    holder: str

    @property
    def count(self) -> int:
        """The number of ordinals that no open call is sampling."""
        return sum(map(len, self.free.values()))


def generations(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> Iterator[Generation]:
    """Yield the pair's stored generations, in the book's order, then by ordinal."""
    numbers = stored_prompt_ids(ledger, endpoint_id, prompts.specs)
    requested = (
        sa.select(generations_)
        .where(is_requested(prompts.samples))
        .order_by(generations_.c.ordinal)
    )
    sent = [prompt for prompt in prompts.specs if prompt.key in numbers]
    at_once = max(1, _AT_ONCE // max(1, prompts.samples))
    for start in range(0, len(sent), at_once):
        some = sent[start : start + at_once]
        some_numbers = [numbers[prompt.key] for prompt in some]
        query = requested.where(generations_.c.prompt.in_(some_numbers))
        with ledger.damage_as_ledger_error():
            by_prompt: dict[int, list[tuple[Any, str, str]]] = defaultdict(list)
            for stored in generations_with_texts(ledger, query):
                by_prompt[stored[0].prompt].append(stored)
            generations = []
            for prompt, number in zip(some, some_numbers, strict=True):
                for row, *texts in by_prompt[number]:
                    generation = _generation(
                        prompt.excerpt_id,
                        row.ordinal,
                        row,
                        *texts,
                    )
                    generations.append(generation)
        yield from generations


def _generation(
    excerpt_id: str,
    ordinal: int,
    row: Any,
    text: str,
    reasoning: str,
) -> Generation:
    return Generation(
        excerpt_id,
        ordinal,
        text,
        FinishReason(row.finish_reason),
        row.prompt_tokens,
        row.completion_tokens,
        row.finish_word,
        reasoning,
    )


class RowTexts(NamedTuple):
    """A row of the ledger's generations, with its generation's texts."""

    row: Any
    text: str
    reasoning: str


def generations_with_texts(
    ledger: Ledger,
    query: sa.Select[Any],
) -> Sequence[RowTexts]:
    """Return the rows of a query for generations, each with its text and reasoning.

    Raises LedgerError unless each of their calls has as many texts as came, in places
    from 0.
    """

    def rows_with_texts(connection: Connection) -> Sequence[RowTexts]:
        rows = connection.execute(query).all()
        texts = texts_of_calls(connection, (row.call for row in rows))
        prompt_ids = {row.prompt for row in rows}
        stored = _stored_texts_by_call(connection, of_prompts=prompt_ids)
        for call in {row.call for row in rows}:
            came = len(texts.get(call, ()))
            expected = [StoredPlace(place, came) for place in range(came)]
            if sorted(stored[call]) != expected:
                raise LedgerError(
                    f"The ledger is damaged: the generations of call {call} aren't "
                    "those received",
                    location=ledger.place,
                    hint="run memleak ledger verify, and restore a copy",
                )
        generations_with_texts = []
        for row in rows:
            text, reasoning = texts[row.call][row.place]
            generations_with_texts.append(RowTexts(row, text, reasoning))
        return generations_with_texts

    return ledger.read(rows_with_texts)


class StoredPlace(NamedTuple):
    """The place of a stored text in its call, and how many texts came with it."""

    place: int
    came: int | None


def _stored_texts_by_call(
    connection: Connection,
    *,
    of_prompts: set[int],
) -> dict[int, list[StoredPlace]]:
    """Return the places of each call's stored texts, for calls of these prompts."""
    places: dict[int, list[StoredPlace]] = defaultdict(list)
    for some in split_for_statement(list(of_prompts)):
        rows = connection.execute(_PLACES, {"prompts": some})
        for call, place, came in rows:
            places[call].append(StoredPlace(place, came))
    return places


_PLACES = (
    sa.select(generations_.c.call, generations_.c.place, calls.c.came)
    .join(calls, calls.c.id == generations_.c.call)
    .where(generations_.c.prompt.in_(bound_list("prompts")))
)


def count_generations_and_calls(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> LedgerCounts:
    """Count the pair's generations and calls, and add up their cost."""
    numbers = stored_prompt_numbers(ledger, endpoint_id, prompts)
    by_reason = (
        sa.select(generations_.c.finish_reason, sa.func.count())
        .where(is_requested(prompts.samples))
        .group_by(generations_.c.finish_reason)
    )

    def select_counts(connection: Connection) -> LedgerCounts:
        reasons: Counter[str] = Counter()
        states: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        for some in split_for_statement(numbers):
            of_generations = by_reason.where(generations_.c.prompt.in_(some))
            for reason, count in connection.execute(of_generations):
                reasons[reason] += count
            of_calls = _SUMS.where(calls.c.prompt.in_(some))
            for row in connection.execute(of_calls):
                states[row.state] += row.calls
                for name in _SUMMED:
                    sums[name] += int(getattr(row, name) or 0)
        withheld = {
            reason: reasons[reason]
            for reason in FinishReason
            if reason.withheld and reasons[reason]
        }
        return LedgerCounts(
            requested=prompts.requested,
            got=reasons.total(),
            withheld=withheld,
            calls=sum(states[state] for state in BILLED),
            lost=states[CallState.LOST],
            recovered=sums["recovered"],
            prompt_tokens=sums["prompt_tokens"],
            completion_tokens=sums["completion_tokens"],
            billed=sums["billed"] / 1e9 if sums["priced"] else None,
            cost=sums["cost"] / 1e9 if sums["priced"] else None,
        )

    return ledger.read(select_counts)


_SUMMED = (
    "recovered",
    "prompt_tokens",
    "completion_tokens",
    "billed",
    "cost",
    "priced",
)
_SUMS = sa.select(
    calls.c.state,
    sa.func.count().label("calls"),
    count_where(calls.c.recovered).label("recovered"),
    *TOKEN_AND_COST_SUMS,
).group_by(calls.c.state)


def find_missing_ordinals(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> Missing:
    """Find the ordinals that aren't stored. A dead process's ordinals count as free."""
    numbers = stored_prompt_ids(ledger, endpoint_id, prompts.specs)
    samples = prompts.samples

    def select_taken(connection: Connection) -> tuple[dict[int, set[int]], list[Any]]:
        occupied: dict[int, set[int]] = defaultdict(set)
        held: list[Any] = []
        for some in split_for_statement(list(numbers.values())):
            stored = _STORED.where(
                generations_.c.prompt.in_(some),
                is_requested(samples),
            )
            for number, ordinal in connection.execute(stored):
                occupied[number].add(ordinal)
            reserved = _HELD.where(
                claims.c.prompt.in_(some),
                claims.c.ordinal < samples,
            )
            for row in connection.execute(reserved):
                if row.ordinal not in occupied[row.prompt]:
                    held.append(row)
        return occupied, held

    with ledger.damage_as_ledger_error():
        occupied, held = ledger.read(select_taken)
        for row in held:
            occupied[row.prompt].add(row.ordinal)
        free = {}
        for prompt in prompts.specs:
            number = numbers.get(prompt.key, 0)
            taken = occupied.get(number, ())
            absent = [ordinal for ordinal in range(samples) if ordinal not in taken]
            if absent:
                free[prompt] = absent
        elsewhere = [row for row in held if row.batch is None]
        return Missing(
            free,
            elsewhere=len(elsewhere),
            in_batches=len(held) - len(elsewhere),
            holder=_longest_holder(elsewhere),
        )


def _longest_holder(held: Sequence[Any]) -> str:
    """Name the process that has held some ordinals for the longest; "" without any."""
    if not held:
        return ""
    row = min(held, key=operator.attrgetter("began"))
    since = time.strftime("%H:%M:%S", time.localtime(row.began))
    return f"process {row.pid} on {row.host} (since {since})"


_STORED = sa.select(generations_.c.prompt, generations_.c.ordinal)
# Reserved ordinals of calls that will be finished: a batch's, and a running process's.
_HELD = (
    sa.select(
        claims.c.prompt,
        claims.c.ordinal,
        calls.c.batch,
        calls.c.began,
        leases.c.host,
        leases.c.pid,
    )
    .join(calls, calls.c.id == claims.c.call)
    .join(leases, leases.c.id == calls.c.lease, isouter=True)
    .where(
        sa.or_(
            calls.c.batch.is_not(None),
            sa.and_(leases.c.id.is_not(None), IS_LIVING),
        ),
    )
)


def stored_prompt_ids(
    ledger: Ledger,
    endpoint_id: str,
    prompt_specs: Iterable[PromptSpec],
) -> dict[tuple[str, str], int]:
    """Return the row ids of those prompts that were sent to the endpoint, by key."""
    keys = {prompt.key for prompt in prompt_specs}
    return ledger.read(
        lambda connection: prompt_ids_by_key(connection, endpoint_id, keys),
    )


def stored_prompt_numbers(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> list[int]:
    """Return the row ids of the pair's prompts that were sent to the endpoint."""
    by_key = stored_prompt_ids(ledger, endpoint_id, prompts.specs)
    return list(by_key.values())


def surplus_generations(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    *,
    until: float,
) -> Iterator[Generation]:
    """Yield what was received beyond the requested samples, by `until` (since 1970).

    By excerpt, those that once had a place first; ordinals start again at 0.
    docs/method.md reports a surplus: races between processes and late answers cause
    some of it.
    """
    counts: Counter[str] = Counter()
    for excerpt_id, (row, *texts) in _surplus_rows(ledger, endpoint_id, prompts, until):
        yield _generation(excerpt_id, counts[excerpt_id], row, *texts)
        counts[excerpt_id] += 1


def generations_beyond_call(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    *,
    until: float,
) -> Iterator[Generation]:
    """Yield what servers sent beyond what a call requested, by `until` (since 1970).

    Ordinals start at `samples`. An answer recovered from the provider may include that
    of a second attempt, which is no fault.
    """
    extra: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    for excerpt_id, (row, *texts) in _surplus_rows(ledger, endpoint_id, prompts, until):
        has_place = row.ordinal >= 0
        if has_place or row.recovered:
            continue
        beyond_request = (row.came or 0) - row.asked
        if extra[row.call] >= beyond_request:
            continue
        extra[row.call] += 1
        ordinal = prompts.samples + counts[excerpt_id]
        yield _generation(excerpt_id, ordinal, row, *texts)
        counts[excerpt_id] += 1


def generations_of_prompts(
    ledger: Ledger,
    excerpts: Mapping[int, str],
    *,
    most: int,
    since: float,
    until: float,
) -> Iterator[Generation]:
    """Yield all that prompts brought between two times (since 1970).

    By prompt; each excerpt's ordinals start at 0.

    excerpts: the excerpt that each prompt counts for, by the prompt's row id
    most: the most generations that a prompt has
    """
    counts: Counter[str] = Counter()
    row_ids = list(excerpts)
    at_once = max(1, _AT_ONCE // max(1, most))
    in_time = _WITH_CALLS.where(call_end >= since, call_end <= until)
    for start in range(0, len(row_ids), at_once):
        some = row_ids[start : start + at_once]
        query = in_time.where(generations_.c.prompt.in_(some))
        for row, *texts in generations_with_texts(ledger, query):
            excerpt_id = excerpts[row.prompt]
            yield _generation(excerpt_id, counts[excerpt_id], row, *texts)
            counts[excerpt_id] += 1


def _surplus_rows(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    until: float,
) -> Iterator[tuple[str, RowTexts]]:
    """Yield the excerpt of each surplus generation, and the generation."""
    numbers = stored_prompt_ids(ledger, endpoint_id, prompts.specs)
    excerpts = {
        numbers[prompt.key]: prompt.excerpt_id
        for prompt in prompts.specs
        if prompt.key in numbers
    }
    beyond = _WITH_CALLS.where(is_beyond(prompts.samples), call_end <= until)
    for some in split_for_statement(list(excerpts)):
        query = beyond.where(generations_.c.prompt.in_(some))
        for stored in generations_with_texts(ledger, query):
            yield excerpts[stored.row.prompt], stored


_WITH_CALLS = (
    sa.select(generations_, calls.c.asked, calls.c.came, calls.c.recovered)
    .join(calls, calls.c.id == generations_.c.call)
    .order_by(
        generations_.c.prompt,
        IS_SURPLUS,
        sa.func.abs(generations_.c.ordinal),
    )
)
