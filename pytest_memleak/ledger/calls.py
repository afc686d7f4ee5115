"""What a paid call is in the ledger, and what the calls of a run have cost so far.

    asked ──> answered      the completions are in, in the same transaction
      │  └──> failed        refused: not billed, its ordinals are free again
      │  └──> lost          nobody knows: counts as billed, its ordinals are free again
      └─────> waiting       not billed, to be asked again after a pause

claims.py says how a call comes to be `asked`, answers.py what becomes of it. A process that
ends while it has a call `asked` leaves its fate in doubt; sampling settles that.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.tables import calls, claims, questions, runs


class CallState(StrEnum):
    """Where a call stands."""

    ASKED = "asked"
    WAITING = "waiting"
    ANSWERED = "answered"
    FAILED = "failed"
    LOST = "lost"


# Questions that one statement names; databases allow only so many parameters.
QUESTIONS_AT_ONCE = 400

# The cause of a call that was given up without having reached the server.
NOT_SENT = "it never reached the server"

OPEN = (CallState.ASKED, CallState.WAITING)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was claimed: what identifies it, and the ordinals its answer is for."""

    id: int
    question: int
    request_id: str
    began: float
    ordinals: tuple[int, ...]


def open_calls(connection: Connection, *conditions: sa.ColumnElement[bool]) -> list[Call]:
    """The calls asked and neither answered nor given up, among those that `conditions` name."""
    rows = connection.execute(
        sa.select(calls.c.id, calls.c.question, calls.c.request_id, calls.c.began, claims.c.ordinal)
        .join(claims, claims.c.call == calls.c.id, isouter=True)
        .where(calls.c.state == CallState.ASKED, *conditions)
        .order_by(calls.c.id, claims.c.ordinal)
    ).all()
    by_call = (list(several) for _, several in itertools.groupby(rows, key=lambda row: row.id))
    return [
        Call(
            *several[0][:4],
            tuple(row.ordinal for row in several if row.ordinal is not None),
        )
        for several in by_call
    ]


def outcomes_in_run(connection: Connection, run: str, endpoint_id: str) -> tuple[bool, bool]:
    """Whether any call of the run to an endpoint was answered, and whether any was NOT_SENT."""
    made = (
        sa.select(calls.c.id)
        .join(questions, questions.c.id == calls.c.question)
        .where(questions.c.endpoint == endpoint_id, calls.c.run == run)
        .limit(1)
    )
    answered = made.where(calls.c.state == CallState.ANSWERED)
    in_vain = made.where(calls.c.state == CallState.FAILED, calls.c.cause == NOT_SENT)
    found = [connection.execute(one).first() is not None for one in (answered, in_vain)]
    return found[0], found[1]


# --- what a run has spent ------------------------------------------------------------------


def spent_by(connection: Connection, wanted: set[str]) -> Counter[str]:
    """What each of these runs has spent, its open calls at their worst."""
    if not wanted:
        return Counter()
    found = connection.execute(_SPENT, {"wanted": list(wanted)})
    return Counter({row.id: row.spent for row in found})


def add_to_runs(connection: Connection, sums: Iterable[tuple[str | None, int]]) -> None:
    """Add amounts (billionths of a US$; may be below 0) to what their runs have spent."""
    by_run: Counter[str] = Counter()
    for run, amount in sums:
        if run is not None and amount:
            by_run[run] += amount
    for run, amount in by_run.items():
        added = connection.execute(_ADD, {"run": run, "amount": amount})
        if added.rowcount == 0:
            connection.execute(runs.insert().values(id=run, spent=amount, began=time.time()))
            changed(connection, runs, [run])


# Statements of the run loop are made once: making one takes longer than running it.
_SPENT = sa.select(runs.c.id, runs.c.spent).where(
    runs.c.id.in_(sa.bindparam("wanted", expanding=True))
)
_ADD = (
    runs.update()
    .where(runs.c.id == sa.bindparam("run"))
    .values(spent=runs.c.spent + sa.bindparam("amount"))
)
