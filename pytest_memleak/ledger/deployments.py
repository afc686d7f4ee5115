"""Deployments in the ledger, from before the request until nothing of them is left.

A row holds everything that deletes the deployment, so that any later process can. Its
cost counts from the request to the deletion; until then, all its hours count.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.abilities import Deployment
from pytest_memleak.ledger.call_outcomes import add_to_runs, run_spending
from pytest_memleak.ledger.call_reservations import budget_exceeded
from pytest_memleak.ledger.hash_chain import add_row, update_row
from pytest_memleak.ledger.jobs import Job, JobKind, JobRow, held_job, rows_with_leases
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import deployments, insert_where_new, leases, tenants

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class OpenDeployment:
    """A deployment that may still be active.

    options: what deletes it; began: when it was requested, in seconds since 1970
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


def hourly_cost(hours: float, price: float | None) -> int | None:
    """Return the price of these hours in billionths of a US$, rounded up; None without a price."""
    return None if price is None else math.ceil(round(hours * price * 1e9, 3))


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
    lease, run, kind = ledger.lease, ledger.run, JobKind.DEPLOYMENT
    estimate = hourly_cost(deployment.hours, price)
    same_deployment = (
        deployments.c.provider == provider,
        deployments.c.digest == deployment.digest,
    )

    def work(connection: Connection) -> Job:
        rows = (
            rows_with_leases(kind)
            .where(*same_deployment)
            .order_by(deployments.c.id.desc())
        )
        row = connection.execute(rows.where(deployments.c.undeployed.is_(None))).first()
        if row is None:
            failed = rows.where(
                deployments.c.run == run, deployments.c.state == JobRow.FAILED
            )
            row = connection.execute(failed).first()
        if row is not None:
            job = held_job(connection, kind, row, lease=lease, recovery=recovery)
            if row.undeployed is None and row.state in {JobRow.FAILED, JobRow.LEAVING}:
                return replace(job, state=JobRow.LEAVING)
            if row.undeployed is None:
                _move_in(connection, row.id, lease)
            return job
        spent = run_spending(connection, {run})[run]
        if limit is not None and spent + (estimate or 0) > limit:
            raise budget_exceeded(spent, estimate or 0, limit)
        ledger.require_room()
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
        number = add_row(connection, deployments, new)
        add_to_runs(connection, [(run, estimate or 0)])
        _move_in(connection, number, lease)
        return Job(kind, number, deployment.digest, JobRow.STARTING, ours_to_start=True)

    return ledger.write(work)


def deployed(ledger: Ledger, provider: str, digest: str) -> bool:
    """Tell whether such a deployment is reserved and may still be active."""
    query = sa.select(deployments.c.id).where(
        deployments.c.provider == provider,
        deployments.c.digest == digest,
        deployments.c.undeployed.is_(None),
    )
    return bool(ledger.rows(query))


def until(ledger: Ledger, job: Job) -> float:
    """Return when its hours end, in seconds since 1970."""
    query = sa.select(deployments.c.began, deployments.c.hours).where(
        deployments.c.id == job.number
    )
    (row,) = ledger.rows(query)
    return float(row.began + row.hours * _HOUR)


def leave_deployment(ledger: Ledger, job: Job) -> bool:
    """Stop using it; tell whether no other process uses it, so that this one deletes it."""
    lease = ledger.lease

    def work(connection: Connection) -> bool:
        connection.execute(
            tenants.delete().where(
                tenants.c.deployment == job.number, tenants.c.lease == lease
            )
        )
        return not _asked_by_others(connection, job.number, lease)

    return ledger.write(work)


def debts(ledger: Ledger) -> list[OpenDeployment]:
    """List every deployment that may still be active, oldest first."""

    def work(connection: Connection) -> list[OpenDeployment]:
        rows = connection.execute(
            rows_with_leases(JobKind.DEPLOYMENT)
            .where(deployments.c.undeployed.is_(None))
            .order_by(deployments.c.id)
        ).all()
        return [
            OpenDeployment(
                row.id,
                row.provider,
                row.digest,
                row.weights,
                json.loads(row.options),
                row.state,
                row.job_id,
                row.endpoint,
                row.cause,
                row.began,
                _held(row) or _asked_by_others(connection, row.id, None),
                None if row.estimate is None else row.estimate / row.hours / 1e9,
            )
            for row in rows
        ]

    if ledger.read(work):  # usually there are none, and nothing is written
        ledger.expire_leases()
    return ledger.read(work)


def take_over_deployment(ledger: Ledger, debt: OpenDeployment) -> Job | None:
    """Take over a deployment to delete it; None while others use, start, or delete it."""
    lease = ledger.lease

    def work(connection: Connection) -> Job | None:
        row = connection.execute(
            rows_with_leases(JobKind.DEPLOYMENT).where(
                deployments.c.id == debt.number, deployments.c.undeployed.is_(None)
            )
        ).first()
        if row is None or _asked_by_others(connection, row.id, lease):
            return None
        if _held(row) and row.lease != lease:
            return None
        update_row(
            connection, deployments, row.id, {"state": JobRow.LEAVING, "lease": lease}
        )
        return Job(
            JobKind.DEPLOYMENT,
            row.id,
            row.digest,
            JobRow.LEAVING,
            row.job_id,
            row.endpoint,
        )

    return ledger.write(work)


def release_deployment(ledger: Ledger, job: Job, *, state: str, cause: str) -> None:
    """Release a deployment that can't be deleted now; `cause` must be masked."""
    values = {"state": state, "lease": None, "cause": cause}
    active = deployments.c.undeployed.is_(None)
    ledger.write(lambda c: update_row(c, deployments, job.number, values, active))


def settle_deployment(
    ledger: Ledger, job: Job, *, stood: bool, failed: str | None = None
) -> None:
    """Record that nothing of it is left; its real cost replaces the reserved one.

    stood: whether it may have existed at all. failed: why it was never usable; must be
    masked.
    """

    def work(connection: Connection) -> None:
        row = connection.execute(
            sa.select(deployments).where(
                deployments.c.id == job.number, deployments.c.undeployed.is_(None)
            )
        ).one_or_none()
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

    ledger.write(work)


def _move_in(connection: Connection, number: int, lease: int) -> None:
    row = {"deployment": number, "lease": lease}
    connection.execute(insert_where_new(connection, tenants), row)


def _held(row: Any) -> bool:
    """Tell whether a running process starts or deletes it; an active one isn't held."""
    living = row.lease is not None and row.lease_ended is None
    return living and row.state in {JobRow.STARTING, JobRow.LEAVING}


def _asked_by_others(connection: Connection, number: int, lease: int | None) -> bool:
    living = (
        sa.select(tenants.c.lease)
        .join(leases, leases.c.id == tenants.c.lease)
        .where(tenants.c.deployment == number, leases.c.ended.is_(None))
    )
    if lease is not None:
        living = living.where(tenants.c.lease != lease)
    return connection.execute(living).first() is not None
