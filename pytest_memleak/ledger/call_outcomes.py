"""Outcomes of paid calls (answered, failed, lost, postponed), and a run's spending.

    asked ──> answered      completions stored in the same transaction
      │  └──> failed        rejected: not billed, its ordinals are free again
      │  └──> lost          unknown: counts as billed, its ordinals are free again
      └─────> waiting       not billed, to be sent again after a pause

call_reservations.py creates calls; sampling/calls_of_dead_processes.py settles those
that a killed process left `asked`. An answer that arrives after its call was given up
is still recorded. If another call has filled its ordinal by then, it is surplus: it was
paid.
"""

from __future__ import annotations

import itertools
import json
import operator
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_states import (
    IS_ANSWERED,
    IS_OPEN,
    NOT_SENT,
    CallState,
    spent_without_answer,
)
from pytest_memleak.ledger.generation_ordinals import IS_SURPLUS
from pytest_memleak.ledger.generation_texts import CallCompletions, insert_generations
from pytest_memleak.ledger.hash_chain import Row, add_row, record_changes, update_row
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.statements import bound_list, split_for_statement
from pytest_memleak.ledger.tables import (
    calls,
    claims,
    generations,
    runs,
    stored_prompts,
)

# Every open call reserves ordinals; few calls are open.
_CALLS_WITH_CLAIMS = sa.select(claims.c.call)
HAS_CLAIMS = calls.c.id.in_(_CALLS_WITH_CLAIMS)


@dataclass(frozen=True, slots=True)
class Call:
    """A reserved call: its identity, and the ordinals its answer fills."""

    id: int
    prompt: int
    request_id: str
    began: float
    ordinals: tuple[int, ...]


def open_calls(
    connection: Connection,
    *conditions: sa.ColumnElement[bool],
) -> list[Call]:
    """List the calls that wait for an answer, among those that match `conditions`."""
    rows = connection.execute(
        sa.select(
            calls.c.id,
            calls.c.prompt,
            calls.c.request_id,
            calls.c.began,
            claims.c.ordinal,
        )
        .join(claims, claims.c.call == calls.c.id)
        .where(HAS_CLAIMS, calls.c.state == CallState.ASKED, *conditions)
        .order_by(calls.c.id, claims.c.ordinal),
    ).all()
    open_calls = []
    by_call = operator.attrgetter("id")
    for _, group in itertools.groupby(rows, key=by_call):
        call_rows = list(group)
        first = call_rows[0]
        call = Call(
            id=first.id,
            prompt=first.prompt,
            request_id=first.request_id,
            began=first.began,
            ordinals=tuple(row.ordinal for row in call_rows),
        )
        open_calls.append(call)
    return open_calls


def prompt_ids_by_key(
    connection: Connection,
    endpoint_id: str,
    keys: Collection[tuple[str, str]],
) -> dict[tuple[str, str], int]:
    """Return the row ids of those prompts that were sent to the endpoint."""
    columns = (
        stored_prompts.c.instruction_digest,
        stored_prompts.c.settings_digest,
        stored_prompts.c.id,
    )
    of_endpoint = sa.select(*columns).where(stored_prompts.c.endpoint == endpoint_id)
    numbers = {}
    for instruction, settings, number in connection.execute(of_endpoint):
        key = (instruction, settings)
        if key in keys:
            numbers[key] = number
    return numbers


def outcomes_in_run(
    connection: Connection,
    run: str,
    endpoint_id: str,
) -> tuple[bool, bool]:
    """Tell whether a call of the run to an endpoint was answered, and one NOT_SENT."""

    def exists_call(*conditions: sa.ColumnElement[bool]) -> bool:
        query = calls_of_run.where(*conditions)
        return connection.execute(query).first() is not None

    calls_of_run = (
        sa.select(calls.c.id)
        .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
        .where(stored_prompts.c.endpoint == endpoint_id, calls.c.run == run)
        .limit(1)
    )
    never_sent = sa.and_(calls.c.state == CallState.FAILED, calls.c.cause == NOT_SENT)
    return exists_call(IS_ANSWERED), exists_call(never_sent)


def run_spending(connection: Connection, run_ids: set[str]) -> Counter[str]:
    """Return each run's spending, its open calls at their highest cost."""
    if not run_ids:
        return Counter()
    rows = connection.execute(_SPENT, {"wanted": list(run_ids)})
    return Counter({row.id: row.spent for row in rows})


def add_to_runs(connection: Connection, sums: Iterable[tuple[str | None, int]]) -> None:
    """Add amounts to the spending of their runs: billionths of a US$, also negative."""
    by_run: Counter[str] = Counter()
    for run, amount in sums:
        if run is not None and amount:
            by_run[run] += amount
    for run, amount in by_run.items():
        added = connection.execute(_ADD, {"run": run, "amount": amount})
        if added.rowcount == 0:
            new_run = {"id": run, "spent": amount, "began": time.time()}
            add_row(connection, runs, new_run)


# Building a statement takes longer than running it.
_SPENT = sa.select(runs.c.id, runs.c.spent).where(
    runs.c.id.in_(bound_list("wanted")),
)
_ADD = (
    runs.update()
    .where(runs.c.id == sa.bindparam("run"))
    .values(spent=runs.c.spent + sa.bindparam("amount"))
)


_OUTCOME = (
    "state",
    "came",
    "recovered",
    "prompt_tokens",
    "completion_tokens",
    "cost",
    "ended",
    "model",
    "fingerprint",
    "response_id",
    "refused",
)


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a call; `cost` is what was billed, in billionths of a US$."""

    call: Call
    completions: Sequence[Completion]
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: int | None
    recovered: bool = False


def store_call_result(ledger: Ledger, answer: CallResult) -> bool:
    """Store an answer, whatever its call's state; tell whether it wasn't yet stored."""
    return ledger.write_each(store_call_results, answer)


def store_call_results(
    connection: Connection,
    answers: Sequence[CallResult],
) -> list[bool | Exception]:
    """Store several answers; the work of `Ledger.write_each`."""
    numbers = [answer.call.id for answer in answers]
    rows = connection.execute(_BEFORE, {"calls": numbers})
    rows_before = {row.id: row for row in rows}
    new = [
        answer
        for answer in answers
        if rows_before[answer.call.id].state != CallState.ANSWERED
    ]
    if new:
        _store_new_answers(connection, new, rows_before)
    stored_now = {id(answer) for answer in new}
    return [id(answer) in stored_now for answer in answers]


def _store_new_answers(
    connection: Connection,
    answers: Sequence[CallResult],
    rows_before: Mapping[int, Any],
) -> None:
    """Store answers to calls without one: generations, outcomes, and spending."""
    numbers = [answer.call.id for answer in answers]
    connection.execute(_FREE, {"calls": numbers})
    brought = [
        CallCompletions(
            answer.call.prompt, answer.call.id, ordinals, answer.completions
        )
        for answer, ordinals in _answers_with_ordinals(connection, answers)
    ]
    images = insert_generations(connection, brought)
    parameters = []
    chained = []
    for answer in answers:
        outcome = _answered_call_row(answer)
        parameters.append({f"new_{name}": value for name, value in outcome.items()})
        its_generations = images.get(answer.call.id, {})
        chained.append(outcome | {"claims": None} | its_generations)
    connection.execute(_ANSWERED, parameters)
    record_changes(connection, calls, chained)
    sums = []
    for answer in answers:
        before = rows_before[answer.call.id]
        reserved = spent_without_answer(before.state, before.estimate) or 0
        cost = answer.cost or 0
        sums.append((before.run, cost - reserved))
    add_to_runs(connection, sums)


_BEFORE = sa.select(
    calls.c.id,
    calls.c.state,
    calls.c.estimate,
    calls.c.run,
).where(calls.c.id.in_(bound_list("calls")))
_FREE = claims.delete().where(claims.c.call.in_(bound_list("calls")))
_IS_REQUESTED = generations.c.ordinal.between(
    sa.bindparam("least"),
    sa.bindparam("most"),
)
_STORED = sa.select(generations.c.prompt, generations.c.ordinal).where(
    generations.c.prompt.in_(bound_list("prompts")),
    sa.or_(IS_SURPLUS, _IS_REQUESTED),
)
_ANSWERED = (
    calls.update()
    .where(calls.c.id == sa.bindparam("new_id"))
    .values({name: sa.bindparam(f"new_{name}") for name in _OUTCOME})
)


def _answered_call_row(answer: CallResult) -> dict[str, Any]:
    """Return what an answer changes in its call's row."""
    served = [
        completion.served
        for completion in answer.completions
        if completion.served is not None
    ]
    refused: dict[str, None] = {}  # in order
    for identity in served:
        refused |= dict.fromkeys(identity.refused)
    return {
        "model": _join_distinct(identity.model for identity in served),
        "fingerprint": _join_distinct(identity.fingerprint for identity in served),
        "response_id": _join_distinct(identity.response_id for identity in served),
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


def _join_distinct(values: Iterable[str | None]) -> str | None:
    """Join the distinct values of a call's completions: differing servers must show."""
    distinct = dict.fromkeys(value for value in values if value is not None)
    return ", ".join(distinct) or None


def _answers_with_ordinals(
    connection: Connection,
    answers: Sequence[CallResult],
) -> Iterator[tuple[CallResult, list[int]]]:
    """Yield each answer with its completions' ordinals: the call's own, or surplus."""
    taken = _stored_ordinals(connection, answers)
    for answer in answers:
        call = answer.call
        occupied = taken[call.prompt]
        free = [ordinal for ordinal in call.ordinals if ordinal not in occupied]
        free_in_order = iter(free)
        ordinals = []
        for _ in answer.completions:
            ordinal = next(free_in_order, None)
            if ordinal is None:
                least = min(0, *occupied)
                ordinal = least - 1
            occupied.add(ordinal)
            ordinals.append(ordinal)
        yield answer, ordinals


def _stored_ordinals(
    connection: Connection,
    answers: Sequence[CallResult],
) -> dict[int, set[int]]:
    """Return the ordinals of stored generations that could collide, by prompt."""
    prompt_ids = {answer.call.prompt for answer in answers}
    ordinals: set[int] = set()
    for answer in answers:
        ordinals.update(answer.call.ordinals)
    bounds = {
        "prompts": list(prompt_ids),
        "least": min(ordinals, default=0),
        "most": max(ordinals, default=0),
    }
    taken: dict[int, set[int]] = defaultdict(set)
    for prompt, ordinal in connection.execute(_STORED, bounds):
        taken[prompt].add(ordinal)
    return taken


def end_call_unanswered(
    ledger: Ledger,
    call: Call,
    *,
    billed: bool,
    cause: str | None,
) -> None:
    """End an open call without an answer: `lost` if maybe billed, else `failed`.

    `cause` must be masked.
    """
    ledger.write(
        lambda connection: end_open_calls(
            connection,
            [call.id],
            billed=billed,
            cause=cause,
        ),
    )


def end_open_calls(
    connection: Connection,
    numbers: Sequence[int],
    *,
    billed: bool,
    cause: str | None,
) -> None:
    """End the calls that are still open, and free their ordinals."""
    ended: Row = {
        "state": CallState.LOST if billed else CallState.FAILED,
        "cause": cause,
        "ended": time.time(),
    }
    columns = (calls.c.id, calls.c.estimate, calls.c.run)
    for some in split_for_statement(numbers):
        open_calls = sa.select(*columns).where(calls.c.id.in_(some), IS_OPEN)
        still_open = connection.execute(open_calls).all()
        ids = [row.id for row in still_open]
        connection.execute(_FREE, {"calls": ids})
        spent = calls.c.estimate if billed else 0
        update = calls.update().where(calls.c.id.in_(ids))
        connection.execute(update.values(**ended, cost=spent))
        chained = []
        for row in still_open:
            cost = row.estimate if billed else 0
            changes = {"id": row.id, "claims": None, "cost": cost}
            chained.append(changes | ended)
        record_changes(connection, calls, chained)
        if not billed:
            freed = [(row.run, -(row.estimate or 0)) for row in still_open]
            add_to_runs(connection, freed)


def mark_postponed(ledger: Ledger, call: Call) -> None:
    """Record that a call was rejected unbilled and will be sent again."""
    waiting = {"state": CallState.WAITING, "began": time.time()}
    _change_call_state(ledger, call, CallState.ASKED, waiting)


def mark_resumed(ledger: Ledger, call: Call) -> None:
    """Record that a postponed call is about to be sent again."""
    asked = {"state": CallState.ASKED, "began": time.time()}
    _change_call_state(ledger, call, CallState.WAITING, asked)


def leave_call_open(ledger: Ledger, call: Call) -> None:
    """Leave a call with an unknown outcome to the next process that needs it."""
    _change_call_state(ledger, call, CallState.ASKED, {"lease": None})


def _change_call_state(
    ledger: Ledger,
    call: Call,
    before: CallState,
    values: Row,
) -> None:
    ledger.write(
        lambda connection: update_row(
            connection,
            calls,
            call.id,
            values,
            calls.c.state == before,
        ),
    )
