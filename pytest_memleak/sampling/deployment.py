"""Deployments: created once for all processes, waited for, and deleted by the last one.

A deployment is a job, like fine-tunes and batches: its row is in the ledger before the
request, and if its start was interrupted, the provider is searched for it first.
However the run ends, the row names what may still be active until that is deleted.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError, ProviderError
from pytest_memleak.interfaces.abilities import Deployment, DeploymentCalls
from pytest_memleak.interfaces.protocols import JobState, JobStatus
from pytest_memleak.ledger.call_reservations import budget_limit
from pytest_memleak.ledger.deployments import (
    OpenDeployment,
    claim_deployment,
    deployment_end_time,
    leave_deployment,
    possibly_active_deployments,
    release_deployment,
    settle_deployment,
    take_over_deployment,
)
from pytest_memleak.ledger.jobs import Job, JobRow, update_job
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.call_deadline import TimedCalls
from pytest_memleak.sampling.remote_jobs import (
    NO_REASON,
    JobCalls,
    failure,
    find_job,
    find_or_start,
    pauses,
    pending,
    poll_state,
)
from pytest_memleak.sampling.retry import Retry

if TYPE_CHECKING:
    from pytest_memleak.ledger.ledger import Ledger

_CALL_NAMES = ("find_deployment", "start_deployment", "poll_deployment")
_NEVER = "The deployment was requested, but never became active"
_ASKED_ANEW = "rerun to request it again"
_HOURLY_PRICE = "an hourly price for the deployment"
_NO_HOURLY_PRICE = (
    "add hour = ... (US$) to the price of the [[model]]; 0 if the deployment is free"
)
_GOES_ON = "rerun later to continue, or delete it with memleak ledger cleanup"


@dataclass(frozen=True, slots=True)
class Deployed:
    """An active deployment: its row, its endpoint, and its end (seconds since 1970)."""

    job: Job
    endpoint: str
    until: float


def ensure_deployment(
    ledger: Ledger,
    platform: DeploymentCalls,
    wanted: Deployment,
    *,
    price: float | None,
    budget: float | None,
    wait: bool = True,
    retry: Retry | None = None,
    progress: Progress | None = None,
) -> Deployed:
    """Return the active deployment of the weights: found, waited for, or created.

    price: US$ an hour; budget: US$ of the run. Raises JobPending if it isn't active yet
    and `wait` is false, BudgetExceeded, SettingsError for a budget without a price,
    ProviderError if it failed, ProviderBusy if the provider is unreachable.
    """
    retry = _patient(retry)
    tell = progress or Progress()
    limit = budget_limit(
        budget,
        price,
        location=wanted.weights,
        needs=_HOURLY_PRICE,
        hint=_NO_HOURLY_PRICE,
    )
    for _ in pauses(retry):
        ledger.expire_leases()
        job = claim_deployment(
            ledger,
            platform.provider,
            wanted,
            price=price,
            limit=limit,
            recovery=retry.recovery,
        )
        since = job.doubtful_until - retry.recovery if job.doubtful_until else None
        job_calls = _job_calls(platform, wanted, retry, since=since)
        if job.state != JobRow.SUCCEEDED:
            place = job.job_id or f"at {platform.provider}"
            tell(ProgressEvent(Phase.DEPLOYING, place))
        job = _advanced(ledger, platform, job, job_calls)
        if job.state == JobRow.SUCCEEDED and job.endpoint is not None:
            active = Deployed(job, job.endpoint, deployment_end_time(ledger, job))
            if time.time() < active.until:
                return active
            # Its hours are over: create it again.
            leave(ledger, platform, active, retry=retry)
        if job.state == JobRow.LEAVING:
            # Another process deletes it, or died doing so. Then it is created again.
            delete_or_extend(ledger, platform, _debt_of(ledger, job), retry=retry)
        if job.state == JobRow.FAILED:
            raise failure(job_calls, job, hint=_ASKED_ANEW)
        if not wait or job.stuck:
            raise pending(job_calls, job, hint=_GOES_ON)
    raise AssertionError("pauses don't end")


def move_in(
    platform: DeploymentCalls,
    wanted: Deployment,
    active: Deployed,
    *,
    retry: Retry | None = None,
) -> None:
    """Tell the endpoints of these weights where they are deployed; or ProviderError."""

    def moved(endpoint: str) -> JobState:
        platform.move_in(wanted, endpoint, active.until)
        return JobState(JobStatus.SUCCEEDED, endpoint=endpoint)

    retry = _patient(retry)
    job_calls = _job_calls(platform, wanted, retry, since=None)
    moving = replace(job_calls, names=(*_CALL_NAMES[:2], "move_in"), poll=moved)
    poll_state(moving, active.endpoint)


def leave(
    ledger: Ledger,
    platform: DeploymentCalls,
    active: Deployed,
    *,
    retry: Retry | None = None,
) -> bool:
    """Stop using it, and delete it if no one else does; tell whether that is done."""
    if not leave_deployment(ledger, active.job):
        return True
    return delete_or_extend(ledger, platform, _debt_of(ledger, active.job), retry=retry)


def delete_or_extend(
    ledger: Ledger,
    platform: DeploymentCalls,
    debt: OpenDeployment | None,
    *,
    retry: Retry | None = None,
) -> bool:
    """Delete a deployment that may be active; return whether nothing of it is left.

    It stays open while others hold it, while it is being created, and while the
    provider is unreachable.
    """
    if debt is None:
        return True
    job = take_over_deployment(ledger, debt)
    if job is None:
        return False
    retry = _patient(retry)
    wanted = Deployment(debt.digest, debt.weights, debt.options, 0.0)
    since = None if debt.job_id else debt.began
    job_calls = _job_calls(platform, wanted, retry, since=since)
    state = debt.state
    try:
        stood = _requested_state(job_calls, debt)
        if stood is not None and stood.status is JobStatus.RUNNING:
            release_deployment(
                ledger,
                job,
                state=state,
                cause="the deployment is still being created",
            )
            return False
        if stood is not None and stood.endpoint is not None:
            state = JobRow.LEAVING
            _delete(platform, job_calls, stood.endpoint)
    except MemleakError as error:
        release_deployment(ledger, job, state=state, cause=masked(error.message))
        return False
    failed = stood is None or stood.status is JobStatus.FAILED
    cause = None
    if failed:
        detail = stood.detail if stood else None
        cause = masked(detail or _NEVER)
    settle_deployment(ledger, job, stood=stood is not None, failed=cause)
    return True


# --- creation -------------------------------------------------------------------------


def _advanced(
    ledger: Ledger,
    platform: DeploymentCalls,
    job: Job,
    job_calls: JobCalls,
) -> Job:
    """Start a deployment if that is due, and poll a running one."""
    if job.ours_to_start:
        job = _begun(ledger, job, job_calls)
    if job.state == JobRow.RUNNING and job.job_id is not None:
        job = _after_poll(ledger, platform, job, job.job_id, job_calls)
    return job


def _begun(
    ledger: Ledger,
    job: Job,
    job_calls: JobCalls,
) -> Job:
    try:
        return find_or_start(ledger, job, job_calls)
    except ProviderError as error:
        debt = _debt_of(ledger, job)
        if debt is not None and debt.state == JobRow.FAILED:  # rejected, or never sent
            settle_deployment(ledger, job, stood=False, failed=masked(error.cause))
        raise


def _after_poll(
    ledger: Ledger,
    platform: DeploymentCalls,
    job: Job,
    job_id: str,
    job_calls: JobCalls,
) -> Job:
    state = poll_state(job_calls, job_id)
    if state.status is JobStatus.RUNNING:
        return job
    if state.status is JobStatus.SUCCEEDED and state.endpoint is not None:
        return update_job(
            ledger,
            job,
            state=JobRow.SUCCEEDED,
            endpoint=state.endpoint,
            ended=time.time(),
        )
    # What a failed start left behind is deleted now, or stays open.
    leave_deployment(ledger, job)
    delete_or_extend(ledger, platform, _debt_of(ledger, job), retry=job_calls.retry)
    cause = masked(state.detail or NO_REASON)
    return replace(job, state=JobRow.FAILED, cause=cause)


# --- taking down ----------------------------------------------------------------------


def _requested_state(job_calls: JobCalls, debt: OpenDeployment) -> JobState | None:
    """Return a requested deployment's state; None if it was never created."""
    if debt.endpoint is not None:
        return JobState(JobStatus.SUCCEEDED, endpoint=debt.endpoint)
    job_id = debt.job_id
    if not job_id:
        doubtful_until = debt.began + job_calls.retry.recovery
        job_id = find_job(job_calls, until=doubtful_until)
    if job_id is None:
        return None
    state = poll_state(job_calls, job_id)
    if state.status is JobStatus.FAILED:
        endpoint = find_job(job_calls, until=0.0)
        return replace(state, endpoint=endpoint)
    return state


def _delete(
    platform: DeploymentCalls,
    job_calls: JobCalls,
    endpoint: str,
) -> None:
    retry = job_calls.retry

    def ended(name: str) -> JobState:
        done = platform.end(name)
        return JobState(JobStatus.SUCCEEDED if done else JobStatus.RUNNING)

    ending = replace(job_calls, names=(*_CALL_NAMES[:2], "end_deployment"), poll=ended)
    began = time.monotonic()
    stop = threading.Event()
    pause = retry.first
    while poll_state(ending, endpoint).status is JobStatus.RUNNING:
        if time.monotonic() - began > retry.total:
            raise job_calls.calls.failing("end_deployment").final(
                f"The deployment is still active {retry.total:g} s after the deletion "
                "request",
            )
        retry.pause(stop, pause)
        pause = min(2 * pause, retry.poll)


def _debt_of(ledger: Ledger, job: Job) -> OpenDeployment | None:
    for deployment in possibly_active_deployments(ledger):
        if deployment.number == job.number:
            return deployment
    return None


# --- provider calls and their errors --------------------------------------------------


def _patient(retry: Retry | None) -> Retry:
    """Return the settings with the time that a new deployment may stay invisible."""
    retry = retry or Retry()
    return replace(retry, recovery=retry.deploying)


def _job_calls(
    platform: DeploymentCalls,
    wanted: Deployment,
    retry: Retry,
    *,
    since: float | None,
) -> JobCalls:
    # When a request without an answer may have been sent.
    requested_at = since

    def start() -> str:
        nonlocal requested_at
        requested_at = requested_at or time.time()
        return platform.start(wanted)

    return JobCalls(
        TimedCalls(platform.provider, wanted.weights, retry.deadline),
        names=_CALL_NAMES,
        find=lambda: platform.find(wanted.digest, requested_at),
        start=start,
        poll=platform.poll,
        retry=retry,
    )
