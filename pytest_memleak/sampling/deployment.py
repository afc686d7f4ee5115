"""Deployments: put up once for whoever asks, waited for, and taken down by the last one.

    stands = ensure_deployment(ledger, provider, wanted, price=..., budget=...)
    leave(ledger, provider, stands)         # True once nothing of it is left
    settle(ledger, provider, debt)          # of a run that was killed

A deployment is a job as fine-tunes and batches are: its row stands in the ledger before it is
asked for, and one whose start was cut off is looked for at the provider before it is started. It
is also a debt: whatever becomes of the run, its row says what may be standing, until it is gone.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError, ProviderError, SettingsError
from pytest_memleak.interfaces.deployment_protocol import Deployment
from pytest_memleak.interfaces.protocols import JobState, JobStatus
from pytest_memleak.ledger.deployments import (
    OpenDeployment,
    claim_deployment,
    debts,
    leave_deployment,
    release_deployment,
    settle_deployment,
    take_over_deployment,
    until,
)
from pytest_memleak.ledger.jobs import Job, JobRow, update_job
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.endpoint_calls import Reach
from pytest_memleak.sampling.remote_jobs import (
    NO_REASON,
    Verbs,
    failure,
    found,
    looked_at,
    pauses,
    pending,
    started,
)
from pytest_memleak.sampling.retry import Retry

if TYPE_CHECKING:
    from pytest_memleak.interfaces.deployment_protocol import DeployingProvider
    from pytest_memleak.ledger.ledger import Ledger

_VERBS = ("find_deployment", "start_deployment", "poll_deployment")
_NEVER = "it was asked for, and never came"
_ASKED_ANEW = "another run asks for it anew"
_GOES_ON = "run again later: it goes on from here; memleak ledger cleanup takes it down instead"


@dataclass(frozen=True, slots=True)
class Stands:
    """What stands: its row, where, and until when it is asked (seconds since 1970)."""

    job: Job
    endpoint: str
    until: float


def ensure_deployment(
    ledger: Ledger,
    provider: DeployingProvider,
    wanted: Deployment,
    *,
    price: float | None,
    budget: float | None,
    wait: bool = True,
    retry: Retry | None = None,
    progress: Progress | None = None,
) -> Stands:
    """Where the weights stand: found, waited for, or put up.

    price: US$ an hour; budget: US$ of the run. Raises JobPending where it does not stand yet and
    `wait` is false, BudgetExceeded, SettingsError for a budget without a price, ProviderError
    where it failed, ProviderBusy where the provider cannot be reached.
    """
    retry, tell = _patient(retry), progress or Progress()
    limit = _limit(budget, price, wanted)
    for _ in pauses(retry):
        ledger.expire_leases()
        job = claim_deployment(
            ledger, provider.name, wanted, price=price, limit=limit, recovery=retry.recovery
        )
        since = job.doubtful_until - retry.recovery if job.doubtful_until else None
        verbs = _verbs(provider, wanted, retry, since=since)
        if job.state != JobRow.SUCCEEDED:
            tell(ProgressEvent(Phase.DEPLOYING, job.job_id or f"at {provider.name}"))
        if job.ours_to_start:
            job = _begun(ledger, job, verbs, retry)
        if job.state == JobRow.RUNNING and job.job_id is not None:
            job = _looked_at(ledger, provider, job, job.job_id, verbs, retry)
        if job.state == JobRow.SUCCEEDED and job.endpoint is not None:
            stands = Stands(job, job.endpoint, until(ledger, job))
            if time.time() < stands.until:
                return stands
            leave(ledger, provider, stands, retry=retry)  # its hours are over: put up anew
        if job.state == JobRow.LEAVING:
            # Another is taking it down, or was killed at it: then we do. It is put up anew.
            settle(ledger, provider, _debt_of(ledger, job), retry=retry)
        if job.state == JobRow.FAILED:
            raise failure(verbs, job, kind="deployment", hint=_ASKED_ANEW)
        if not wait or job.stuck:
            raise pending(verbs, job, kind="deployment", hint=_GOES_ON)
    raise AssertionError("pauses do not end")


def move_in(
    provider: DeployingProvider, wanted: Deployment, stands: Stands, *, retry: Retry | None = None
) -> None:
    """Let the endpoints of these weights know where they stand. Raises ProviderError."""

    def moved(endpoint: str) -> JobState:
        provider.move_in(wanted, endpoint, until=stands.until)
        return JobState(JobStatus.SUCCEEDED, endpoint=endpoint)

    retry = _patient(retry)
    verbs = _verbs(provider, wanted, retry, since=None)
    moving = replace(verbs, names=(*_VERBS[:2], "move_in"), poll=moved)
    looked_at(moving, stands.endpoint, retry)


def leave(
    ledger: Ledger, provider: DeployingProvider, stands: Stands, *, retry: Retry | None = None
) -> bool:
    """Ask it no more, and take it down where nobody else asks it; whether that is all done."""
    if not leave_deployment(ledger, stands.job):
        return True
    return settle(ledger, provider, _debt_of(ledger, stands.job), retry=retry)


def settle(
    ledger: Ledger,
    provider: DeployingProvider,
    debt: OpenDeployment | None,
    *,
    retry: Retry | None = None,
) -> bool:
    """Take down what stands, or may; whether nothing of it is left.

    It stays a debt where others hold it, while it is being put up, and where the provider cannot
    be asked.
    """
    if debt is None:
        return True
    job = take_over_deployment(ledger, debt)
    if job is None:
        return False
    retry = _patient(retry)
    wanted = Deployment(debt.digest, debt.weights, debt.options, 0.0)
    verbs = _verbs(provider, wanted, retry, since=None if debt.job_id else debt.began)
    state = debt.state
    try:
        stood = _put_up(verbs, debt, retry)
        if stood is not None and stood.status is JobStatus.RUNNING:
            release_deployment(ledger, job, state=state, cause="it is still being put up")
            return False
        if stood is not None and stood.endpoint is not None:
            state = JobRow.LEAVING
            _take_down(provider, verbs, stood.endpoint, retry)
    except MemleakError as error:
        release_deployment(ledger, job, state=state, cause=masked(error.message))
        return False
    failed = stood is None or stood.status is JobStatus.FAILED
    cause = masked((stood and stood.detail) or _NEVER) if failed else None
    settle_deployment(ledger, job, stood=stood is not None, failed=cause)
    return True


# --- putting up ----------------------------------------------------------------------------


def _begun(ledger: Ledger, job: Job, verbs: Verbs, retry: Retry) -> Job:
    try:
        return started(ledger, job, verbs, retry)
    except ProviderError as error:
        debt = _debt_of(ledger, job)
        if debt is not None and debt.state == JobRow.FAILED:  # refused, or never sent
            settle_deployment(ledger, job, stood=False, failed=masked(error.cause))
        raise


def _looked_at(
    ledger: Ledger,
    provider: DeployingProvider,
    job: Job,
    job_id: str,
    verbs: Verbs,
    retry: Retry,
) -> Job:
    state = looked_at(verbs, job_id, retry)
    if state.status is JobStatus.RUNNING:
        return job
    if state.status is JobStatus.SUCCEEDED and state.endpoint is not None:
        return update_job(
            ledger, job, state=JobRow.SUCCEEDED, endpoint=state.endpoint, ended=time.time()
        )
    # What it left behind is taken down at once, or stays a debt.
    leave_deployment(ledger, job)
    settle(ledger, provider, _debt_of(ledger, job), retry=retry)
    return replace(job, state=JobRow.FAILED, cause=masked(state.detail or NO_REASON))


# --- taking down ---------------------------------------------------------------------------


def _put_up(verbs: Verbs, debt: OpenDeployment, retry: Retry) -> JobState | None:
    """What became of it, with whatever endpoint it left; None where it never came."""
    if debt.endpoint is not None:
        return JobState(JobStatus.SUCCEEDED, endpoint=debt.endpoint)
    job_id = debt.job_id or found(verbs, retry, until=debt.began + retry.recovery)
    if job_id is None:
        return None
    state = looked_at(verbs, job_id, retry)
    if state.status is JobStatus.FAILED:
        return replace(state, endpoint=found(verbs, retry, until=0.0))
    return state


def _take_down(provider: DeployingProvider, verbs: Verbs, endpoint: str, retry: Retry) -> None:
    def ended(name: str) -> JobState:
        done = provider.end_deployment(name)
        return JobState(JobStatus.SUCCEEDED if done else JobStatus.RUNNING)

    ending = replace(verbs, names=(*_VERBS[:2], "end_deployment"), poll=ended)
    began, stop, pause = time.monotonic(), threading.Event(), retry.first
    while looked_at(ending, endpoint, retry).status is JobStatus.RUNNING:
        if time.monotonic() - began > retry.total:
            raise ProviderError(
                f"it still stands {retry.total:g} s after it was asked to go",
                provider=verbs.provider,
                endpoint=verbs.endpoint,
                call="end_deployment",
            )
        retry.pause(stop, pause)
        pause = min(2 * pause, retry.poll)


def _debt_of(ledger: Ledger, job: Job) -> OpenDeployment | None:
    return next((one for one in debts(ledger) if one.number == job.number), None)


# --- what verbs and errors say -------------------------------------------------------------


def _patient(retry: Retry | None) -> Retry:
    """As long as a deployment may be on its way unseen."""
    retry = retry or Retry()
    return replace(retry, recovery=retry.deploying)


def _verbs(
    provider: DeployingProvider, wanted: Deployment, retry: Retry, *, since: float | None
) -> Verbs:
    asked = [since]  # when one may have been asked for that no answer told of

    def start() -> str:
        asked[0] = asked[0] or time.time()
        return provider.start_deployment(wanted)

    return Verbs(
        provider=provider.name,
        endpoint=wanted.weights,
        names=_VERBS,
        find=lambda: provider.find_deployment(wanted.digest, since=asked[0]),
        start=start,
        poll=provider.poll_deployment,
        deadline=retry.deadline,
        reach=Reach(),
    )


def _limit(budget: float | None, price: float | None, wanted: Deployment) -> int | None:
    if budget is None:
        return None
    if price is None:
        raise SettingsError(
            "there is a budget, but no price an hour for what has to be deployed",
            location=wanted.weights,
            hint="add hour = ... (US$) to the price of the [[model]]; 0 for one that costs nothing",
        )
    return math.floor(budget * 1e9)
