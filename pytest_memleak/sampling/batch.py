"""Batches at a provider: many requests at once, answered within a day, each paid for once.

    batches.settle(question_ids)    # wait for the open ones
    batches.submit(asks, numbers)   # request what is missing, in new ones

A request without an answer is sent again in the next batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pytest_memleak.errors import JobPending, ProviderError
from pytest_memleak.interfaces.abilities import BatchCalls
from pytest_memleak.interfaces.protocols import JobStatus, SampleRequest
from pytest_memleak.ledger.batches import (
    batch_prompts,
    batch_requests,
    claim_batch,
    open_batches,
    request_key,
)
from pytest_memleak.ledger.call_outcomes import Answer, open_calls, record_each
from pytest_memleak.ledger.call_reservations import Terms
from pytest_memleak.ledger.jobs import Job, JobRow, end_job
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.ledger.tables import calls
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.sampling.call_deadline import Line
from pytest_memleak.sampling.remote_jobs import NO_REASON, Verbs, looked_at, pauses, started
from pytest_memleak.sampling.retry import Retry

_VERBS = ("find_batch", "start_batch", "poll_batch")
_RECORDED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of one endpoint.

    limit: the run's budget, in billionths of a US$; None without one
    wait:  whether to wait for batches to end; progress: notified meanwhile
    """

    ledger: Ledger
    remote: BatchCalls
    endpoint_id: str
    line: Line
    terms: Terms
    limit: int | None
    retry: Retry
    wait: bool
    progress: Progress

    def settle(self, question_ids: AbstractSet[int]) -> None:
        """Finish every batch that contains any of these prompts (by row id).

        Raises JobPending if one is unfinished and `wait` is false, ProviderError if one failed: its
        ordinals are free again then.
        """
        for _ in pauses(self.retry):
            self.ledger.expire_leases()
            batches = open_batches(
                self.ledger, self.endpoint_id, question_ids, recovery=self.retry.recovery
            )
            left = [batch for batch in batches if not self._advance(batch)]
            if not left:
                return
            if not self.wait or any(batch.stuck for batch in left):
                raise self._pending(left)
            self.progress(ProgressEvent(Phase.WAITING, left[0].job_id or "that is being started"))

    def submit(self, asks: Iterable[Ask], numbers: Mapping[tuple[str, str], int]) -> None:
        """Request all asks, in as few batches as hold them."""
        for chunk in self._chunks(asks):
            batch = claim_batch(
                self.ledger,
                chunk,
                endpoint_id=self.endpoint_id,
                numbers=numbers,
                terms=self.terms,
                limit=self.limit,
            )
            if batch is not None:
                self._started(batch)

    def _chunks(self, asks: Iterable[Ask]) -> Iterator[list[Ask]]:
        chunk: list[Ask] = []
        size = 0
        for ask in asks:
            request_size = self.remote.request_bytes(_measured(ask))
            too_large = size + request_size > self.remote.max_bytes
            if chunk and (len(chunk) >= self.remote.max_requests or too_large):
                yield chunk
                chunk, size = [], 0
            chunk.append(ask)
            size += request_size
        if chunk:
            yield chunk

    # --- one batch -------------------------------------------------------------------------

    def _advance(self, batch: Job) -> bool:
        """Advance a batch by one step; return whether it has ended."""
        if batch.ours_to_start:
            batch = self._started(batch)
        if batch.job_id is None:
            return False
        batch_id = batch.job_id
        state = looked_at(self._verbs(batch), batch_id, self.retry)
        if state.status is JobStatus.RUNNING:
            return False
        if state.status is JobStatus.FAILED:
            cause = masked(state.detail or NO_REASON)
            end_job(self.ledger, batch, JobRow.FAILED, cause=cause)
            raise ProviderError(
                cause,
                provider=self.terms.sampler.name,
                endpoint=self.endpoint_id,
                call=f"batch {batch_id}",
                hint="Rerun to send its requests again.",
            )
        self.retry.run(lambda: self.line.within("read_batch", lambda: self._read(batch, batch_id)))
        end_job(self.ledger, batch, JobRow.SUCCEEDED, cause="not answered in its batch")
        return True

    def _started(self, batch: Job) -> Job:
        return started(self.ledger, batch, self._verbs(batch), self.retry)

    def _verbs(self, batch: Job) -> Verbs:
        return Verbs(
            provider=self.terms.sampler.name,
            endpoint=self.endpoint_id,
            names=_VERBS,
            find=lambda: self.remote.find(batch.digest),
            start=lambda: self.remote.start(batch_requests(self.ledger, batch), batch.digest),
            poll=self.remote.poll,
            deadline=self.retry.deadline,
            reach=self.line.reach,
        )

    def _read(self, batch: Job, batch_id: str) -> None:
        """Record the answers; those recorded before stay unchanged."""
        unanswered = self.ledger.read(lambda c: open_calls(c, calls.c.batch == batch.number))
        by_key = {call.request_id: call for call in unanswered}
        prompts = batch_prompts(self.ledger, batch)
        answers: list[Answer] = []
        try:
            for key, completions in self.remote.read(batch_id):
                call = by_key.pop(key, None)
                if call is None:
                    continue
                came = self.line.completions(completions, "read_batch")
                answers.append(Answer(call, came, *self.terms.billed(prompts[call.question], came)))
                if len(answers) == _RECORDED_AT_ONCE:
                    answers = self._recorded(answers)
        finally:
            self._recorded(answers)

    def _recorded(self, answers: Sequence[Answer]) -> list[Answer]:
        """Record the answers; return an empty list for the next ones."""
        if answers:
            self.ledger.write(lambda connection: record_each(connection, answers))
        return []

    def _pending(self, left: Sequence[Job]) -> JobPending:
        named = ", ".join(batch.job_id or "not started yet" for batch in left)
        return JobPending(
            f"{len(left)} batches are unfinished: {named}"
            if len(left) > 1
            else f"The batch is unfinished: {named}",
            location=f"{self.terms.sampler.name} endpoint {self.endpoint_id}",
            hint="Rerun later to continue.",
        )


def _measured(ask: Ask) -> SampleRequest:
    """Build the request at its final length, before its batch has a digest."""
    question = ask.question
    return SampleRequest(
        request_key("0" * 64, 0),
        question.instruction,
        len(ask.ordinals),
        question.temperature,
        question.max_tokens,
        question.seed_from(ask.ordinals[0]),
    )
