"""Batches in the ledger: one row each, and one call for every request in it.

A batch's calls hold their ordinals until the batch ends, even if the process dies. The batch's
digest covers its requests, its endpoint, and how often the same batch was sent before, so a later
process finds the batch at the provider even without the ledger.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.protocols import SampleRequest
from pytest_memleak.ledger.call_outcomes import add_to_runs, run_spending
from pytest_memleak.ledger.call_reservations import (
    Terms,
    budget_exceeded,
    call_row,
    first_free,
    insert_calls,
    taken_ordinals,
)
from pytest_memleak.ledger.hash_chain import add_row
from pytest_memleak.ledger.jobs import OPEN_JOB, Job, JobKind, JobRow, held_job, rows_with_leases
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import Ask, PromptSpec, prompt_from_row
from pytest_memleak.ledger.tables import batches, calls, questions

_DIGEST_IN_KEY = 20


def request_key(digest: str, place: int) -> str:
    """Return the key of a batch's request: the same whenever the same batch is sent."""
    return f"{digest[:_DIGEST_IN_KEY]}-{place:06d}"


# --- before a batch ------------------------------------------------------------------------


def claim_batch(
    ledger: Ledger,
    asks: Sequence[Ask],
    *,
    endpoint_id: str,
    numbers: Mapping[tuple[str, str], int],
    terms: Terms,
    limit: int | None,
) -> Job | None:
    """Record that a batch is about to start, with every ordinal of `asks` that is free.

    Returns None if none is free. Raises BudgetExceeded if the run's budget is too small.
    """
    lease, run, provider = ledger.lease, ledger.run, terms.sampler.name

    def work(connection: Connection) -> Job | None:
        taken = taken_ordinals(connection, [(numbers[ask.question.key], ask) for ask in asks])
        free = [
            ask
            for candidate in asks
            if (ask := first_free([candidate], numbers, taken)) is not None
        ]
        if not free:
            return None
        estimates = [terms.estimate(ask) for ask in free]
        total = sum(estimate or 0 for estimate in estimates)
        spent = run_spending(connection, {run})[run]
        if limit is not None and spent + total > limit:
            raise budget_exceeded(spent, total, limit)
        digest = _new_digest(connection, endpoint_id, free)
        shared = {"provider": provider, "lease": lease, "run": run, "began": time.time()}
        state = {"endpoint": endpoint_id, "digest": digest, "state": JobRow.STARTING}
        number = add_row(connection, batches, shared | state)
        rows = [
            call_row(
                ask,
                numbers[ask.question.key],
                kind="batch",
                batch=number,
                request_id=request_key(digest, place),
                estimate=estimate,
                **shared,
            )
            for place, (ask, estimate) in enumerate(zip(free, estimates, strict=True))
        ]
        insert_calls(connection, rows, [ask.ordinals for ask in free])
        add_to_runs(connection, [(run, total)])
        return Job(
            JobKind.BATCH, number, digest, JobRow.STARTING, endpoint=endpoint_id, ours_to_start=True
        )

    return ledger.write(work)


def _new_digest(connection: Connection, endpoint_id: str, asks: Sequence[Ask]) -> str:
    """Digest the asks and how often the same asks were sent before."""
    for attempt in itertools.count():
        digest = hashlib.sha256()
        for part in (
            endpoint_id,
            str(attempt),
            *(f"{ask.question.key} {ask.ordinals}" for ask in asks),
        ):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        same_digest = sa.select(sa.func.count()).where(batches.c.digest == digest.hexdigest())
        if not connection.execute(same_digest).scalar_one():
            return digest.hexdigest()
    raise AssertionError("count does not end")


# --- while it runs -------------------------------------------------------------------------


def open_batches(
    ledger: Ledger, endpoint_id: str, question_ids: AbstractSet[int], *, recovery: float
) -> list[Job]:
    """List the unfinished batches that contain any of these prompts (by row id).

    Takes over batches whose start was interrupted; the provider may still receive them for
    `recovery` seconds.
    """
    lease = ledger.lease

    def work(connection: Connection) -> list[Job]:
        rows = connection.execute(
            rows_with_leases(JobKind.BATCH)
            .where(batches.c.endpoint == endpoint_id, batches.c.state.in_(OPEN_JOB))
            .order_by(batches.c.id)
        ).all()
        return [
            held_job(connection, JobKind.BATCH, row, lease=lease, recovery=recovery)
            for row in rows
            if not question_ids.isdisjoint(
                connection.execute(
                    sa.select(calls.c.question).where(calls.c.batch == row.id).distinct()
                ).scalars()
            )
        ]

    return ledger.write(work)


def batch_requests(ledger: Ledger, batch: Job) -> list[SampleRequest]:
    """Return the batch's requests, in order."""
    query = (
        sa.select(
            calls.c.request_id,
            questions.c.instruction,
            calls.c.asked,
            questions.c.temperature,
            calls.c.max_tokens,
            calls.c.seed,
        )
        .join(questions, questions.c.id == calls.c.question)
        .where(calls.c.batch == batch.number)
        .order_by(calls.c.id)
    )
    return [SampleRequest(*row) for row in ledger.rows(query)]


def batch_prompts(ledger: Ledger, batch: Job) -> dict[int, PromptSpec]:
    """Return the batch's prompts by row id."""
    of_batch = sa.select(calls.c.question).where(calls.c.batch == batch.number)
    rows = ledger.rows(sa.select(questions).where(questions.c.id.in_(of_batch)))
    return {row.id: prompt_from_row(row._mapping) for row in rows}  # noqa: SLF001 - its public name
