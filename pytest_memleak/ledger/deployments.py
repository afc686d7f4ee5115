"""Deployments in the ledger: each a debt from before it is asked for until nothing of it is left.

    job = claim_deployment(ledger, "vertex", wanted, price=..., limit=..., recovery=...)
    leave_deployment(ledger, job)      # we ask it no more; True for the last one, who takes it down
    debts(ledger)                      # whatever may be standing somewhere, and costs by the hour
    take_debt(ledger, debt)            # to take it down ourselves; None where others ask it
    settle_debt(ledger, job)           # nothing of it is left

Its row is written with all that takes it down, so that any later process can. It is counted from
when it was asked for until it was gone; until then, with all the hours that it may take.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.deployment_protocol import Deployment
from pytest_memleak.ledger.call_reservations import over_budget
from pytest_memleak.ledger.calls import add_to_runs, spent_by
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.inserts import insert_where_new
from pytest_memleak.ledger.jobs import Job, JobKind, JobRow, held_job, rows_with_leases
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import deployments, leases, tenants

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class OpenDeployment:
    """A deployment that nobody has seen gone yet.

    options: what takes it down; began: when it was asked for, in seconds since 1970
    in_use:  whether a living process asks it, or is taking it down
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


def hours_cost(hours: float, price: float | None) -> int | None:
    """The price of so many hours, in billionths of a US$, rounded up; None without one."""
    return None if price is None else math.ceil(round(hours * price * 1e9, 3))


def claim_deployment(
    ledger: Ledger,
    provider: str,
    wanted: Deployment,
    *,
    price: float | None,
    limit: int | None,
    recovery: float,
) -> Job:
    """The row of what stands, or is to stand, with this process among those that ask it.

    A new one is written where there is none: taken for ourselves, with all its hours reserved.
    price: US$ an hour. limit: the most that the run may spend, in billionths of a US$. One that
    failed in this very run is given back as it is. Raises BudgetExceeded.
    """
    lease, run, kind = ledger.lease, ledger.run, JobKind.DEPLOYMENT
    estimate = hours_cost(wanted.hours, price)
    here = (deployments.c.provider == provider, deployments.c.digest == wanted.digest)

    def work(connection: Connection) -> Job:
        rows = rows_with_leases(kind).where(*here).order_by(deployments.c.id.desc())
        row = connection.execute(rows.where(deployments.c.undeployed.is_(None))).first()
        if row is None:
            failed = rows.where(deployments.c.run == run, deployments.c.state == JobRow.FAILED)
            row = connection.execute(failed).first()
        if row is not None:
            job = held_job(connection, kind, row, lease=lease, recovery=recovery)
            if row.undeployed is None and row.state in {JobRow.FAILED, JobRow.LEAVING}:
                return replace(job, state=JobRow.LEAVING)
            if row.undeployed is None:
                _move_in(connection, row.id, lease)
            return job
        spent = spent_by(connection, {run})[run]
        if limit is not None and spent + (estimate or 0) > limit:
            raise over_budget(spent, estimate or 0, limit)
        number = connection.execute(
            deployments.insert()
            .values(
                provider=provider,
                digest=wanted.digest,
                weights=wanted.weights,
                options=json.dumps(dict(wanted.options), sort_keys=True),
                hours=wanted.hours,
                state=JobRow.STARTING,
                lease=lease,
                began=time.time(),
                run=run,
                estimate=estimate,
            )
            .returning(deployments.c.id)
        ).scalar_one()
        changed(connection, deployments, [number])
        add_to_runs(connection, [(run, estimate or 0)])
        _move_in(connection, number, lease)
        return Job(kind, number, wanted.digest, JobRow.STARTING, ours_to_start=True)

    return ledger.write(work)


def deployed(ledger: Ledger, provider: str, digest: str) -> bool:
    """Whether one is reserved already that has not been seen gone."""
    asked = sa.select(deployments.c.id).where(
        deployments.c.provider == provider,
        deployments.c.digest == digest,
        deployments.c.undeployed.is_(None),
    )
    return ledger.read(lambda connection: connection.execute(asked).first() is not None)


def until(ledger: Ledger, job: Job) -> float:
    """When its hours are over, in seconds since 1970."""
    asked = sa.select(deployments.c.began, deployments.c.hours).where(
        deployments.c.id == job.number
    )
    row = ledger.read(lambda connection: connection.execute(asked).one())
    return float(row.began + row.hours * _HOUR)


def leave_deployment(ledger: Ledger, job: Job) -> bool:
    """Ask it no more; whether nobody else does either, so that it is ours to take down."""
    lease = ledger.lease

    def work(connection: Connection) -> bool:
        connection.execute(
            tenants.delete().where(tenants.c.deployment == job.number, tenants.c.lease == lease)
        )
        return not _asked_by_others(connection, job.number, lease)

    return ledger.write(work)


# --- debts ---------------------------------------------------------------------------------


def debts(ledger: Ledger) -> list[OpenDeployment]:
    """Every deployment that may be standing somewhere, oldest first."""

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

    if ledger.read(work):  # with none, as nearly always, nothing is written
        ledger.expire_leases()
    return ledger.read(work)


def take_debt(ledger: Ledger, debt: OpenDeployment) -> Job | None:
    """The debt as ours to settle; None where others ask it, start it or take it down."""
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
        leaving = {"state": JobRow.LEAVING, "lease": lease}
        connection.execute(deployments.update().where(deployments.c.id == row.id).values(leaving))
        changed(connection, deployments, [row.id])
        return Job(JobKind.DEPLOYMENT, row.id, row.digest, JobRow.LEAVING, row.job_id, row.endpoint)

    return ledger.write(work)


def put_back(ledger: Ledger, job: Job, *, state: str, cause: str) -> None:
    """Leave a debt that cannot be settled now to whoever looks next; `cause` as of `masked`."""
    values = {"state": state, "lease": None, "cause": cause}

    def work(connection: Connection) -> None:
        connection.execute(
            deployments.update()
            .where(deployments.c.id == job.number, deployments.c.undeployed.is_(None))
            .values(values)
        )
        changed(connection, deployments, [job.number])

    ledger.write(work)


def settle_debt(ledger: Ledger, job: Job, *, stood: bool, failed: str | None = None) -> None:
    """Nothing of it is left; what it has cost replaces what was reserved.

    stood: whether it may have been there at all. failed: why it never could be asked, as of
    `masked`.
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
        connection.execute(deployments.update().where(deployments.c.id == row.id).values(ended))
        connection.execute(tenants.delete().where(tenants.c.deployment == row.id))
        changed(connection, deployments, [row.id])

    ledger.write(work)


def _move_in(connection: Connection, number: int, lease: int) -> None:
    row = {"deployment": number, "lease": lease}
    connection.execute(insert_where_new(connection, tenants), row)


def _held(row: Any) -> bool:
    """Whether a living process starts it or takes it down; one that stands nobody holds."""
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
