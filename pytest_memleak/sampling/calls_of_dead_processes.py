"""Calls that killed processes left open: recovered, or counted as lost and billed."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.call_outcomes import (
    HAS_CLAIMS,
    Call,
    CallResult,
    end_call_unanswered,
    end_open_calls,
    leave_call_open,
    open_calls,
    store_call_result,
)
from pytest_memleak.ledger.call_states import PROCESS_ENDED, CallState
from pytest_memleak.ledger.hash_chain import record_changes
from pytest_memleak.ledger.ledger import IS_LIVING, Ledger
from pytest_memleak.ledger.tables import calls, leases
from pytest_memleak.sampling.reserved_call import SamplingContext, recovered_answer

_NEVER = "the provider has no response to it"


def settle_calls_of_dead_processes(context: SamplingContext) -> None:
    """Settle the calls that dead processes left open for the pair's prompts.

    Such a call's row is open, and the lock shows that its process's lease has ended
    (ledger/ledger.py). A call that waited to be sent again wasn't billed. Any other may
    have been: its answer is recovered, or it counts as lost. Either way its ordinals
    are free.

    Raises ProviderBusy or ProviderError if the provider can't be called; the remaining
    calls stay unsettled for the next process.
    """
    ledger = context.ledger
    ledger.expire_leases()
    left = _take_over_calls(
        ledger,
        context.prompt_of_id,
        recoverable=context.endpoint.recoverable,
    )
    try:
        while left:
            call = left[0]
            kept = recovered_answer(context, call)
            if kept is None:
                end_call_unanswered(ledger, call, billed=False, cause=_NEVER)
            else:
                billed = context.terms.billed(context.prompt_of_id[call.prompt], kept)
                store_call_result(
                    ledger, CallResult(call, kept, *billed, recovered=True)
                )
            left.pop(0)
    finally:
        for call in left:
            leave_call_open(ledger, call)


def _take_over_calls(
    ledger: Ledger,
    prompt_ids: Collection[int],
    *,
    recoverable: bool,
) -> list[Call]:
    """Take over the open calls that no running process holds, or end them as lost."""
    lease = ledger.lease
    living = sa.select(leases.c.id).where(IS_LIVING)
    orphaned = sa.and_(
        calls.c.kind == "sample",
        sa.or_(calls.c.lease.is_(None), calls.c.lease.not_in(living)),
    )

    def work(connection: Connection) -> list[Call]:
        unsent = sa.select(calls.c.id).where(
            HAS_CLAIMS,
            calls.c.state == CallState.WAITING,
            orphaned,
        )
        waiting = connection.scalars(unsent).all()
        end_open_calls(connection, waiting, billed=False, cause=PROCESS_ENDED)
        left = [
            call
            for call in open_calls(connection, orphaned)
            if call.prompt in prompt_ids
        ]
        numbers = [call.id for call in left]
        if not recoverable:
            end_open_calls(connection, numbers, billed=True, cause=PROCESS_ENDED)
            return []
        update = calls.update().where(calls.c.id.in_(numbers))
        connection.execute(update.values(lease=lease))
        taken = [{"id": number, "lease": lease} for number in numbers]
        record_changes(connection, calls, taken)
        return left

    return ledger.write(work)
