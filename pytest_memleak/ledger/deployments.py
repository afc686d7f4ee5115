"""Deployments in the ledger, from before the request until nothing of them is left.

A row holds everything that deletes the deployment, so that any later process can. Its
cost counts from the request to the deletion; until then, all its hours count.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.abilities import Deployment
from pytest_memleak.ledger.call_outcomes import add_to_runs, run_spending
from pytest_memleak.ledger.call_reservations import budget_error
from pytest_memleak.ledger.hash_chain import add_row, update_row
from pytest_memleak.ledger.jobs import (
    Job,
    JobKind,
    JobRow,
    has_living_holder,
    job_taken_over_if_interrupted,
    rows_with_leases,
)
from pytest_memleak.ledger.ledger import IS_LIVING, Ledger
from pytest_memleak.ledger.statements import insert_where_new
from pytest_memleak.ledger.tables import deployments, leases, tenants

_HOUR = 3600.0

# It is requested, and nothing shows that it was deleted.
IS_ACTIVE = deployments.c.undeployed.is_(None)

# What a deployment counts as spent: all its hours, until it is deleted.
SPENT_ON_HOURS = sa.case(
    (IS_ACTIVE, deployments.c.estimate),
    else_=deployments.c.cost,
)


@dataclass(frozen=True, slots=True)
class OpenDeployment:
    """A deployment that may still be active.

    options: what deletes it
    began:   when it was requested, in seconds since 1970
    in_use:  whether a running process uses or deletes it
    an_hour: US$, None without a price
    """

    number: int
    provider: str
    digest: str
    weights: str
    options: dict[str, Any]
    state: str
    job_id: str | None
    endpoint: str | None
    cause: str | None
    began: float
    in_use: bool
    an_hour: float | None


def cost_of_hours(hours: float, price: float | None) -> int | None:
    """Return the cost of these hours, in billionths of a US$, rounded up.

    price: US$ an hour; the cost is None without one
    """
    if price is None:
        return None
    billionths = hours * price * 1e9
    return math.ceil(round(billionths, 3))


def claim_deployment(
    ledger: Ledger,
    provider: str,
    deployment: Deployment,
    *,
    price: float | None,
    limit: int | None,
    recovery: float,
) -> Job:
    """Return the row of a deployment, and record this process as a user of it.

    If none exists, a new row is written, held by this process with all its hours
    reserved. One that failed in this run is returned as it is. Raises BudgetExceeded.

    price: US$ an hour. limit: the run's budget, in billionths of a US$.
    """
    lease = ledger.lease
    run = ledger.run
    estimate = cost_of_hours(deployment.hours, price)

    def find_or_reserve(connection: Connection) -> Job:
        row = _active_or_failed_in_run(connection, provider, deployment.digest, run)
        if row is not None:
            return _join_deployment(connection, row, lease=lease, recovery=recovery)
        spent = run_spending(connection, {run})
        error = budget_error(spent[run], estimate or 0, limit)
        if error is not None:
            raise error
        ledger.require_disk_room()
        new = {
            "provider": provider,
            "digest": deployment.digest,
            "weights": deployment.weights,
            "options": json.dumps(dict(deployment.options), sort_keys=True),
            "hours": deployment.hours,
            "state": JobRow.STARTING,
            "lease": lease,
            "began": time.time(),
            "run": run,
            "estimate": estimate,
        }
        return _add_deployment_row(connection, new)

    return ledger.write(find_or_reserve)


def _active_or_failed_in_run(
    connection: Connection,
    provider: str,
    digest: str,
    run: str,
) -> Any | None:
    """Return the newest active deployment, else the newest that failed in this run."""
    newest = (
        rows_with_leases(JobKind.DEPLOYMENT)
        .where(*_same_deployment(provider, digest))
        .order_by(deployments.c.id.desc())
    )
    active = connection.execute(newest.where(IS_ACTIVE)).first()
    if active is not None:
        return active
    failed = newest.where(
        deployments.c.run == run,
        deployments.c.state == JobRow.FAILED,
    )
    return connection.execute(failed).first()


def _join_deployment(
    connection: Connection,
    row: Any,
    *,
    lease: int,
    recovery: float,
) -> Job:
    """Return an existing deployment as a job; record its user if it can be used."""
    kind = JobKind.DEPLOYMENT
    job = job_taken_over_if_interrupted(
        connection, kind, row, lease=lease, recovery=recovery
    )
    if row.undeployed is not None:
        return job
    if row.state in {JobRow.FAILED, JobRow.LEAVING}:
        return replace(job, state=JobRow.LEAVING)
    _record_user(connection, row.id, lease)
    return job


def _add_deployment_row(connection: Connection, new: Mapping[str, Any]) -> Job:
    """Add the row of a new deployment, its cost, and its first user."""
    number = add_row(connection, deployments, new)
    estimate = new["estimate"] or 0
    add_to_runs(connection, [(new["run"], estimate)])
    _record_user(connection, number, new["lease"])
    return Job(
        JobKind.DEPLOYMENT,
        number,
        new["digest"],
        JobRow.STARTING,
        ours_to_start=True,
    )


def is_deployed(
    ledger: Ledger,
    provider: str,
    digest: str,
) -> bool:
    """Tell whether such a deployment is reserved and may still be active."""
    query = sa.select(deployments.c.id).where(
        *_same_deployment(provider, digest),
        IS_ACTIVE,
    )
    return bool(ledger.rows(query))


def deployment_end_time(ledger: Ledger, job: Job) -> float:
    """Return when its hours end, in seconds since 1970."""
    query = sa.select(deployments.c.began, deployments.c.hours).where(
        deployments.c.id == job.number,
    )
    (row,) = ledger.rows(query)
    return float(row.began + row.hours * _HOUR)


def leave_deployment(ledger: Ledger, job: Job) -> bool:
    """Stop using it; tell whether no other process does: then this one deletes it."""
    lease = ledger.lease

    def end_use(connection: Connection) -> bool:
        connection.execute(
            tenants.delete().where(
                tenants.c.deployment == job.number,
                tenants.c.lease == lease,
            ),
        )
        return not _used_by_others(connection, job.number, lease)

    return ledger.write(end_use)


def possibly_active_deployments(ledger: Ledger) -> list[OpenDeployment]:
    """List every deployment that may still be active, oldest first."""
    active = (
        rows_with_leases(JobKind.DEPLOYMENT).where(IS_ACTIVE).order_by(deployments.c.id)
    )

    def list_active(connection: Connection) -> list[OpenDeployment]:
        rows = connection.execute(active).all()
        return [_open_deployment(connection, row) for row in rows]

    if ledger.read(list_active):  # usually there are none, and nothing is written
        ledger.expire_leases()
    return ledger.read(list_active)


def _open_deployment(connection: Connection, row: Any) -> OpenDeployment:
    an_hour = None
    if row.estimate is not None:
        an_hour = row.estimate / row.hours / 1e9
    return OpenDeployment(
        number=row.id,
        provider=row.provider,
        digest=row.digest,
        weights=row.weights,
        options=json.loads(row.options),
        state=row.state,
        job_id=row.job_id,
        endpoint=row.endpoint,
        cause=row.cause,
        began=row.began,
        in_use=_is_held_by_process(row) or _used_by_others(connection, row.id, None),
        an_hour=an_hour,
    )


def take_over_deployment(ledger: Ledger, debt: OpenDeployment) -> Job | None:
    """Take over a deployment to delete it; None while others use or change it."""
    lease = ledger.lease
    still_active = rows_with_leases(JobKind.DEPLOYMENT).where(
        deployments.c.id == debt.number,
        IS_ACTIVE,
    )

    def take_if_unused(connection: Connection) -> Job | None:
        row = connection.execute(still_active).first()
        if row is None or _used_by_others(connection, row.id, lease):
            return None
        if _is_held_by_process(row) and row.lease != lease:
            return None
        leaving = {"state": JobRow.LEAVING, "lease": lease}
        update_row(connection, deployments, row.id, leaving)
        return Job(
            JobKind.DEPLOYMENT,
            row.id,
            row.digest,
            JobRow.LEAVING,
            row.job_id,
            row.endpoint,
        )

    return ledger.write(take_if_unused)


def release_deployment(
    ledger: Ledger,
    job: Job,
    *,
    state: str,
    cause: str,
) -> None:
    """Release a deployment that can't be deleted now; `cause` must be masked."""
    values = {"state": state, "lease": None, "cause": cause}
    ledger.write(
        lambda connection: update_row(
            connection,
            deployments,
            job.number,
            values,
            IS_ACTIVE,
        ),
    )


def settle_deployment(
    ledger: Ledger,
    job: Job,
    *,
    stood: bool,
    failed: str | None = None,
) -> None:
    """Record that nothing of it is left; its real cost replaces the reserved one.

    stood:  whether it may have existed at all
    failed: why it was never usable, masked
    """
    still_active = sa.select(deployments).where(
        deployments.c.id == job.number,
        IS_ACTIVE,
    )

    def end_row(connection: Connection) -> None:
        row = connection.execute(still_active).one_or_none()
        if row is None:
            return
        now = time.time()
        cost = row.estimate
        if cost is not None:
            hours = (now - row.began) / _HOUR if stood else 0.0
            cost = math.ceil(row.estimate * hours / row.hours)
            add_to_runs(connection, [(row.run, cost - row.estimate)])
        ended: dict[str, Any] = {"undeployed": now, "cost": cost}
        if failed is not None:
            ended |= {"state": JobRow.FAILED, "cause": failed}
        update_row(connection, deployments, row.id, ended)
        connection.execute(tenants.delete().where(tenants.c.deployment == row.id))

    ledger.write(end_row)


def _record_user(
    connection: Connection,
    number: int,
    lease: int,
) -> None:
    row = {"deployment": number, "lease": lease}
    connection.execute(insert_where_new(connection, tenants), row)


def _same_deployment(provider: str, digest: str) -> tuple[sa.ColumnElement[bool], ...]:
    return deployments.c.provider == provider, deployments.c.digest == digest


def _is_held_by_process(row: Any) -> bool:
    """Tell whether a running process starts or deletes it; an active one isn't held."""
    if row.state not in {JobRow.STARTING, JobRow.LEAVING}:
        return False
    return has_living_holder(row)


def _used_by_others(
    connection: Connection,
    number: int,
    lease: int | None,
) -> bool:
    living = (
        sa.select(tenants.c.lease)
        .join(leases, leases.c.id == tenants.c.lease)
        .where(tenants.c.deployment == number, IS_LIVING)
    )
    if lease is not None:
        living = living.where(tenants.c.lease != lease)
    return connection.execute(living).first() is not None
