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
    Answer,
    Call,
    CallState,
    add_to_runs,
    open_calls,
    prompt_ids_by_key,
    record_each,
    run_spending,
)
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import (
    TOKENS_PER_WORD,
    Ask,
    PromptSpec,
    row_of_prompt,
)
from pytest_memleak.ledger.tables import (
    calls,
    claims,
    generations,
    in_parts,
    insert_where_new,
    questions,
)


@dataclass(frozen=True, slots=True)
class Intent:
    """A call to make: the first of `candidates` that has a free ordinal.

    numbers:  the prompts' row ids, by key
    estimate: a call's highest cost in billionths of a US$; None without a price
    limit:    the run's budget in billionths of a US$; None without one
    """

    lease: int
    run: str
    provider: str
    candidates: Sequence[Ask]
    numbers: Mapping[tuple[str, str], int]
    estimate: Callable[[Ask], int | None]
    limit: int | None = None
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def prompt_ids(
    ledger: Ledger, endpoint_id: str, prompt_specs: Iterable[PromptSpec]
) -> dict[tuple[str, str], int]:
    """Return the row ids of an endpoint's prompts by key; new prompts are added."""
    prompt_specs = tuple(prompt_specs)
    rows = [
        {"endpoint": endpoint_id, **row_of_prompt(question)}
        for question in prompt_specs
    ]

    def work(connection: Connection) -> dict[tuple[str, str], int]:
        if rows:
            new = insert_where_new(connection, questions).returning(questions)
            changed(connection, questions, connection.execute(new, rows).mappings())
        keys = {question.key for question in prompt_specs}
        return prompt_ids_by_key(connection, endpoint_id, keys)

    return ledger.write(work)


def claim(
    ledger: Ledger, intent: Intent, *, after: Answer | None = None
) -> Call | None:
    """Record that a call is about to be made, and reserve its ordinals.

    `after`, the answer to the previous call, is recorded in the same transaction in any
    case. Returns None if every ordinal of every candidate is sampled or reserved.
    Raises BudgetExceeded if the call could cost more than the run has left.
    """
    return ledger.write_each(_record_and_claim, (after, intent))


def _record_and_claim(
    connection: Connection, items: Sequence[tuple[Answer | None, Intent]]
) -> list[Call | Exception | None]:
    answers = [answer for answer, _ in items if answer is not None]
    if answers:
        record_each(connection, answers)
    return _claim_each(connection, [intent for _, intent in items])


def _claim_each(
    connection: Connection, intents: Sequence[Intent]
) -> list[Call | Exception | None]:
    taken = taken_ordinals(
        connection,
        [
            (intent.numbers[ask.question.key], ask)
            for intent in intents
            for ask in intent.candidates
        ],
    )
    claimed = _claimed_before(connection, intents)
    spent = run_spending(
        connection, {intent.run for intent in intents if intent.limit is not None}
    )
    results: list[Call | Exception | None] = []
    rows: list[dict[str, Any]] = []
    places: list[tuple[int, tuple[int, ...]]] = []
    for intent in intents:
        chosen = (
            None
            if intent.request_id in claimed
            else first_free(intent.candidates, intent.numbers, taken)
        )
        if chosen is None:
            results.append(claimed.get(intent.request_id))
            continue
        estimate = intent.estimate(chosen)
        if (
            intent.limit is not None
            and spent[intent.run] + (estimate or 0) > intent.limit
        ):
            results.append(
                budget_exceeded(spent[intent.run], estimate or 0, intent.limit)
            )
            continue
        spent[intent.run] += estimate or 0
        question = intent.numbers[chosen.question.key]
        taken.update((question, ordinal) for ordinal in chosen.ordinals)
        places.append((len(results), chosen.ordinals))
        results.append(None)
        rows.append(
            call_row(
                chosen,
                question,
                kind="sample",
                provider=intent.provider,
                request_id=intent.request_id,
                lease=intent.lease,
                estimate=estimate,
                run=intent.run,
            )
        )
    if rows:
        numbers = insert_calls(connection, rows, [ordinals for _, ordinals in places])
        for (at, ordinals), row, number in zip(places, rows, numbers, strict=True):
            results[at] = Call(
                number, row["question"], row["request_id"], row["began"], ordinals
            )
        add_to_runs(connection, ((row["run"], row["estimate"] or 0) for row in rows))
    return results


def call_row(ask: Ask, question: int, **values: object) -> dict[str, Any]:
    """Return the row of a call that is about to be made."""
    return {
        "question": question,
        "state": CallState.ASKED,
        "first": ask.ordinals[0],
        "asked": len(ask.ordinals),
        "max_tokens": ask.question.max_tokens,
        "seed": ask.question.seed_from(ask.ordinals[0]),
        "began": time.time(),
        **values,
    }


def insert_calls(
    connection: Connection,
    rows: Sequence[dict[str, Any]],
    ordinals: Sequence[tuple[int, ...]],
) -> list[int]:
    """Add calls and their reserved ordinals; return the calls' row ids."""
    numbers = list(connection.execute(_INSERT, rows).scalars())
    changed(
        connection,
        calls,
        (
            {"id": number, "claims": call_ordinals, **row}
            for row, number, call_ordinals in zip(rows, numbers, ordinals, strict=True)
        ),
    )
    connection.execute(
        claims.insert(),
        [
            {"question": row["question"], "ordinal": ordinal, "call": number}
            for row, number, call_ordinals in zip(rows, numbers, ordinals, strict=True)
            for ordinal in call_ordinals
        ],
    )
    return numbers


_INSERT = calls.insert().returning(calls.c.id, sort_by_parameter_order=True)


def first_free(
    candidates: Sequence[Ask],
    numbers: Mapping[tuple[str, str], int],
    taken: Collection[tuple[int, int]],
) -> Ask | None:
    """Return the first ask with free ordinals, reduced to those; None if all are taken."""
    for ask in candidates:
        question = numbers[ask.question.key]
        free = tuple(
            ordinal for ordinal in ask.ordinals if (question, ordinal) not in taken
        )
        if free:
            return Ask(ask.question, free)
    return None


def taken_ordinals(
    connection: Connection, asks: Sequence[tuple[int, Ask]]
) -> set[tuple[int, int]]:
    """Return the (prompt row, ordinal) pairs of these asks that are taken."""
    ordinals = [ordinal for _, ask in asks for ordinal in ask.ordinals]
    return {
        (question, ordinal)
        for some in in_parts(list({question for question, _ in asks}))
        for question, ordinal in connection.execute(
            _TAKEN, {"questions": some, "least": min(ordinals), "most": max(ordinals)}
        )
    }


_TAKEN = sa.union_all(
    *(
        sa.select(table.c.question, table.c.ordinal).where(
            table.c.question.in_(sa.bindparam("questions", expanding=True)),
            table.c.ordinal.between(sa.bindparam("least"), sa.bindparam("most")),
        )
        for table in (claims, generations)
    )
)


def _claimed_before(
    connection: Connection, intents: Sequence[Intent]
) -> dict[str, Call]:
    """Return calls recorded before the connection broke, by request id."""
    if connection.dialect.name == "sqlite":  # it has no connection that can break
        return {}
    requests = [intent.request_id for intent in intents]
    earlier = open_calls(connection, calls.c.request_id.in_(requests))
    return {call.request_id: call for call in earlier}


def budget_exceeded(spent: int, estimate: int, limit: int) -> BudgetExceeded:
    """Build the error for a call that may exceed the budget; amounts in billionths of a US$."""
    return BudgetExceeded(
        f"Budget: US${spent / 1e9:.4f} of US${limit / 1e9:.2f} is spent or reserved; "
        "the next call"
        f" may cost US${estimate / 1e9:.4f}",
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
    """An endpoint's call settings and its price (US$ per million tokens: input, output).

    free: whether its provider costs nothing
    """

    sampler: Sampler
    price: tuple[float, float] | None = None
    free: bool = False

    def prompt_tokens(self, question: PromptSpec) -> int:
        """Count a prompt's tokens: by the provider, else as 4/3 of its words."""
        if (count_tokens := abilities_of(self.sampler).count_tokens) is not None:
            return count_tokens(question.instruction)
        return math.ceil(question.prompt_words * TOKENS_PER_WORD)

    def estimate(self, ask: Ask) -> int | None:
        """Return a call's highest cost, in billionths of a US$."""
        return self.cost(
            self.prompt_tokens(ask.question),
            len(ask.ordinals) * ask.question.max_tokens,
        )

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the price in billionths of a US$, rounded up; None without a price."""
        if self.price is None:
            return None
        input_price, output_price = self.price
        # A price such as 0.1 has no exact binary form.
        exact = (
            prompt_tokens * input_price * 1000 + completion_tokens * output_price * 1000
        )
        return math.ceil(round(exact, 3))

    def billed(
        self, question: PromptSpec, completions: Sequence[Completion]
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
        counts = [completion.completion_tokens for completion in completions]
        reported = [tokens for tokens in counts if tokens is not None]
        prompt_tokens = sum(prompt_counts) if prompt_counts else None
        completion_tokens = sum(reported) if len(reported) == len(counts) else None
        cost = self.cost(
            self.prompt_tokens(question) if prompt_tokens is None else prompt_tokens,
            sum(question.max_tokens if tokens is None else tokens for tokens in counts),
        )
        return prompt_tokens, completion_tokens, cost


_NO_PRICE = (
    "add price = { input = ..., output = ... } (US$ per million tokens) to the "
    "[[model]]; 0 if the"
    " model is free"
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
