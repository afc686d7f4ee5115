"""Reservations before a paid call: its ordinals, its cost, and the run's budget.

Ordinals and budget are reserved in one exclusive transaction: two processes never
sample the same ordinal, and together they never reserve more than the budget.

A call reserves its highest cost (every completion at its maximum length) and is settled
at what was billed. A lost call keeps its highest cost. Prices are US$ per million
tokens, for prompts and for completions; n completions of one call cost one prompt.
Fine-tuning isn't in the budget.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import BudgetExceeded, SettingsError
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.interfaces.protocols import OWN_PROVIDER, Completion
from pytest_memleak.ledger.call_outcomes import (
    Call,
    CallResult,
    add_to_runs,
    open_calls,
    prompt_ids_by_key,
    run_spending,
    store_call_results,
)
from pytest_memleak.ledger.call_states import CallState
from pytest_memleak.ledger.hash_chain import record_changes
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import (
    TOKENS_PER_WORD,
    Ask,
    PromptSpec,
    prompt_row,
    stored_cap,
)
from pytest_memleak.ledger.statements import (
    bound_list,
    insert_where_new,
    split_for_statement,
)
from pytest_memleak.ledger.tables import calls, claims, generations, stored_prompts

# A prompt's digests of instruction and settings.
_PromptKey = tuple[str, str]
# The result of an intent: a call, None without a free ordinal, or what stops it.
_Reservation = Call | Exception | None


@dataclass(frozen=True, slots=True)
class Intent:
    """A call to make: the first of `candidates` that has a free ordinal.

    prompt_ids: the prompts' row ids, by key
    estimate: a call's highest cost in billionths of a US$; None without a price
    limit:    the run's budget in billionths of a US$; None without one
    """

    lease: int
    run: str
    provider: str
    candidates: Sequence[Ask]
    prompt_ids: Mapping[_PromptKey, int]
    estimate: Callable[[Ask], int | None]
    limit: int | None = None
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def prompt_row_ids(
    ledger: Ledger,
    endpoint_id: str,
    prompt_specs: Iterable[PromptSpec],
) -> dict[_PromptKey, int]:
    """Return the row ids of an endpoint's prompts by key; new prompts are added."""
    keys = set()
    rows = []
    for prompt in prompt_specs:
        keys.add(prompt.key)
        rows.append({"endpoint": endpoint_id, **prompt_row(prompt)})

    def insert_and_select(connection: Connection) -> dict[_PromptKey, int]:
        if rows:
            insert = insert_where_new(connection, stored_prompts).returning(
                stored_prompts
            )
            new_rows = connection.execute(insert, rows).mappings()
            record_changes(connection, stored_prompts, new_rows)
        return prompt_ids_by_key(connection, endpoint_id, keys)

    return ledger.write(insert_and_select)


def reserve_call(
    ledger: Ledger,
    intent: Intent,
    *,
    after: CallResult | None = None,
) -> Call | None:
    """Record that a call is about to be made, and reserve its ordinals.

    `after`, the answer to the previous call, is recorded in the same transaction in any
    case. Returns None if every ordinal of every candidate is sampled or reserved.
    Raises BudgetExceeded if the call could cost more than the run has left.
    """
    return ledger.write_each(_store_and_reserve, (after, intent))


def reserve_calls(
    ledger: Ledger,
    intents: Sequence[Intent],
) -> tuple[list[Call], Exception | None]:
    """Reserve a call for each intent, as `reserve_call` does, in one transaction.

    Returns the calls, and the first error of an intent that has none because of it.
    """
    results = ledger.write(lambda connection: _reserve_new_calls(connection, intents))
    calls = [result for result in results if isinstance(result, Call)]
    errors = (result for result in results if isinstance(result, Exception))
    return calls, next(errors, None)


def _store_and_reserve(
    connection: Connection,
    items: Sequence[tuple[CallResult | None, Intent]],
) -> list[_Reservation]:
    answers = [answer for answer, _ in items if answer is not None]
    if answers:
        store_call_results(connection, answers)
    intents = [intent for _, intent in items]
    return _reserve_new_calls(connection, intents)


def _reserve_new_calls(
    connection: Connection,
    intents: Sequence[Intent],
) -> list[_Reservation]:
    results: dict[str, _Reservation] = {}
    results |= _calls_reserved_earlier(connection, intents)
    pending = [intent for intent in intents if intent.request_id not in results]
    results |= _reserve_each(connection, pending)
    return [results[intent.request_id] for intent in intents]


def _reserve_each(
    connection: Connection,
    intents: Sequence[Intent],
) -> dict[str, _Reservation]:
    """Reserve a call for each intent, in order; return each result by request id."""
    asks: list[tuple[int, Ask]] = []
    for intent in intents:
        for ask in intent.candidates:
            prompt_id = intent.prompt_ids[ask.prompt.key]
            asks.append((prompt_id, ask))
    taken = taken_ordinals(connection, asks)
    limited = {intent.run for intent in intents if intent.limit is not None}
    spent = run_spending(connection, limited)
    results: dict[str, _Reservation] = {}
    rows: list[dict[str, Any]] = []
    ordinals: list[tuple[int, ...]] = []
    for intent in intents:
        free = first_ask_with_free_ordinals(intent.candidates, intent.prompt_ids, taken)
        if free is None:
            results[intent.request_id] = None
            continue
        estimate = intent.estimate(free)
        error = budget_error(spent[intent.run], estimate or 0, intent.limit)
        if error is not None:
            results[intent.request_id] = error
            continue
        spent[intent.run] += estimate or 0
        prompt_id = intent.prompt_ids[free.prompt.key]
        taken.update((prompt_id, ordinal) for ordinal in free.ordinals)
        row = call_row(
            free,
            prompt_id,
            kind="sample",
            provider=intent.provider,
            request_id=intent.request_id,
            lease=intent.lease,
            estimate=estimate,
            run=intent.run,
        )
        rows.append(row)
        ordinals.append(free.ordinals)
    if rows:
        for call in insert_calls(connection, rows, ordinals):
            results[call.request_id] = call
        reserved = [(row["run"], row["estimate"] or 0) for row in rows]
        add_to_runs(connection, reserved)
    return results


def call_row(
    ask: Ask,
    prompt_id: int,
    **values: object,
) -> dict[str, Any]:
    """Return the row of a call that is about to be made."""
    first = ask.ordinals[0]
    return {
        "prompt": prompt_id,
        "state": CallState.ASKED,
        "first": first,
        "asked": len(ask.ordinals),
        "max_tokens": stored_cap(ask.prompt),
        "seed": ask.prompt.seed_from(first),
        "began": time.time(),
        **values,
    }


def insert_calls(
    connection: Connection,
    rows: Sequence[dict[str, Any]],
    ordinals: Sequence[tuple[int, ...]],
) -> list[Call]:
    """Add calls, given by their rows and the ordinals that each reserves."""
    numbers = connection.execute(_INSERT, rows).scalars()
    new_calls = []
    chained = []
    claim_rows = []
    for number, row, call_ordinals in zip(numbers, rows, ordinals, strict=True):
        prompt_id = row["prompt"]
        call = Call(
            number,
            prompt_id,
            request_id=row["request_id"],
            began=row["began"],
            ordinals=call_ordinals,
        )
        new_calls.append(call)
        chained.append({"id": number, "claims": call_ordinals, **row})
        for ordinal in call_ordinals:
            reserved = {"prompt": prompt_id, "ordinal": ordinal, "call": number}
            claim_rows.append(reserved)
    record_changes(connection, calls, chained)
    connection.execute(claims.insert(), claim_rows)
    return new_calls


_INSERT = calls.insert().returning(calls.c.id, sort_by_parameter_order=True)


def first_ask_with_free_ordinals(
    candidates: Sequence[Ask],
    prompt_ids: Mapping[_PromptKey, int],
    taken: Collection[tuple[int, int]],
) -> Ask | None:
    """Return the first ask with free ordinals, reduced to those; None without one."""
    for ask in candidates:
        prompt_id = prompt_ids[ask.prompt.key]
        free = tuple(
            ordinal for ordinal in ask.ordinals if (prompt_id, ordinal) not in taken
        )
        if free:
            return Ask(ask.prompt, free)
    return None


def taken_ordinals(
    connection: Connection,
    asks: Sequence[tuple[int, Ask]],
) -> set[tuple[int, int]]:
    """Return the (prompt row, ordinal) pairs of these asks that are taken."""
    prompt_ids: set[int] = set()
    ordinals: set[int] = set()
    for prompt_id, ask in asks:
        prompt_ids.add(prompt_id)
        ordinals.update(ask.ordinals)
    taken: set[tuple[int, int]] = set()
    for some in split_for_statement(list(prompt_ids)):
        bounds = {
            "prompts": some,
            "least": min(ordinals),
            "most": max(ordinals),
        }
        for prompt_id, ordinal in connection.execute(_TAKEN, bounds):
            taken.add((prompt_id, ordinal))
    return taken


def _ordinals_between(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table.c.prompt, table.c.ordinal).where(
        table.c.prompt.in_(bound_list("prompts")),
        table.c.ordinal.between(sa.bindparam("least"), sa.bindparam("most")),
    )


_TAKEN = sa.union_all(
    _ordinals_between(claims),
    _ordinals_between(generations),
)


def _calls_reserved_earlier(
    connection: Connection,
    intents: Sequence[Intent],
) -> dict[str, Call]:
    """Return calls recorded before the connection broke, by request id."""
    if connection.dialect.name == "sqlite":
        return {}  # it has no connection that can break
    requests = [intent.request_id for intent in intents]
    earlier = open_calls(connection, calls.c.request_id.in_(requests))
    return {call.request_id: call for call in earlier}


def budget_error(
    spent: int,
    estimate: int,
    limit: int | None,
) -> BudgetExceeded | None:
    """Build the error of what may exceed the budget; None for what can't.

    Amounts are billionths of a US$.
    """
    if limit is None or spent + estimate <= limit:
        return None
    return BudgetExceeded(
        f"Budget: US${spent / 1e9:.4f} of US${limit / 1e9:.2f} is spent or reserved; "
        f"the next call may cost US${estimate / 1e9:.4f}",
        hint="raise the budget and rerun; stored generations are reused",
    )


class Sampler(Protocol):
    """The part of a `Provider` that the run loop needs; every Provider satisfies it."""

    name: str
    concurrency: int | None
    completions_per_call: int
    batch: bool


@dataclass(slots=True)
class OwnEndpoint:
    """The Sampler of an endpoint that a test created itself."""

    name: str = OWN_PROVIDER
    concurrency: int | None = 1
    completions_per_call: int = 1
    batch: bool = False


@dataclass(frozen=True, slots=True)
class CallTerms:
    """An endpoint's call settings and its price.

    price: US$ per million tokens, of the prompt and of completions; None if unknown
    free:  whether its provider costs nothing
    """

    sampler: Sampler
    price: tuple[float, float] | None = None
    free: bool = False

    def prompt_tokens(self, prompt: PromptSpec) -> int:
        """Count a prompt's tokens: by the provider, else as 4/3 of its words."""
        if prompt.most_prompt_tokens is not None:
            return prompt.most_prompt_tokens
        count_tokens = abilities_of(self.sampler).count_tokens
        if count_tokens is not None:
            return sum(map(count_tokens, (*prompt.before, prompt.instruction)))
        return math.ceil(prompt.prompt_words * TOKENS_PER_WORD)

    def estimate(self, ask: Ask) -> int | None:
        """Return a call's highest cost, in billionths of a US$."""
        most_completion_tokens = len(ask.ordinals) * ask.prompt.max_tokens
        return self.cost(self.prompt_tokens(ask.prompt), most_completion_tokens)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the price in billionths of a US$, rounded up; None without a price."""
        if self.price is None:
            return None
        input_price, output_price = self.price
        prompt_cost = prompt_tokens * input_price * 1000
        completion_cost = completion_tokens * output_price * 1000
        # A price such as 0.1 has no exact binary form.
        return math.ceil(round(prompt_cost + completion_cost, 3))

    def billed(
        self,
        prompt: PromptSpec,
        completions: Sequence[Completion],
    ) -> tuple[int | None, int | None, int | None]:
        """Return prompt tokens, completion tokens, and cost of an answered call.

        A call's prompt tokens come with its first completion, or not at all. Missing
        counts are None and billed as estimated: the prompt as counted, a completion at
        its maximum.
        """
        prompt_counts = [
            completion.prompt_tokens
            for completion in completions
            if completion.prompt_tokens is not None
        ]
        prompt_tokens = sum(prompt_counts) if prompt_counts else None
        completion_tokens: int | None = 0
        billed_tokens = 0
        for completion in completions:
            count = completion.completion_tokens
            if count is None:
                completion_tokens = None
                billed_tokens += prompt.max_tokens
                continue
            billed_tokens += count
            if completion_tokens is not None:
                completion_tokens += count
        billed_prompt = prompt_tokens
        if billed_prompt is None:
            billed_prompt = self.prompt_tokens(prompt)
        cost = self.cost(billed_prompt, billed_tokens)
        return prompt_tokens, completion_tokens, cost


_NO_PRICE = (
    "add price = { input = ..., output = ... } (US$ per million tokens) to the "
    "[[model]]; 0 if the model is free"
)


def budget_limit(
    budget: float | None,
    price: object,
    *,
    location: str,
    needs: str = "a price for the model",
    hint: str = _NO_PRICE,
) -> int | None:
    """Return the budget in billionths of a US$.

    Raises SettingsError for an invalid budget, and for a budget without a price.
    """
    if budget is None:
        return None
    if not budget >= 0 or math.isinf(budget):
        raise SettingsError(f"The budget is {budget}; expected US$0 or more")
    if price is None:
        raise SettingsError(f"A budget needs {needs}", location=location, hint=hint)
    return math.floor(budget * 1e9)
