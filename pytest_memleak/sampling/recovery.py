"""Calls whose fate is in doubt: their process ended, or the line broke, before the answer came.

A provider that keeps answers is asked for them by the request's id, so nothing is paid twice.
With any other provider the call is lost: it counts as billed, and its ordinals are asked again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_costs import Terms
from pytest_memleak.ledger.call_results import Answer, end_open_calls, give_up, record
from pytest_memleak.ledger.calls import Call, CallState, open_calls
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import PromptSpec
from pytest_memleak.ledger.tables import calls, leases
from pytest_memleak.sampling.endpoint_calls import Line
from pytest_memleak.sampling.remote_jobs import LOOK_AGAIN
from pytest_memleak.sampling.retry import Retry

__all__ = ["give_back", "recovered", "settle_doubts"]

_LOST = "its process ended before the answer was in"
_NEVER = "the provider has no answer to it"


def settle_doubts(
    ledger: Ledger,
    line: Line,
    *,
    asked: Mapping[int, PromptSpec],
    terms: Terms,
    retry: Retry,
) -> None:
    """Find out what became of the calls that dead processes left open.

    asked: the questions whose calls are looked at, by their row.

    Raises ProviderBusy or ProviderError where the provider cannot be asked; the calls that are
    left stay in doubt for whoever comes next.
    """
    ledger.expire_leases()
    left = _take_over(ledger, asked, recoverable=line.recoverable)
    try:
        while left:
            call = left[0]
            kept = recovered(line, call, retry)
            if kept is None:
                give_up(ledger, call, billed=False, cause=_NEVER)
            else:
                billed = terms.billed(asked[call.question], kept)
                record(ledger, Answer(call, kept, *billed, recovered=True))
            left.pop(0)
    finally:
        for call in left:
            give_back(ledger, call)


def recovered(line: Line, call: Call, retry: Retry) -> tuple[Completion, ...] | None:
    """The answer that the provider kept; None where it never gave one, as far as one can tell.

    It may be at work still on a call that was cut off just now, so it is asked again until the
    call is `retry.recovery` seconds old.
    """
    if not line.recoverable:
        return None
    stop = threading.Event()
    until = min(call.began, time.time()) + retry.recovery
    while True:
        for attempt in retry.attempts(
            stop, unreached=lambda: None if line.reach.reached else retry.unreached
        ):
            with attempt:
                kept = line.recover(call.request_id)
        if kept is not None or time.time() >= until:
            return kept
        retry.pause(stop, min(LOOK_AGAIN, max(0.0, until - time.time())))


def give_back(ledger: Ledger, call: Call) -> None:
    """Leave a call in doubt for whoever draws the same questions next."""

    def work(connection: Connection) -> None:
        connection.execute(
            calls.update()
            .where(calls.c.id == call.id, calls.c.state == CallState.ASKED)
            .values(lease=None)
        )
        changed(connection, calls, [call.id])

    ledger.write(work)


def _take_over(ledger: Ledger, asked: Collection[int], *, recoverable: bool) -> list[Call]:
    """The open calls that no living lease holds; ours from now on, or lost at once."""
    lease = ledger.lease
    living = sa.select(leases.c.id).where(leases.c.ended.is_(None))
    orphaned = sa.and_(
        calls.c.kind == "sample",
        sa.or_(calls.c.lease.is_(None), calls.c.lease.not_in(living)),
    )

    def work(connection: Connection) -> list[Call]:
        waiting = connection.execute(
            sa.select(calls.c.id).where(calls.c.state == CallState.WAITING, orphaned)
        ).scalars()
        end_open_calls(connection, list(waiting), billed=False, cause=_LOST)
        left = [call for call in open_calls(connection, orphaned) if call.question in asked]
        numbers = [call.id for call in left]
        if not recoverable:
            end_open_calls(connection, numbers, billed=True, cause=_LOST)
            return []
        connection.execute(calls.update().where(calls.c.id.in_(numbers)).values(lease=lease))
        changed(connection, calls, numbers)
        return left

    return ledger.write(work)
