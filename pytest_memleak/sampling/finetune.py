"""Fine-tunes: one per training set and recipe, whoever asks for it, and however often.

    training = training_set(books, recipe)
    endpoint_id = ensure_finetune(ledger, provider, training)      # waits; Pending with wait=False

Processes that need the same fine-tune share one row, so that one of them starts it and all of
them wait for it. A fine-tune that failed is not tried again by the run it failed in.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.contracts.protocols import JobStatus, Provider, TrainingExample, TrainingSet
from pytest_memleak.errors import BookError, LedgerError, Pending, ProviderBusy, ProviderError
from pytest_memleak.ledger.jobs import JobRow
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import jobs, owners
from pytest_memleak.records import Book
from pytest_memleak.records.phases import Phase, Progress, Standing
from pytest_memleak.redaction.keys import masked
from pytest_memleak.sampling.remote_jobs import (
    StartUnanswered,
    Verbs,
    found_or_started,
    looked_at,
    pauses,
)
from pytest_memleak.sampling.retry import Patience

__all__ = ["begun", "ensure_finetune", "finetuned", "training_set"]

_VERBS = ("find_finetune", "start_finetune", "poll_finetune")


def training_set(books: Iterable[Book], recipe: Mapping[str, object]) -> TrainingSet:
    """The instruction/excerpt pairs of the books, and the digest that names them.

    recipe: everything else that makes the fine-tune what it is, as JSON would have it: provider
    and where it is, base model, hyperparameters. Raises BookError where there is no pair.
    """
    read = tuple(books)
    examples = tuple(
        TrainingExample(excerpt.instruction, excerpt.text)
        for book in read
        for excerpt in book.excerpts
        if excerpt.instruction
    )
    if not examples:
        named = ", ".join(repr(book.id) for book in read) or "none"
        raise BookError(
            f"there is nothing to fine-tune on: no excerpt of the books ({named}) has an"
            " instruction",
            hint="give the training books summaries, so that instructions can be written",
        )
    digest = hashlib.sha256()
    for part in (
        json.dumps(recipe, sort_keys=True, default=str),
        *(text for one in examples for text in (one.instruction, one.text)),
    ):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return TrainingSet(examples, digest.hexdigest())


def finetuned(ledger: Ledger, provider: str, digest: str) -> str | None:
    """The endpoint of a fine-tune that has succeeded, by the ledger alone."""
    return ledger.read(
        lambda connection: connection.execute(
            sa.select(jobs.c.endpoint).where(
                jobs.c.provider == provider,
                jobs.c.digest == digest,
                jobs.c.state == JobRow.SUCCEEDED,
            )
        ).scalar()
    )


def begun(ledger: Ledger, provider: str, digest: str) -> bool:
    """Whether the ledger has a fine-tune of that digest that has not failed."""
    asked = sa.select(jobs.c.id).where(
        jobs.c.provider == provider, jobs.c.digest == digest, jobs.c.state != JobRow.FAILED
    )
    return ledger.read(lambda connection: connection.execute(asked).first() is not None)


def ensure_finetune(
    ledger: Ledger,
    provider: Provider,
    training: TrainingSet,
    *,
    wait: bool = True,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> str:
    """The id of the endpoint fine-tuned on `training`: found, waited for, or started.

    A provider whose `start_finetune` does the training itself sets `start_deadline` (seconds,
    None: however long it takes) in place of `patience.deadline`.

    Raises Pending where it is not ready and `wait` is false, ProviderError where it failed,
    ProviderBusy where the provider cannot be reached.
    """
    patience, tell = patience or Patience(), progress or Progress()
    verbs = Verbs(
        provider=provider.name,
        endpoint=f"fine-tuned on {training.digest[:12]}",
        names=_VERBS,
        find=lambda: provider.find_finetune(training.digest),
        start=lambda: provider.start_finetune(training),
        poll=provider.poll_finetune,
    )
    for _ in pauses(patience):
        ledger.bury_the_dead()
        job = _claim(ledger, provider.name, training, patience)
        if job.state != JobRow.SUCCEEDED:
            tell(Standing(Phase.TUNING, job.job_id or f"at {provider.name}"))
        if job.ours_to_start:
            deadline: float | None = getattr(provider, "start_deadline", patience.deadline)
            job = _start(ledger, job, verbs, patience, deadline)
        if job.state == JobRow.RUNNING and job.job_id is not None:
            job = _look(ledger, job, job.job_id, verbs, patience)
        if job.state == JobRow.SUCCEEDED and job.endpoint is not None:
            return job.endpoint
        if job.state == JobRow.FAILED:
            raise _failure(verbs, job)
        if not wait or job.stuck:
            raise _pending(verbs, job)
    raise AssertionError("pauses do not end")


# --- the row -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Job:
    """A row of `jobs`.

    ours_to_start:  whether this process has just taken it to start it
    doubtful_until: when a job that the provider does not know does not exist either
    stuck:          whether this process began to start it and has given up waiting
    """

    number: int
    state: str
    job_id: str | None = None
    endpoint: str | None = None
    cause: str | None = None
    ours_to_start: bool = False
    doubtful_until: float = 0.0
    stuck: bool = False


def _claim(ledger: Ledger, provider: str, training: TrainingSet, patience: Patience) -> _Job:
    """The row as it is, taken for ourselves where nobody else is starting it."""
    owner = ledger.owner
    fresh = {
        "state": JobRow.STARTING,
        "owner": owner,
        "run": ledger.run,
        "job_id": None,
        "cause": None,
        "ended": None,
    }

    def work(connection: Connection) -> _Job:
        row = connection.execute(
            sa.select(jobs, owners.c.ended.label("owner_ended"))
            .join(owners, owners.c.id == jobs.c.owner, isouter=True)
            .where(jobs.c.provider == provider, jobs.c.digest == training.digest)
        ).one_or_none()
        if row is None:
            number = connection.execute(
                jobs.insert()
                .values(
                    provider=provider,
                    digest=training.digest,
                    examples=len(training.examples),
                    began=time.time(),
                    **fresh,
                )
                .returning(jobs.c.id)
            ).scalar_one()
            return _Job(number, JobRow.STARTING, ours_to_start=True)
        starting = row.state == JobRow.STARTING
        abandoned = starting and (row.owner is None or row.owner_ended is not None)
        if abandoned or (row.state == JobRow.FAILED and row.run != ledger.run):
            connection.execute(jobs.update().where(jobs.c.id == row.id).values(fresh))
            until = row.began + patience.recovery if abandoned else 0.0
            return _Job(row.id, JobRow.STARTING, ours_to_start=True, doubtful_until=until)
        stuck = starting and row.owner == owner and row.cause is not None
        return _Job(row.id, row.state, row.job_id, row.endpoint, row.cause, stuck=stuck)

    return ledger.write(work)


def _start(
    ledger: Ledger, job: _Job, verbs: Verbs, patience: Patience, deadline: float | None
) -> _Job:
    def late(result: str | BaseException) -> None:
        # The answer to a start that was given up: either there is a job now, or there is none.
        with suppress(LedgerError):
            if isinstance(result, str):
                _update(ledger, job, state=JobRow.RUNNING, job_id=result, cause=None)
            else:
                _update(ledger, job, owner=None, cause=None)

    try:
        job_id = found_or_started(
            verbs,
            patience,
            deadline=deadline,
            doubtful_until=job.doubtful_until,
            starting=lambda: _update(ledger, job, began=time.time()),
            late=late,
        )
    except StartUnanswered as error:
        _update(ledger, job, cause=masked(error.cause))
        raise
    except ProviderBusy:
        _update(ledger, job, owner=None)
        raise
    except ProviderError as error:
        _update(ledger, job, state=JobRow.FAILED, cause=masked(error.cause), ended=time.time())
        raise
    return _update(ledger, job, state=JobRow.RUNNING, job_id=job_id)


def _look(ledger: Ledger, job: _Job, job_id: str, verbs: Verbs, patience: Patience) -> _Job:
    state = looked_at(verbs, job_id, patience)
    if state.status is JobStatus.RUNNING:
        return job
    if state.status is JobStatus.SUCCEEDED and state.endpoint is not None:
        return _update(
            ledger,
            job,
            state=JobRow.SUCCEEDED,
            endpoint=state.endpoint,
            tokens=state.tokens,
            ended=time.time(),
        )
    cause = state.detail or (
        "the provider gives no reason"
        if state.status is JobStatus.FAILED
        else "it succeeded without naming an endpoint"
    )
    return _update(
        ledger, job, state=JobRow.FAILED, job_id=job_id, cause=masked(cause), ended=time.time()
    )


def _update(ledger: Ledger, job: _Job, **values: Any) -> _Job:
    """Write it, unless the job has ended meanwhile; the job as it is then."""

    def work(connection: Connection) -> _Job:
        connection.execute(
            jobs.update()
            .where(jobs.c.id == job.number, jobs.c.state.in_([JobRow.STARTING, JobRow.RUNNING]))
            .values(values)
        )
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job.number)).one()
        return _Job(row.id, row.state, row.job_id, row.endpoint, row.cause)

    return ledger.write(work)


def _failure(verbs: Verbs, job: _Job) -> ProviderError:
    name = f"fine-tune {job.job_id}" if job.job_id else verbs.names[1]
    return ProviderError(
        job.cause or "the provider gives no reason",
        provider=verbs.provider,
        endpoint=verbs.endpoint,
        call=name,
        hint="another run starts it anew, unless the provider still shows it as failed",
    )


def _pending(verbs: Verbs, job: _Job) -> Pending:
    if job.stuck:
        what = "the start of the fine-tune has not been answered"
    elif job.job_id is None:
        what = "another process is starting the fine-tune"
    else:
        what = f"the fine-tune {job.job_id} is still running"
    return Pending(
        what,
        place=f"{verbs.provider} endpoint {verbs.endpoint}",
        hint="run again later: it goes on from here",
    )
