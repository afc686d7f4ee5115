"""Outcomes of paid calls: answered, failed, lost, or postponed; and the spending of a run.

    asked ──> answered      completions stored in the same transaction
      │  └──> failed        rejected: not billed, its ordinals are free again
      │  └──> lost          outcome unknown: counts as billed, its ordinals are free again
      └─────> waiting       not billed, to be sent again after a pause

call_reservations.py creates calls; sampling/interrupted_calls.py settles those that a
killed process left `asked`. An answer that arrives after its call was given up is still
recorded. If another call has filled its ordinal by then, it gets an ordinal below 0: it
was paid.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.generation_texts import insert_generations
from pytest_memleak.ledger.hash_chain import Row, add_row, changed, update_row
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import (
    calls,
    claims,
    generations,
    in_parts,
    questions,
    runs,
)


class CallState(StrEnum):
    """The state of a call."""

    ASKED = "asked"
    WAITING = "waiting"
    ANSWERED = "answered"
    FAILED = "failed"
    LOST = "lost"


# The cause of a call that was given up without having reached the server.
NOT_SENT = "it never reached the server"

OPEN = (CallState.ASKED, CallState.WAITING)

# Every open call reserves ordinals; few calls are open.
HAS_CLAIMS = calls.c.id.in_(sa.select(claims.c.call))


@dataclass(frozen=True, slots=True)
class Call:
    """A reserved call: its identity, and the ordinals its answer fills."""

    id: int
    question: int
    request_id: str
    began: float
    ordinals: tuple[int, ...]


def open_calls(
    connection: Connection, *conditions: sa.ColumnElement[bool]
) -> list[Call]:
    """List the calls that wait for an answer, among those that match `conditions`."""
    rows = connection.execute(
        sa.select(
            calls.c.id,
            calls.c.question,
            calls.c.request_id,
            calls.c.began,
            claims.c.ordinal,
        )
        .join(claims, claims.c.call == calls.c.id)
        .where(HAS_CLAIMS, calls.c.state == CallState.ASKED, *conditions)
        .order_by(calls.c.id, claims.c.ordinal)
    ).all()
    by_call = (
        list(several) for _, several in itertools.groupby(rows, key=lambda row: row.id)
    )
    return [
        Call(*several[0][:4], tuple(row.ordinal for row in several))
        for several in by_call
    ]


def prompt_ids_by_key(
    connection: Connection, endpoint_id: str, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """Return the row ids of those prompts that were sent to the endpoint."""
    columns = (
        questions.c.instruction_digest,
        questions.c.settings_digest,
        questions.c.id,
    )
    rows = connection.execute(
        sa.select(*columns).where(questions.c.endpoint == endpoint_id)
    )
    return {
        (instruction, settings): number
        for instruction, settings, number in rows
        if (instruction, settings) in keys
    }


def outcomes_in_run(
    connection: Connection, run: str, endpoint_id: str
) -> tuple[bool, bool]:
    """Tell whether a call of the run to an endpoint was answered, and whether one was NOT_SENT."""
    calls_of_run = (
        sa.select(calls.c.id)
        .join(questions, questions.c.id == calls.c.question)
        .where(questions.c.endpoint == endpoint_id, calls.c.run == run)
        .limit(1)
    )
    answered = calls_of_run.where(calls.c.state == CallState.ANSWERED)
    in_vain = calls_of_run.where(
        calls.c.state == CallState.FAILED, calls.c.cause == NOT_SENT
    )
    results = [
        connection.execute(query).first() is not None for query in (answered, in_vain)
    ]
    return results[0], results[1]


def run_spending(connection: Connection, run_ids: set[str]) -> Counter[str]:
    """Return each run's spending, its open calls at their highest cost."""
    if not run_ids:
        return Counter()
    rows = connection.execute(_SPENT, {"wanted": list(run_ids)})
    return Counter({row.id: row.spent for row in rows})


def add_to_runs(connection: Connection, sums: Iterable[tuple[str | None, int]]) -> None:
    """Add amounts (billionths of a US$, possibly negative) to the spending of their runs."""
    by_run: Counter[str] = Counter()
    for run, amount in sums:
        if run is not None and amount:
            by_run[run] += amount
    for run, amount in by_run.items():
        added = connection.execute(_ADD, {"run": run, "amount": amount})
        if added.rowcount == 0:
            add_row(
                connection, runs, {"id": run, "spent": amount, "began": time.time()}
            )


# Building a statement takes longer than running it.
_SPENT = sa.select(runs.c.id, runs.c.spent).where(
    runs.c.id.in_(sa.bindparam("wanted", expanding=True))
)
_ADD = (
    runs.update()
    .where(runs.c.id == sa.bindparam("run"))
    .values(spent=runs.c.spent + sa.bindparam("amount"))
)


_OUTCOME = (
    *(
        "state",
        "came",
        "recovered",
        "prompt_tokens",
        "completion_tokens",
        "cost",
        "ended",
    ),
    *("model", "fingerprint", "response_id", "refused"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call; `cost` is what was billed, in billionths of a US$."""

    call: Call
    completions: Sequence[Completion]
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: int | None
    recovered: bool = False


def record(ledger: Ledger, answer: Answer) -> bool:
    """Store an answer whatever its call's state; return False if it was stored before."""
    return ledger.write_each(record_each, answer)


def record_each(
    connection: Connection, answers: Sequence[Answer]
) -> list[bool | Exception]:
    """Store several answers; the work of `Ledger.write_each`."""
    rows_before = {
        row.id: row
        for row in connection.execute(
            _BEFORE, {"calls": [answer.call.id for answer in answers]}
        )
    }
    new = [
        answer
        for answer in answers
        if rows_before[answer.call.id].state != CallState.ANSWERED
    ]
    if new:
        connection.execute(_FREE, {"calls": [answer.call.id for answer in new]})
        placed = {
            answer.call.id: ordinals for answer, ordinals in _placed(connection, new)
        }
        images = insert_generations(
            connection,
            [
                (
                    answer.call.question,
                    answer.call.id,
                    placed[answer.call.id],
                    answer.completions,
                )
                for answer in new
            ],
        )
        outcomes = [_outcome(answer) for answer in new]
        connection.execute(
            _ANSWERED,
            [{f"new_{name}": value for name, value in row.items()} for row in outcomes],
        )
        ended = {"claims": None}
        changed(
            connection,
            calls,
            (row | ended | images.get(row["id"], {}) for row in outcomes),
        )
        costs = [(rows_before[answer.call.id], answer.cost or 0) for answer in new]
        add_to_runs(
            connection, ((row.run, cost - _reserved(row)) for row, cost in costs)
        )
    kept = {id(answer) for answer in new}
    return [id(answer) in kept for answer in answers]


_BEFORE = sa.select(calls.c.id, calls.c.state, calls.c.estimate, calls.c.run).where(
    calls.c.id.in_(sa.bindparam("calls", expanding=True))
)
_FREE = claims.delete().where(claims.c.call.in_(sa.bindparam("calls", expanding=True)))
_STORED = sa.select(generations.c.question, generations.c.ordinal).where(
    generations.c.question.in_(sa.bindparam("questions", expanding=True)),
    sa.or_(
        generations.c.ordinal < 0,
        generations.c.ordinal.between(sa.bindparam("least"), sa.bindparam("most")),
    ),
)
_ANSWERED = (
    calls.update()
    .where(calls.c.id == sa.bindparam("new_id"))
    .values({name: sa.bindparam(f"new_{name}") for name in _OUTCOME})
)


def _outcome(answer: Answer) -> dict[str, Any]:
    served = [
        completion.served
        for completion in answer.completions
        if completion.served is not None
    ]
    fields = {
        "model": _all_of(identity.model for identity in served),
        "fingerprint": _all_of(identity.fingerprint for identity in served),
        "response_id": _all_of(identity.response_id for identity in served),
    }
    refused = dict.fromkeys(name for identity in served for name in identity.refused)
    return {
        **fields,
        "refused": json.dumps(list(refused)) if served else None,
        "id": answer.call.id,
        "state": CallState.ANSWERED,
        "came": len(answer.completions),
        "recovered": answer.recovered,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "cost": answer.cost,
        "ended": time.time(),
    }


def _all_of(values: Iterable[str | None]) -> str | None:
    """Join the distinct values that a call's completions report: differing servers must show."""
    return (
        ", ".join(dict.fromkeys(value for value in values if value is not None)) or None
    )


def _placed(
    connection: Connection, answers: Sequence[Answer]
) -> Iterator[tuple[Answer, list[int]]]:
    """Yield the completions' ordinals: the call's own while they are free, then below 0."""
    taken: dict[int, set[int]] = defaultdict(set)
    question_ids = list({answer.call.question for answer in answers})
    ordinals = [ordinal for answer in answers for ordinal in answer.call.ordinals] or [
        0
    ]
    bounds = {"questions": question_ids, "least": min(ordinals), "most": max(ordinals)}
    for question, ordinal in connection.execute(_STORED, bounds):
        taken[question].add(ordinal)
    for answer in answers:
        occupied = taken[answer.call.question]
        free = iter(
            [ordinal for ordinal in answer.call.ordinals if ordinal not in occupied]
        )
        ordinals = []
        for _ in answer.completions:
            ordinal = next(free, None)
            if ordinal is None:
                ordinal = min(0, *occupied) - 1
            occupied.add(ordinal)
            ordinals.append(ordinal)
        yield answer, ordinals


def give_up(ledger: Ledger, call: Call, *, billed: bool, cause: str | None) -> None:
    """End an open call without an answer: `lost` if it may have been billed, else `failed`.

    `cause` must be masked.
    """
    ledger.write(
        lambda connection: end_open_calls(
            connection, [call.id], billed=billed, cause=cause
        )
    )


def end_open_calls(
    connection: Connection, numbers: Sequence[int], *, billed: bool, cause: str | None
) -> None:
    """End the calls that are still open, and free their ordinals."""
    for some in in_parts(numbers):
        still_open = connection.execute(
            sa.select(calls.c.id, calls.c.estimate, calls.c.run).where(
                calls.c.id.in_(some), calls.c.state.in_(OPEN)
            )
        ).all()
        ids = [row.id for row in still_open]
        connection.execute(claims.delete().where(claims.c.call.in_(ids)))
        ended: Row = {
            "state": CallState.LOST if billed else CallState.FAILED,
            "cause": cause,
            "ended": time.time(),
        }
        connection.execute(
            calls.update()
            .where(calls.c.id.in_(ids))
            .values(ended | {"cost": calls.c.estimate if billed else 0})
        )
        changed(
            connection,
            calls,
            (
                {"id": row.id, "claims": None, "cost": row.estimate if billed else 0}
                | ended
                for row in still_open
            ),
        )
        if not billed:
            add_to_runs(
                connection, ((row.run, -(row.estimate or 0)) for row in still_open)
            )


def postpone(ledger: Ledger, call: Call) -> None:
    """Record that a call was rejected unbilled and will be sent again."""
    _change(
        ledger,
        call,
        CallState.ASKED,
        {"state": CallState.WAITING, "began": time.time()},
    )


def resume(ledger: Ledger, call: Call) -> None:
    """Record that a postponed call is about to be sent again."""
    _change(
        ledger,
        call,
        CallState.WAITING,
        {"state": CallState.ASKED, "began": time.time()},
    )


def leave_open(ledger: Ledger, call: Call) -> None:
    """Release a call with an unknown outcome to the next process that samples its prompt."""
    _change(ledger, call, CallState.ASKED, {"lease": None})


def _change(ledger: Ledger, call: Call, before: CallState, values: Row) -> None:
    ledger.write(
        lambda connection: update_row(
            connection, calls, call.id, values, calls.c.state == before
        )
    )


def _reserved(row: Any) -> int:
    """Return the part of a call's cost that counts as spent: nothing if it failed."""
    return 0 if row.state == CallState.FAILED else row.estimate or 0
