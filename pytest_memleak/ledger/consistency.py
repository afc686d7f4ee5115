"""What cannot be in a ledger that only this program wrote, whatever its chain says.

fault_of_question(row)         # its digests are of what it asks
fault_of_call(row, question)   # its answers are as many as came; claims end with the call
faults_of_runs(connection)     # a run has spent what its calls and deployments cost
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.calls import OPEN, CallState
from pytest_memleak.ledger.prompts import question_of
from pytest_memleak.ledger.tables import calls, deployments, runs


def fault_of_question(row: Any) -> str | None:
    """Why a question cannot be so; None where it can."""
    if question_of(row).keyed:
        return None
    return f"question {row['id']}: its digests are not of what it asks"


def fault_of_call(row: Mapping[Any, Any], question: Any) -> str | None:
    """Why a call, as its entry in the chain, cannot be so; None where it can."""
    cause = _cause(row, question)
    return cause and f"call {row['id']} is {row['state']}, and {cause}"


def _cause(row: Mapping[Any, Any], question: Any) -> str | None:
    if question is None:
        return f"there is no question {row['question']}"
    if row["kind"] != "import" and row.get("seed") != question_of(question).seed_from(row["first"]):
        return f"its seed {row.get('seed')} is not that of its question"
    brought, held, came = len(row.get("generations", ())), len(row.get("claims", ())), "came" in row
    if row["state"] in OPEN:
        wrong = held != row["asked"] or brought or came or "ended" in row
        return f"it claims {held} of {row['asked']} answers and has {brought}" if wrong else None
    if held:
        return f"it claims {held} answers still"
    if row["state"] == CallState.ANSWERED:
        wrong = row.get("came") != brought
        return f"{row.get('came')} answers came, of which {brought} are there" if wrong else None
    cost = 0 if row["state"] == CallState.FAILED else row.get("estimate")
    wrong = brought or came or row.get("cost") != cost
    return f"it has {brought} answers and cost {row.get('cost')}, not {cost}" if wrong else None


def faults_of_runs(connection: Connection) -> list[str]:
    """Runs that have spent something else than their calls and deployments did."""
    return [
        f"run {row.id}: it has spent {row.spent}, and its calls {row.cost} (billionths of a US$)"
        for row in connection.execute(_SPENT)
        if row.spent != row.cost
    ]


_COST = sa.case(
    (calls.c.state == CallState.ANSWERED, calls.c.cost),
    (calls.c.state == CallState.FAILED, 0),
    else_=calls.c.estimate,
)
_STOOD = sa.case(
    (deployments.c.undeployed.is_(None), deployments.c.estimate), else_=deployments.c.cost
)
_BY_CALLS, _BY_HOURS = (
    sa.select(sa.func.coalesce(sa.func.sum(amount), 0))
    .where(table.c.run == runs.c.id)
    .scalar_subquery()
    for table, amount in ((calls, _COST), (deployments, _STOOD))
)
_SPENT = sa.select(
    runs.c.id, runs.c.spent, sa.cast(_BY_CALLS + _BY_HOURS, sa.BigInteger).label("cost")
).order_by(runs.c.id)
