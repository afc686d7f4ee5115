"""Jobs at the provider, fine-tunes, batches, deployments: started once, looked at to their end.

A job's row is written before it is started, and held by who starts it. Whoever finds a row that
was not started to its end looks for the job at the provider, by its digest, before starting it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from tenacity import Retrying

from pytest_memleak.errors import (
    JobPending,
    LedgerError,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
)
from pytest_memleak.interfaces.protocols import JobState
from pytest_memleak.ledger.jobs import Job, JobRow, end_job, update_job
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.endpoint_calls import NoAnswer, Reach, in_doubt, timed
from pytest_memleak.sampling.retry import LOOK_AGAIN, Retry

T = TypeVar("T")

NO_REASON = "the provider gives no reason"


@dataclass(frozen=True, slots=True)
class Verbs:
    """The three things to do with a job, and the names that errors give them.

    deadline: the seconds that a start may take, None for as long as it takes
    reach:    whether the server has answered anything yet
    """

    provider: str
    endpoint: str
    names: tuple[str, str, str]
    find: Callable[[], str | None]
    start: Callable[[], str]
    poll: Callable[[str], JobState]
    deadline: float | None
    reach: Reach


class StartUnanswered(ProviderError):
    """A start that did not return by its deadline, and may yet begin a job."""


def started(ledger: Ledger, job: Job, verbs: Verbs, retry: Retry) -> Job:
    """The job as it is once it was found at the provider, or else started there.

    Raises ProviderError where that fails: a start that was refused, or never sent, has ended
    the job; what else was cut off leaves it to whoever finds it next. Raises StartUnanswered
    where a start does not return by its deadline: it is not repeated.
    """

    def late(result: str | BaseException) -> None:
        # The answer to a start that was given up: either there is a job now, or there is none.
        with suppress(LedgerError):
            if isinstance(result, str):
                update_job(ledger, job, state=JobRow.RUNNING, job_id=result, cause=None)
            else:
                update_job(ledger, job, lease=None, cause=None)

    def starting() -> None:
        update_job(ledger, job, began=time.time())

    doubt = _Doubt(job.doubtful_until)
    try:
        job_id = _found_or_started(verbs, retry, doubt, starting, late)
    except StartUnanswered as error:
        update_job(ledger, job, cause=masked(error.cause))
        raise
    except ProviderBusy as error:
        if isinstance(error, RequestNotSent) and not doubt.until:
            end_job(ledger, job, JobRow.FAILED, cause=masked(error.cause))
        else:
            update_job(ledger, job, lease=None)
        raise
    except ProviderError as error:
        end_job(ledger, job, JobRow.FAILED, cause=masked(error.cause))
        raise
    return update_job(ledger, job, state=JobRow.RUNNING, job_id=job_id)


@dataclass(slots=True)
class _Doubt:
    """When (seconds since 1970) a job that cannot be found does not exist either.

    Until then one may be on its way from an earlier start; 0 where there was none.
    """

    until: float


def _found_or_started(
    verbs: Verbs,
    retry: Retry,
    doubt: _Doubt,
    starting: Callable[[], object],
    late: Callable[[str | BaseException], object],
) -> str:
    """The id of the job.

    starting: called before each start
    late:     called with what a start that was given up brings after all
    """
    start_name = verbs.names[1]
    stop = threading.Event()
    for attempt in _attempts(verbs, retry, stop):
        with attempt:
            known = found(verbs, retry, until=doubt.until, stop=stop)
            if known is not None:
                return known
            starting()
            try:
                return _timed(verbs, start_name, verbs.start, verbs.deadline, late=late)
            except NoAnswer as error:
                raise StartUnanswered(
                    error.cause,
                    provider=verbs.provider,
                    endpoint=verbs.endpoint,
                    call=start_name,
                    hint="run again later: it is looked for at the provider first",
                ) from None
            except ProviderBusy as error:
                if in_doubt(error):
                    doubt.until = time.time() + retry.recovery
                raise
    raise AssertionError("the last attempt raises")


def found(
    verbs: Verbs, retry: Retry, *, until: float, stop: threading.Event | None = None
) -> str | None:
    """The id of the job, looked for until then (seconds since 1970) if it is not there."""
    while True:
        job_id = _timed(verbs, verbs.names[0], verbs.find, retry.deadline)
        if job_id is not None or time.time() >= until:
            return job_id
        retry.pause(stop or threading.Event(), min(LOOK_AGAIN, max(0.0, until - time.time())))


def looked_at(verbs: Verbs, job_id: str, retry: Retry) -> JobState:
    """Where the job stands at the provider."""
    name = verbs.names[2]
    for attempt in _attempts(verbs, retry, threading.Event()):
        with attempt:
            return _timed(verbs, name, lambda: verbs.poll(job_id), retry.deadline)
    raise AssertionError("the last attempt raises")


def _attempts(verbs: Verbs, retry: Retry, stop: threading.Event) -> Retrying:
    return retry.attempts(stop, unreached=lambda: None if verbs.reach.reached else retry.unreached)


def failure(verbs: Verbs, job: Job, *, kind: str, hint: str) -> ProviderError:
    """What to raise of a job that failed; `kind`: what it is."""
    return ProviderError(
        job.cause or NO_REASON,
        provider=verbs.provider,
        endpoint=verbs.endpoint,
        call=f"{kind} {job.job_id}" if job.job_id else verbs.names[1],
        hint=hint,
    )


def pending(verbs: Verbs, job: Job, *, kind: str, hint: str) -> JobPending:
    """What to raise of a job that nobody waits for; `kind`: what it is."""
    if job.stuck:
        what = f"the start of the {kind} has not been answered"
    elif job.job_id is None:
        what = f"another process is starting the {kind}"
    else:
        what = f"the {kind} {job.job_id} is still running"
    return JobPending(what, location=f"{verbs.provider} endpoint {verbs.endpoint}", hint=hint)


def pauses(retry: Retry) -> Iterator[None]:
    """Waits between looks, longer each time."""
    stop = threading.Event()
    pause = retry.poll
    while True:
        yield
        retry.pause(stop, pause)
        pause = min(2 * pause, retry.poll_most)


def _timed(
    verbs: Verbs,
    name: str,
    call: Callable[[], T],
    deadline: float | None,
    *,
    late: Callable[[T | BaseException], object] | None = None,
) -> T:
    return timed(
        call,
        provider=verbs.provider,
        endpoint=verbs.endpoint,
        verb=name,
        deadline=deadline,
        late=late,
        reach=verbs.reach,
    )
