"""Jobs at a provider: fine-tunes, batches, and deployments, one row each.

A row is written before its job starts, and held by the process that starts it. Any
process may take over a job whose start was interrupted. What is special about batches
and deployments is in sampling/batch.py and deployments.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.call_outcomes import end_open_calls
from pytest_memleak.ledger.call_states import IS_OPEN
from pytest_memleak.ledger.hash_chain import add_row, update_row
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import batches, calls, deployments, jobs, leases


class JobRow(StrEnum):
    """The state of a job in the ledger."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LEAVING = "leaving"  # of a deployment: it is being taken down


class JobKind(StrEnum):
    """What a job is."""

    FINETUNE = "fine-tune"
    BATCH = "batch"
    DEPLOYMENT = "deployment"


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `jobs`, `batches` or `deployments`.

    job_id:         the provider's id for it; None before it has one
    endpoint:       the one that a batch samples, or that another job has created
    ours_to_start:  whether this process has just taken it, to start it
    doubtful_until: from then on, a job that the provider doesn't know doesn't exist
    stuck:          whether this process began to start it and has given up waiting
    """

    kind: JobKind
    number: int
    digest: str
    state: str
    job_id: str | None = None
    endpoint: str | None = None
    cause: str | None = None
    ours_to_start: bool = False
    doubtful_until: float = 0.0
    stuck: bool = False


_TABLES = {
    JobKind.FINETUNE: jobs,
    JobKind.BATCH: batches,
    JobKind.DEPLOYMENT: deployments,
}
OPEN_JOB = (JobRow.STARTING, JobRow.RUNNING)


def rows_with_leases(kind: JobKind) -> sa.Select[Any]:
    """Select the rows of a kind, each with the end of its lease (`lease_ended`)."""
    table = _TABLES[kind]
    lease_ended = leases.c.ended.label("lease_ended")
    is_its_lease = leases.c.id == table.c.lease
    return sa.select(table, lease_ended).join(leases, is_its_lease, isouter=True)


def has_living_holder(row: Any) -> bool:
    """Tell whether a running process holds a row of `rows_with_leases`."""
    if row.lease is None:
        return False
    ended: float | None = row.lease_ended
    return ended is None


def job_taken_over_if_interrupted(
    connection: Connection,
    kind: JobKind,
    row: Any,
    *,
    lease: int,
    recovery: float,
) -> Job:
    """Return a row of `rows_with_leases` as a job.

    A job whose start was interrupted is taken for `lease`. Its request may be on its
    way to the provider until `recovery` seconds after its start.
    """
    if _was_start_interrupted(row):
        update_row(connection, _TABLES[kind], row.id, {"lease": lease})
        job = _job_from_leased_row(kind, row, lease=lease)
        doubtful_until = row.began + recovery
        return replace(job, ours_to_start=True, doubtful_until=doubtful_until)
    return _job_from_leased_row(kind, row, lease=lease)


def _was_start_interrupted(row: Any) -> bool:
    return row.state == JobRow.STARTING and not has_living_holder(row)


def _job_from_leased_row(kind: JobKind, row: Any, *, lease: int) -> Job:
    began_here = row.state == JobRow.STARTING and row.lease == lease
    stuck = began_here and row.cause is not None
    return replace(_job_from_row(kind, row), stuck=stuck)


def _job_from_row(kind: JobKind, row: Any) -> Job:
    return Job(
        kind,
        row.id,
        row.digest,
        row.state,
        job_id=row.job_id,
        endpoint=row.endpoint,
        cause=row.cause,
    )


def update_job(
    ledger: Ledger,
    job: Job,
    **values: Any,
) -> Job:
    """Change a job that hasn't ended meanwhile; return the job as it is then."""
    table = _TABLES[job.kind]

    own_row = sa.select(table).where(table.c.id == job.number)
    is_open = table.c.state.in_(OPEN_JOB)

    def update_open_row(connection: Connection) -> Job:
        update_row(connection, table, job.number, values, is_open)
        row = connection.execute(own_row).one()
        return _job_from_row(job.kind, row)

    return ledger.write(update_open_row)


def end_job(
    ledger: Ledger,
    job: Job,
    state: JobRow,
    *,
    cause: str,
    **values: Any,
) -> None:
    """End a job; a batch's calls without an answer have failed for that cause.

    `cause` must have gone through `masked`; the row of a job that succeeded keeps none.
    """
    table = _TABLES[job.kind]

    def end_row_and_calls(connection: Connection) -> None:
        if job.kind is JobKind.BATCH:
            in_batch = calls.c.batch == job.number
            unanswered = sa.select(calls.c.id).where(in_batch, IS_OPEN)
            numbers = connection.execute(unanswered).scalars().all()
            end_open_calls(connection, numbers, billed=False, cause=cause)
        kept = cause if state is JobRow.FAILED else None
        ended = values | {"state": state, "cause": kept, "ended": time.time()}
        is_open = table.c.state.in_(OPEN_JOB)
        update_row(connection, table, job.number, ended, is_open)

    ledger.write(end_row_and_calls)


def claim_finetune(
    ledger: Ledger,
    provider: str,
    digest: str,
    *,
    examples: int,
    recovery: float,
    free: bool = False,
) -> Job:
    """Return the fine-tune's row, taken for this process unless another is starting it.

    Another run may restart one that failed.
    """
    lease = ledger.lease
    kind = JobKind.FINETUNE
    query = rows_with_leases(kind).where(*_same_finetune(provider, digest))
    taken = {"state": JobRow.STARTING, "lease": lease, "run": ledger.run}

    def new_job(connection: Connection) -> Job:
        row = {"provider": provider, "digest": digest, "examples": examples}
        began = {"began": time.time()}
        number = add_row(connection, jobs, row | taken | began)
        return Job(kind, number, digest, JobRow.STARTING, ours_to_start=True)

    def failed_in_another_run(row: Any) -> bool:
        return bool(row.state == JobRow.FAILED and row.run != ledger.run)

    def find_or_add(connection: Connection) -> Job:
        row = connection.execute(query).one_or_none()
        failed_before = row is not None and failed_in_another_run(row)
        starts_anew = row is None or failed_before
        if starts_anew and not free:
            ledger.require_disk_room()
        if row is None:
            return new_job(connection)
        job = job_taken_over_if_interrupted(
            connection, kind, row, lease=lease, recovery=recovery
        )
        if not failed_before and not job.ours_to_start:
            return job
        cleared = {"job_id": None, "cause": None, "ended": None}
        update_row(connection, jobs, row.id, taken | cleared)
        return Job(
            kind,
            row.id,
            digest,
            JobRow.STARTING,
            ours_to_start=True,
            doubtful_until=job.doubtful_until,
        )

    return ledger.write(find_or_add)


def finetuned_endpoint(
    ledger: Ledger,
    provider: str,
    digest: str,
) -> str | None:
    """Return the endpoint of a fine-tune that has succeeded, from the ledger alone."""
    query = sa.select(jobs.c.endpoint).where(
        *_same_finetune(provider, digest),
        jobs.c.state == JobRow.SUCCEEDED,
    )
    endpoints = (row.endpoint for row in ledger.rows(query))
    return next(endpoints, None)


def has_unfailed_finetune(
    ledger: Ledger,
    provider: str,
    digest: str,
) -> bool:
    """Tell whether the ledger has a fine-tune of that digest that hasn't failed."""
    query = sa.select(jobs.c.id).where(
        *_same_finetune(provider, digest),
        jobs.c.state != JobRow.FAILED,
    )
    return bool(ledger.rows(query))


def _same_finetune(provider: str, digest: str) -> tuple[sa.ColumnElement[bool], ...]:
    return jobs.c.provider == provider, jobs.c.digest == digest
