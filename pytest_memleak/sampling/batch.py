"""Batches at a provider: many requests at once, answered within a day.

A request is paid for once. One without an answer is sent again in the next batch.

In the ledger, a batch has one call for every request in it. They hold their ordinals
until the batch ends, even if the process dies. Its digest covers its requests, its
endpoint, and how often the same batch was sent before, so a later process finds the
batch at the provider even without the ledger.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import JobPending
from pytest_memleak.interfaces.abilities import BatchCalls
from pytest_memleak.interfaces.protocols import JobStatus, SampleRequest
from pytest_memleak.ledger.call_outcomes import (
    CallResult,
    add_to_runs,
    open_calls,
    run_spending,
    store_call_results,
)
from pytest_memleak.ledger.call_reservations import (
    budget_error,
    call_row,
    first_ask_with_free_ordinals,
    insert_calls,
    taken_ordinals,
)
from pytest_memleak.ledger.call_states import NO_RESPONSE_IN_BATCH
from pytest_memleak.ledger.hash_chain import add_row
from pytest_memleak.ledger.jobs import (
    OPEN_JOB,
    Job,
    JobKind,
    JobRow,
    end_job,
    job_taken_over_if_interrupted,
    rows_with_leases,
)
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import (
    Ask,
    PromptSpec,
    digest_of_parts,
    prompt_from_row,
)
from pytest_memleak.ledger.tables import batches, calls, stored_prompts
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.remote_jobs import (
    NO_REASON,
    JobCalls,
    find_or_start,
    pauses,
    poll_state,
)
from pytest_memleak.sampling.reserved_call import SamplingContext

_CALL_NAMES = ("find_batch", "start_batch", "poll_batch")
_RECORDED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of one endpoint.

    wait: whether to wait for batches to end; progress: notified meanwhile
    """

    context: SamplingContext
    remote: BatchCalls
    wait: bool
    progress: Progress

    def finish_batches(self) -> None:
        """Finish every batch that contains any of the pair's prompts.

        Raises JobPending if one is unfinished and `wait` is false, ProviderError if one
        failed: its ordinals are free again then.
        """
        context = self.context
        for _ in pauses(context.retry):
            context.ledger.expire_leases()
            batches = _open_batches(context)
            left = [batch for batch in batches if not self._advance(batch)]
            if not left:
                return
            is_any_stuck = any(batch.stuck for batch in left)
            if is_any_stuck or not self.wait:
                raise self._unfinished(left)
            first_id = left[0].job_id or "(being started)"
            self.progress(ProgressEvent(Phase.WAITING, first_id))

    def _unfinished(self, left: Sequence[Job]) -> JobPending:
        named = ", ".join(batch.job_id or "not started yet" for batch in left)
        message = f"The batch is unfinished: {named}"
        if len(left) > 1:
            message = f"{len(left)} batches are unfinished: {named}"
        return JobPending(
            message,
            location=self.context.endpoint.calls.location,
            hint="rerun later to continue",
        )

    def submit(self, asks: Iterable[Ask]) -> None:
        """Request all asks, in as few batches as hold them."""
        for chunk in self._chunks(asks):
            batch = claim_batch(self.context, chunk)
            if batch is not None:
                self._started(batch)

    def _chunks(self, asks: Iterable[Ask]) -> Iterator[list[Ask]]:
        chunk: list[Ask] = []
        size = 0
        key = request_key("0" * 64, 0)  # as long as any request's
        for ask in asks:
            request = ask.prompt.request(key, ask.ordinals)
            request_size = self.remote.request_bytes(request)
            too_large = size + request_size > self.remote.max_bytes
            too_many = len(chunk) >= self.remote.max_requests
            if chunk and (too_many or too_large):
                yield chunk
                chunk = []
                size = 0
            chunk.append(ask)
            size += request_size
        if chunk:
            yield chunk

    # --- one batch --------------------------------------------------------------------

    def _advance(self, batch: Job) -> bool:
        """Advance a batch by one step; return whether it has ended."""
        if batch.ours_to_start:
            batch = self._started(batch)
        if batch.job_id is None:
            return False
        batch_id = batch.job_id
        ledger = self.context.ledger
        timed = self.context.endpoint.calls
        state = poll_state(self._job_calls(batch), batch_id)
        if state.status is JobStatus.RUNNING:
            return False
        if state.status is JobStatus.FAILED:
            cause = masked(state.detail or NO_REASON)
            end_job(ledger, batch, JobRow.FAILED, cause=cause)
            failing = timed.failing(f"batch {batch_id}")
            raise failing.final(cause, "rerun to send its requests again")
        self.context.retry.run(
            lambda: timed.run("read_batch", lambda: self._read(batch, batch_id)),
        )
        end_job(ledger, batch, JobRow.SUCCEEDED, cause=NO_RESPONSE_IN_BATCH)
        return True

    def _started(self, batch: Job) -> Job:
        return find_or_start(self.context.ledger, batch, self._job_calls(batch))

    def _job_calls(self, batch: Job) -> JobCalls:
        return JobCalls(
            self.context.endpoint.calls,
            names=_CALL_NAMES,
            find=lambda: self.remote.find(batch.digest),
            start=lambda: self.remote.start(
                _requests(self.context.ledger, batch),
                batch.digest,
            ),
            poll=self.remote.poll,
            retry=self.context.retry,
        )

    def _read(self, batch: Job, batch_id: str) -> None:
        """Record the answers; those recorded before stay unchanged."""
        ledger = self.context.ledger
        in_batch = calls.c.batch == batch.number
        unanswered = ledger.read(lambda connection: open_calls(connection, in_batch))
        by_key = {call.request_id: call for call in unanswered}
        prompts = _prompts(ledger, batch)
        answers: list[CallResult] = []
        try:
            for key, completions in self.remote.read(batch_id):
                call = by_key.pop(key, None)
                if call is None:
                    continue
                prompt = prompts[call.prompt]
                came = self.context.endpoint.completions(completions, "read_batch")
                billed = self.context.terms.billed(prompt, came)
                answers.append(CallResult(call, came, *billed))
                if len(answers) == _RECORDED_AT_ONCE:
                    answers = self._recorded(answers)
        finally:
            self._recorded(answers)

    def _recorded(self, answers: Sequence[CallResult]) -> list[CallResult]:
        """Record the answers; return an empty list for the next ones."""
        if answers:
            self.context.ledger.write(
                lambda connection: store_call_results(connection, answers),
            )
        return []


_DIGEST_IN_KEY = 20


def request_key(digest: str, place: int) -> str:
    """Return the key of a batch's request: the same whenever the same batch is sent."""
    return f"{digest[:_DIGEST_IN_KEY]}-{place:06d}"


def claim_batch(context: SamplingContext, asks: Sequence[Ask]) -> Job | None:
    """Record that a batch is about to start, with every ordinal of `asks` that is free.

    Returns None if none is free. Raises BudgetExceeded if the run's budget is too
    small.
    """
    lease = context.ledger.lease
    run = context.ledger.run
    prompt_ids = context.prompt_ids
    endpoint_id = context.endpoint.id

    def work(connection: Connection) -> Job | None:
        numbered = [(prompt_ids[ask.prompt.key], ask) for ask in asks]
        taken = taken_ordinals(connection, numbered)
        candidates = [
            first_ask_with_free_ordinals([ask], prompt_ids, taken) for ask in asks
        ]
        free = [ask for ask in candidates if ask is not None]
        if not free:
            return None
        context.ledger.require_disk_room()
        estimates = [context.terms.estimate(ask) for ask in free]
        total = sum(estimate or 0 for estimate in estimates)
        spent = run_spending(connection, {run})
        error = budget_error(spent[run], total, context.limit)
        if error is not None:
            raise error
        digest = _new_digest(connection, endpoint_id, free)
        shared = {
            "provider": context.terms.sampler.name,
            "lease": lease,
            "run": run,
            "began": time.time(),
        }
        state = {
            "endpoint": endpoint_id,
            "digest": digest,
            "state": JobRow.STARTING,
        }
        number = add_row(connection, batches, shared | state)
        rows = []
        for place, ask in enumerate(free):
            row = call_row(
                ask,
                prompt_ids[ask.prompt.key],
                kind="batch",
                batch=number,
                request_id=request_key(digest, place),
                estimate=estimates[place],
                **shared,
            )
            rows.append(row)
        ordinals = [ask.ordinals for ask in free]
        insert_calls(connection, rows, ordinals)
        add_to_runs(connection, [(run, total)])
        return Job(
            JobKind.BATCH,
            number,
            digest,
            JobRow.STARTING,
            endpoint=endpoint_id,
            ours_to_start=True,
        )

    return context.ledger.write(work)


def _new_digest(
    connection: Connection,
    endpoint_id: str,
    asks: Sequence[Ask],
) -> str:
    """Digest the asks and how often the same asks were sent before."""
    for attempt in itertools.count():
        parts = (f"{ask.prompt.key} {ask.ordinals}" for ask in asks)
        digest = digest_of_parts(endpoint_id, attempt, *parts)
        same_digest = sa.select(batches.c.id).where(batches.c.digest == digest)
        if connection.execute(same_digest).first() is None:
            return digest
    raise AssertionError("count doesn't end")


def _open_batches(context: SamplingContext) -> list[Job]:
    """List the unfinished batches that contain any of the pair's prompts.

    Takes over batches whose start was interrupted.
    """
    lease = context.ledger.lease
    recovery = context.retry.recovery
    kind = JobKind.BATCH
    unfinished = (
        rows_with_leases(kind)
        .where(
            batches.c.endpoint == context.endpoint.id,
            batches.c.state.in_(OPEN_JOB),
        )
        .order_by(batches.c.id)
    )

    def has_own_prompts(connection: Connection, batch: int) -> bool:
        in_batch = calls.c.batch == batch
        prompts = sa.select(calls.c.prompt).where(in_batch).distinct()
        numbers = connection.scalars(prompts)
        return not context.prompt_of_id.keys().isdisjoint(numbers)

    def work(connection: Connection) -> list[Job]:
        jobs = []
        for row in connection.execute(unfinished).all():
            if has_own_prompts(connection, row.id):
                job = job_taken_over_if_interrupted(
                    connection, kind, row, lease=lease, recovery=recovery
                )
                jobs.append(job)
        return jobs

    return context.ledger.write(work)


def _requests(ledger: Ledger, batch: Job) -> list[SampleRequest]:
    """Return the batch's requests, in order."""
    query = (
        sa.select(
            calls.c.request_id,
            stored_prompts.c.instruction,
            calls.c.asked,
            stored_prompts.c.temperature,
            calls.c.max_tokens,
            calls.c.seed,
        )
        .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
        .where(calls.c.batch == batch.number)
        .order_by(calls.c.id)
    )
    requests = [SampleRequest(*row) for row in ledger.rows(query)]
    return [_as_sent(request) for request in requests]


def _as_sent(request: SampleRequest) -> SampleRequest:
    """Return a request of the ledger's row, where values below 0 stand for none."""
    temperature, cap = request.temperature, request.max_tokens
    if temperature is not None and temperature < 0:
        temperature = None
    if cap is not None and cap < 0:
        cap = None
    return replace(request, temperature=temperature, max_tokens=cap)


def _prompts(ledger: Ledger, batch: Job) -> dict[int, PromptSpec]:
    """Return the batch's prompts by row id."""
    of_batch = sa.select(calls.c.prompt).where(calls.c.batch == batch.number)
    prompts = sa.select(stored_prompts).where(stored_prompts.c.id.in_(of_batch))
    rows = ledger.rows(prompts)
    return {row.id: prompt_from_row(row._mapping) for row in rows}  # noqa: SLF001 - its public name
