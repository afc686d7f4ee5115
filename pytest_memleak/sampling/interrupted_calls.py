"""Interrupted calls: those that a killed process left open, recognized and settled.

    settle_interrupted_calls(ledger, line, asked=..., terms=..., retry=...)

A call is interrupted when its row is open and its process's lease has ended, which its lock shows
(ledger/ledger.py). A call that waited to be sent again wasn't billed. Any other may have been: its
answer is recovered from the provider where it stores answers, else it counts as lost and billed.
Either way its ordinals are free, and the run samples what is missing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_outcomes import (
    HAS_CLAIMS,
    Answer,
    Call,
    CallState,
    end_open_calls,
    give_up,
    leave_open,
    open_calls,
    record,
)
from pytest_memleak.ledger.call_reservations import Terms
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import PromptSpec
from pytest_memleak.ledger.tables import calls, leases
from pytest_memleak.sampling.call_deadline import Line
from pytest_memleak.sampling.retry import LOOK_AGAIN, Retry

_LOST = "its process ended before the answer arrived"
_NEVER = "the provider has no answer to it"


def settle_interrupted_calls(
    ledger: Ledger, line: Line, *, asked: Mapping[int, PromptSpec], terms: Terms, retry: Retry
) -> None:
    """Settle the calls that dead processes left open.

    asked: the prompts whose calls are checked, by row id.

    Raises ProviderBusy or ProviderError if the provider can't be called; the remaining calls stay
    unsettled for the next process.
    """
    ledger.expire_leases()
    left = _take_over_calls(ledger, asked, recoverable=line.recoverable)
    try:
        while left:
            call = left[0]
            kept = recover_answer(line, call, retry)
            if kept is None:
                give_up(ledger, call, billed=False, cause=_NEVER)
            else:
                billed = terms.billed(asked[call.question], kept)
                record(ledger, Answer(call, kept, *billed, recovered=True))
            left.pop(0)
    finally:
        for call in left:
            leave_open(ledger, call)


def recover_answer(line: Line, call: Call, retry: Retry) -> tuple[Completion, ...] | None:
    """Return the answer that the provider stored; None if it has none.

    The provider may still work on a call that was just interrupted, so it is asked until the call
    is `retry.recovery` seconds old.
    """
    if not line.recoverable:
        return None
    stop = threading.Event()
    until = min(call.began, time.time()) + retry.recovery
    while True:
        kept = retry.run(
            lambda: line.recover(call.request_id),
            stop,
            unreached=lambda: None if line.reach.reached else retry.unreached,
        )
        if kept is not None or time.time() >= until:
            return kept
        retry.pause(stop, min(LOOK_AGAIN, max(0.0, until - time.time())))


def _take_over_calls(ledger: Ledger, asked: Collection[int], *, recoverable: bool) -> list[Call]:
    """Take over the open calls that no running process holds, or end them as lost."""
    lease = ledger.lease
    living = sa.select(leases.c.id).where(leases.c.ended.is_(None))
    orphaned = sa.and_(
        calls.c.kind == "sample", sa.or_(calls.c.lease.is_(None), calls.c.lease.not_in(living))
    )

    def work(connection: Connection) -> list[Call]:
        waiting = connection.execute(
            sa.select(calls.c.id).where(HAS_CLAIMS, calls.c.state == CallState.WAITING, orphaned)
        ).scalars()
        end_open_calls(connection, list(waiting), billed=False, cause=_LOST)
        left = [call for call in open_calls(connection, orphaned) if call.question in asked]
        numbers = [call.id for call in left]
        if not recoverable:
            end_open_calls(connection, numbers, billed=True, cause=_LOST)
            return []
        connection.execute(calls.update().where(calls.c.id.in_(numbers)).values(lease=lease))
        changed(connection, calls, ({"id": number, "lease": lease} for number in numbers))
        return left

    return ledger.write(work)
