"""Jobs at a provider (fine-tunes, batches, deployments), started once and polled.

A job's row is written before the job starts, and held by the process that starts it. If
the start was interrupted, the next process searches the provider for the job, by its
digest, before starting it. Processes that need the same fine-tune share one row. A
failed fine-tune isn't retried by the run in which it failed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pytest_memleak.errors import (
    JobPending,
    LedgerError,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
)
from pytest_memleak.interfaces.abilities import finetuning_of
from pytest_memleak.interfaces.protocols import (
    JobState,
    JobStatus,
    Provider,
    TrainingSet,
)
from pytest_memleak.ledger.jobs import Job, JobRow, claim_finetune, end_job, update_job
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.providers.call_errors import stored_message
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.billing_doubt import NoAnswer, in_doubt
from pytest_memleak.sampling.call_deadline import TimedCalls
from pytest_memleak.sampling.retry import Retry

T = TypeVar("T")

NO_REASON = "The provider gives no reason"


@dataclass(frozen=True, slots=True)
class JobCalls:
    """The three calls of a job, and their names in errors.

    start_deadline: the seconds that a start may take; None for those of any call
    """

    calls: TimedCalls
    names: tuple[str, str, str]
    find: Callable[[], str | None]
    start: Callable[[], str]
    poll: Callable[[str], JobState]
    retry: Retry
    start_deadline: float | None = None


class StartUnanswered(ProviderError):
    """A start that missed its deadline, and may still begin a job."""


def find_or_start(
    ledger: Ledger,
    job: Job,
    job_calls: JobCalls,
) -> Job:
    """Find the job at the provider, or else start it; return its row afterwards.

    Raises ProviderError if that fails: a start that was rejected or never sent ends the
    job; any other interruption leaves it to the next process. Raises StartUnanswered if
    a start misses its deadline: it isn't repeated.
    """
    doubtful_until = job.doubtful_until

    def attempt() -> str:
        nonlocal doubtful_until
        job_id = find_job(job_calls, until=doubtful_until)
        if job_id is not None:
            return job_id
        try:
            return _start(ledger, job, job_calls)
        except ProviderBusy as error:
            if in_doubt(error):  # a job may still come of it
                doubtful_until = time.time() + job_calls.retry.recovery
            raise

    try:
        job_id = _run_with_retries(job_calls, attempt)
    except StartUnanswered as error:
        update_job(ledger, job, cause=masked(error.cause))
        raise
    except ProviderBusy as error:
        if isinstance(error, RequestNotSent) and not doubtful_until:
            end_job(ledger, job, JobRow.FAILED, cause=masked(error.cause))
        else:
            update_job(ledger, job, lease=None)
        raise
    except ProviderError as error:
        end_job(ledger, job, JobRow.FAILED, cause=masked(error.cause))
        raise
    return update_job(ledger, job, state=JobRow.RUNNING, job_id=job_id)


def _start(
    ledger: Ledger,
    job: Job,
    job_calls: JobCalls,
) -> str:
    def late(result: str | BaseException) -> None:
        # The late answer tells whether there is a job.
        with suppress(LedgerError):
            if isinstance(result, str):
                update_job(
                    ledger,
                    job,
                    state=JobRow.RUNNING,
                    job_id=result,
                    cause=None,
                )
            else:
                update_job(ledger, job, lease=None, cause=None)

    update_job(ledger, job, began=time.time())
    try:
        return job_calls.calls.run(
            job_calls.names[1],
            job_calls.start,
            deadline=job_calls.start_deadline,
            late=late,
        )
    except NoAnswer as error:
        hint = "rerun later: the run first searches the provider for this job"
        place = job_calls.calls.failing(job_calls.names[1]).place
        raise StartUnanswered(error.cause, hint=hint, **place) from None


def find_job(job_calls: JobCalls, *, until: float) -> str | None:
    """Return the job's id; if it isn't found, search again until then (since 1970)."""
    retry = job_calls.retry
    while True:
        job_id = job_calls.calls.run(job_calls.names[0], job_calls.find)
        if job_id is not None or time.time() >= until:
            return job_id
        retry.look_again(until)


def poll_state(job_calls: JobCalls, job_id: str) -> JobState:
    """Poll the job's state at the provider."""
    verb = job_calls.names[2]

    def attempt() -> JobState:
        return job_calls.calls.run(verb, lambda: job_calls.poll(job_id))

    return _run_with_retries(job_calls, attempt)


def _run_with_retries(job_calls: JobCalls, attempt: Callable[[], T]) -> T:
    retry = job_calls.retry

    def patience() -> float | None:
        return job_calls.calls.patience(retry.max_seconds_to_reach)

    return retry.run(attempt, max_seconds_to_reach=patience)


def failure(
    job_calls: JobCalls,
    job: Job,
    *,
    hint: str,
) -> ProviderError:
    """Build the error for a failed job."""
    call = f"{job.kind} {job.job_id}" if job.job_id else job_calls.names[1]
    cause = stored_message(job.cause) if job.cause else NO_REASON
    return job_calls.calls.failing(call).final(cause, hint)


def pending(
    job_calls: JobCalls,
    job: Job,
    *,
    hint: str,
) -> JobPending:
    """Build the error for an unfinished job."""
    if job.stuck:
        what = f"The provider hasn't confirmed the start of the {job.kind}"
    elif job.job_id is None:
        what = f"Another process is starting the {job.kind}"
    else:
        what = f"The {job.kind} {job.job_id} is still running"
    return JobPending(what, location=job_calls.calls.location, hint=hint)


def pauses(retry: Retry) -> Iterator[None]:
    """Wait between polls, longer each time."""
    stop = threading.Event()
    pause = retry.poll
    while True:
        yield
        retry.pause(stop, pause)
        pause = min(2 * pause, retry.poll_most)


_CALL_NAMES = ("find_finetune", "start_finetune", "poll_finetune")
_STARTED_ANEW = (
    "once the provider no longer lists the failed job, rerun to start it again"
)
_GOES_ON = "rerun later to continue"


def ensure_finetune(
    ledger: Ledger,
    provider: Provider,
    training: TrainingSet,
    *,
    free: bool = False,
    wait: bool = True,
    retry: Retry | None = None,
    progress: Progress | None = None,
) -> str:
    """Return the id of the endpoint fine-tuned on `training`: found, or created.

    Raises JobPending if it isn't ready and `wait` is false, ProviderError if it failed,
    ProviderBusy if the provider is unreachable.
    """
    retry = retry or Retry()
    tell = progress or Progress()
    finetuning = finetuning_of(provider)
    endpoint = f"fine-tuned on {training.digest[:12]}"
    job_calls = JobCalls(
        TimedCalls(provider.name, endpoint, retry.deadline),
        names=_CALL_NAMES,
        find=lambda: finetuning.find(training.digest),
        start=lambda: finetuning.start(training),
        poll=finetuning.poll,
        retry=retry,
        start_deadline=finetuning.start_deadline,
    )
    for _ in pauses(retry):
        ledger.expire_leases()
        job = claim_finetune(
            ledger,
            provider.name,
            training.digest,
            examples=len(training.examples),
            recovery=retry.recovery,
            free=free,
        )
        if job.state != JobRow.SUCCEEDED:
            detail = job.job_id or f"at {provider.name}"
            tell(ProgressEvent(Phase.TUNING, detail))
        if job.ours_to_start:
            job = find_or_start(ledger, job, job_calls)
        if job.state == JobRow.RUNNING and job.job_id is not None:
            job = _after_poll(ledger, job, job.job_id, job_calls)
        if job.state == JobRow.SUCCEEDED and job.endpoint is not None:
            return job.endpoint
        if job.state == JobRow.FAILED:
            raise failure(job_calls, job, hint=_STARTED_ANEW)
        if not wait or job.stuck:
            raise pending(job_calls, job, hint=_GOES_ON)
    raise AssertionError("pauses don't end")


def _after_poll(
    ledger: Ledger,
    job: Job,
    job_id: str,
    job_calls: JobCalls,
) -> Job:
    state = poll_state(job_calls, job_id)
    if state.status is JobStatus.RUNNING:
        return job
    ended: dict[str, Any] = {"ended": time.time()}
    if state.status is JobStatus.SUCCEEDED and state.endpoint is not None:
        ended |= {"endpoint": state.endpoint, "tokens": state.tokens}
        return update_job(ledger, job, state=JobRow.SUCCEEDED, **ended)
    cause = NO_REASON
    if state.status is JobStatus.SUCCEEDED:
        cause = "The job succeeded without naming an endpoint"
    ended["cause"] = masked(state.detail or cause)
    return update_job(ledger, job, state=JobRow.FAILED, **ended)
