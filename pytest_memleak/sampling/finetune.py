"""Fine-tunes: one per training set and recipe, whoever asks for it, and however often.

    training = training_set(books, recipe)
    endpoint_id = ensure_finetune(ledger, provider, training)      # waits; JobPending with
    wait=False

Processes that need the same fine-tune share one row, so that one of them starts it and all of
them wait for it. A fine-tune that failed is not tried again by the run it failed in.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.capabilities import StartsWithin
from pytest_memleak.interfaces.protocols import (
    JobStatus,
    Provider,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.ledger.jobs import Job, JobRow, claim_finetune, update_job
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.records import Book
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.endpoint_calls import Reach
from pytest_memleak.sampling.remote_jobs import (
    NO_REASON,
    Verbs,
    failure,
    looked_at,
    pauses,
    pending,
    started,
)
from pytest_memleak.sampling.retry import Retry

_VERBS = ("find_finetune", "start_finetune", "poll_finetune")
_STARTED_ANEW = "another run starts it anew, unless the provider still shows it as failed"
_GOES_ON = "run again later: it goes on from here"


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


def ensure_finetune(
    ledger: Ledger,
    provider: Provider,
    training: TrainingSet,
    *,
    wait: bool = True,
    retry: Retry | None = None,
    progress: Progress | None = None,
) -> str:
    """The id of the endpoint fine-tuned on `training`: found, waited for, or started.

    Raises JobPending where it is not ready and `wait` is false, ProviderError where it failed,
    ProviderBusy where the provider cannot be reached.
    """
    retry, tell = retry or Retry(), progress or Progress()
    verbs = Verbs(
        provider=provider.name,
        endpoint=f"fine-tuned on {training.digest[:12]}",
        names=_VERBS,
        find=lambda: provider.find_finetune(training.digest),
        start=lambda: provider.start_finetune(training),
        poll=provider.poll_finetune,
        deadline=(
            provider.start_deadline if isinstance(provider, StartsWithin) else retry.deadline
        ),
        reach=Reach(),
    )
    for _ in pauses(retry):
        ledger.expire_leases()
        job = claim_finetune(
            ledger,
            provider.name,
            training.digest,
            examples=len(training.examples),
            recovery=retry.recovery,
        )
        if job.state != JobRow.SUCCEEDED:
            tell(ProgressEvent(Phase.TUNING, job.job_id or f"at {provider.name}"))
        if job.ours_to_start:
            job = started(ledger, job, verbs, retry)
        if job.state == JobRow.RUNNING and job.job_id is not None:
            job = _looked_at(ledger, job, job.job_id, verbs, retry)
        if job.state == JobRow.SUCCEEDED and job.endpoint is not None:
            return job.endpoint
        if job.state == JobRow.FAILED:
            raise failure(verbs, job, kind="fine-tune", hint=_STARTED_ANEW)
        if not wait or job.stuck:
            raise pending(
                verbs, job, kind="fine-tune", hint="run again later: it goes on from here"
            )
    raise AssertionError("pauses do not end")


def _looked_at(ledger: Ledger, job: Job, job_id: str, verbs: Verbs, retry: Retry) -> Job:
    state = looked_at(verbs, job_id, retry)
    if state.status is JobStatus.RUNNING:
        return job
    ended: dict[str, Any] = {"ended": time.time()}
    if state.status is JobStatus.SUCCEEDED and state.endpoint is not None:
        ended |= {"endpoint": state.endpoint, "tokens": state.tokens}
        return update_job(ledger, job, state=JobRow.SUCCEEDED, **ended)
    cause = state.detail or (
        NO_REASON if state.status is JobStatus.FAILED else "it succeeded without naming an endpoint"
    )
    return update_job(ledger, job, state=JobRow.FAILED, cause=masked(cause), **ended)
