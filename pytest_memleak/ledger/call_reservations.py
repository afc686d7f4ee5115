"""Before a paid call: its ordinals are claimed and the intent is written down.

    numbers = number_questions(ledger, endpoint_id, questionnaire.questions)
    call = claim(ledger, Intent(...))         # None where others draw all that was wanted

Claim and intent are one transaction, in which nobody else writes: two processes never draw the
same ordinal, and together they never reserve more than the budget.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import BudgetExceeded
from pytest_memleak.ledger.call_results import Answer, record_each
from pytest_memleak.ledger.calls import (
    QUESTIONS_AT_ONCE,
    Call,
    CallState,
    add_to_runs,
    open_calls,
    spent_by,
)
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.inserts import insert_where_new
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import Ask, PromptSpec, kept_temperature
from pytest_memleak.ledger.tables import calls, claims, generations, questions


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be asked: the first of `candidates` that has an ordinal left.

    numbers:  the questions' rows, by key
    estimate: the most that a call may cost, in billionths of a US$; None without a price
    limit:    the most that the run may spend, in the same; None without a budget
    """

    lease: int
    run: str
    provider: str
    candidates: Sequence[Ask]
    numbers: Mapping[tuple[str, str], int]
    estimate: Callable[[Ask], int | None]
    limit: int | None = None
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def number_questions(
    ledger: Ledger, endpoint_id: str, wanted: Iterable[PromptSpec]
) -> dict[tuple[str, str], int]:
    """The rows of the questions put to an endpoint, by key; those that are new are added."""
    rows = [
        {
            "endpoint": endpoint_id,
            "instruction_digest": one.instruction_digest,
            "settings_digest": one.settings_digest,
            "book": one.book_id,
            "book_words": one.book_words,
            "excerpt": one.excerpt_id,
            "instruction": one.instruction,
            "temperature": kept_temperature(one.temperature),
            "max_tokens": one.max_tokens,
            "seed": one.seed,
        }
        for one in wanted
    ]

    def work(connection: Connection) -> dict[tuple[str, str], int]:
        if rows:
            new = insert_where_new(connection, questions).returning(questions.c.id)
            changed(connection, questions, connection.execute(new, rows).scalars())
        found = connection.execute(
            sa.select(
                questions.c.instruction_digest, questions.c.settings_digest, questions.c.id
            ).where(questions.c.endpoint == endpoint_id)
        )
        keys = {(row["instruction_digest"], row["settings_digest"]) for row in rows}
        return {(a, b): number for a, b, number in found if (a, b) in keys}

    return ledger.write(work)


def claim(ledger: Ledger, intent: Intent, *, after: Answer | None = None) -> Call | None:
    """Write down that a call is about to be made, and that its ordinals are taken.

    `after`, the answer to the call before, is recorded in the same transaction, whatever
    becomes of the claim. None where every ordinal of every candidate is drawn or being drawn.
    Raises BudgetExceeded where the call could cost more than the run has left.
    """
    return ledger.write_each(_record_and_claim, (after, intent))


def _record_and_claim(
    connection: Connection, items: Sequence[tuple[Answer | None, Intent]]
) -> list[Call | Exception | None]:
    answers = [answer for answer, _ in items if answer is not None]
    if answers:
        record_each(connection, answers)
    return _claim_each(connection, [intent for _, intent in items])


def _claim_each(connection: Connection, intents: Sequence[Intent]) -> list[Call | Exception | None]:
    taken = taken_of(
        connection,
        [(one.numbers[ask.question.key], ask) for one in intents for ask in one.candidates],
    )
    done = _claimed_before(connection, intents)
    spent = spent_by(connection, {one.run for one in intents if one.limit is not None})
    results: list[Call | Exception | None] = []
    rows: list[dict[str, Any]] = []
    places: list[tuple[int, tuple[int, ...]]] = []
    for intent in intents:
        chosen = (
            None
            if intent.request_id in done
            else first_free(intent.candidates, intent.numbers, taken)
        )
        if chosen is None:
            results.append(done.get(intent.request_id))
            continue
        estimate = intent.estimate(chosen)
        if intent.limit is not None and spent[intent.run] + (estimate or 0) > intent.limit:
            results.append(over_budget(spent[intent.run], estimate or 0, intent.limit))
            continue
        spent[intent.run] += estimate or 0
        question = intent.numbers[chosen.question.key]
        taken.update((question, ordinal) for ordinal in chosen.ordinals)
        places.append((len(results), chosen.ordinals))
        results.append(None)
        rows.append(_row(intent, chosen, question, estimate))
    if rows:
        numbers = insert_calls(connection, rows, [ordinals for _, ordinals in places])
        for (at, ordinals), row, number in zip(places, rows, numbers, strict=True):
            results[at] = Call(number, row["question"], row["request_id"], row["began"], ordinals)
        add_to_runs(connection, ((row["run"], row["estimate"] or 0) for row in rows))
    return results


def _row(intent: Intent, ask: Ask, question: int, estimate: int | None) -> dict[str, Any]:
    return {
        "question": question,
        "kind": "sample",
        "provider": intent.provider,
        "request_id": intent.request_id,
        "state": CallState.ASKED,
        "lease": intent.lease,
        "first": ask.ordinals[0],
        "asked": len(ask.ordinals),
        "max_tokens": ask.question.max_tokens,
        "seed": ask.question.seed_from(ask.ordinals[0]),
        "estimate": estimate,
        "began": time.time(),
        "run": intent.run,
    }


def insert_calls(
    connection: Connection, rows: Sequence[dict[str, Any]], ordinals: Sequence[tuple[int, ...]]
) -> list[int]:
    """Add calls and the claims they hold; returns the calls' numbers."""
    found = list(connection.execute(_INSERT, rows).scalars())
    changed(connection, calls, found)
    connection.execute(
        claims.insert(),
        [
            {"question": row["question"], "ordinal": ordinal, "call": number}
            for row, number, several in zip(rows, found, ordinals, strict=True)
            for ordinal in several
        ],
    )
    return found


_INSERT = calls.insert().returning(calls.c.id, sort_by_parameter_order=True)


def first_free(
    candidates: Sequence[Ask],
    numbers: Mapping[tuple[str, str], int],
    taken: Collection[tuple[int, int]],
) -> Ask | None:
    """The first ask of which ordinals are free, with just those; None where all are taken."""
    for ask in candidates:
        question = numbers[ask.question.key]
        free = tuple(one for one in ask.ordinals if (question, one) not in taken)
        if free:
            return Ask(ask.question, free)
    return None


def taken_of(connection: Connection, asks: Sequence[tuple[int, Ask]]) -> set[tuple[int, int]]:
    """Which ordinals, by question, of these asks (with their questions' rows) are not free."""
    ordinals = [ordinal for _, ask in asks for ordinal in ask.ordinals]
    numbers = list({question for question, _ in asks})
    return {
        (question, ordinal)
        for start in range(0, len(numbers), QUESTIONS_AT_ONCE)
        for question, ordinal in connection.execute(
            _TAKEN,
            {
                "questions": numbers[start : start + QUESTIONS_AT_ONCE],
                "least": min(ordinals),
                "most": max(ordinals),
            },
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


def _claimed_before(connection: Connection, intents: Sequence[Intent]) -> dict[str, Call]:
    """The calls that were written down before the connection broke, by request id."""
    if connection.dialect.name == "sqlite":  # nothing there that breaks
        return {}
    requests = [one.request_id for one in intents]
    if not connection.execute(_KNOWN, {"requests": requests}).first():
        return {}
    found = open_calls(connection, calls.c.request_id.in_(requests))
    return {call.request_id: call for call in found}


_KNOWN = sa.select(calls.c.id).where(
    calls.c.request_id.in_(sa.bindparam("requests", expanding=True))
)


def over_budget(spent: int, estimate: int, limit: int) -> BudgetExceeded:
    """The error for a call that may cost more than is left; all in billionths of a US$."""
    return BudgetExceeded(
        f"US$ {spent / 1e9:.4f} of {limit / 1e9:.2f} are spent or promised, and the next call"
        f" may cost {estimate / 1e9:.4f}",
        hint="raise the budget and run again: what was drawn is kept",
    )
