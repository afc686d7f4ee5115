"""Many chat requests in one file, answered within a day (OpenAI's Batch API)."""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from pytest_memleak.interfaces.abilities import Abilities, BatchCalls
from pytest_memleak.interfaces.protocols import Completion, JobState, JobStatus, SampleRequest
from pytest_memleak.providers.call_errors import Failing, may_pass, safe_message
from pytest_memleak.providers.openai.chat import FILTER_CODES, ChatEndpoint, StoredChatEndpoint
from pytest_memleak.providers.openai.choices import as_mapping, filtered, read_completions
from pytest_memleak.providers.openai.openai_client import PROVIDER, OpenAICalls

DIGEST_KEY = "memleak_digest"


def file_name(kind: str, digest: str) -> str:
    """The name of the file that belongs to `digest`."""
    return f"memleak-{kind}-{digest}.jsonl"


def upload_once(
    calls: OpenAICalls,
    lines: IO[bytes],
    *,
    name: str,
    purpose: Literal["batch", "fine-tune"],
    endpoint: str,
) -> str:
    """The id of the file of that name, purpose and size; uploaded if it is not there."""
    size = lines.seek(0, io.SEEK_END)
    there = calls.ask(
        "files.list",
        lambda client: [
            file.id
            for file in client.files.list(purpose=purpose, limit=1000)
            if file.filename == name and file.bytes == size and file.status != "error"
        ],
        endpoint=endpoint,
    )
    if there:
        return there[0]
    lines.seek(0)
    uploaded = calls.ask(
        "files.create",
        lambda client: client.files.create(
            file=(name, lines, "application/jsonl"), purpose=purpose
        ),
        endpoint=endpoint,
    )
    return uploaded.id


if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch

_URLS: Final[Mapping[str, Literal["/v1/chat/completions", "/v1/completions"]]] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
}
_RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})


class BatchChatEndpoint(ChatEndpoint):
    """A chat model that also answers batches."""

    @property
    def abilities(self) -> Abilities:
        """As of any chat model, and batches."""
        batches = BatchCalls(
            self.find_batch,
            self.start_batch,
            self.poll_batch,
            self.read_batch,
            max_requests=50_000,
            max_bytes=200_000_000,
            request_bytes=self.request_bytes,
        )
        return dataclasses.replace(super().abilities, batches=batches)

    def request_bytes(self, request: SampleRequest) -> int:
        """The size of one request in a batch, in bytes."""
        return len(self._line(request))

    def find_batch(self, digest: str) -> str | None:
        """The id of a batch that carries `digest` and has not failed, if there is one."""
        batches = self._calls.ask(
            "batches.list",
            lambda client: [
                batch
                for batch in client.batches.list(limit=100)
                if (batch.metadata or {}).get(DIGEST_KEY) == digest
            ],
            endpoint=self._settings.model,
        )
        alive = (batch for batch in batches if self._state(batch).status is not JobStatus.FAILED)
        return next((batch.id for batch in alive), None)

    def start_batch(self, requests: Sequence[SampleRequest], digest: str) -> str:
        """Upload the requests, unless that was done before, and start a batch of them."""
        with tempfile.TemporaryFile() as lines:
            for request in requests:
                lines.write(self._line(request))
            file_id = upload_once(
                self._calls,
                lines,
                name=file_name("batch", digest),
                purpose="batch",
                endpoint=self._settings.model,
            )
        batch = self._calls.ask(
            "batches.create",
            lambda client: client.batches.create(
                completion_window="24h",
                endpoint=_URLS[self._batch_api],
                input_file_id=file_id,
                metadata={DIGEST_KEY: digest},
            ),
            endpoint=self._settings.model,
        )
        return batch.id

    def poll_batch(self, batch_id: str) -> JobState:
        """Where the batch stands; `detail` says what failed, also where part was answered.

        A batch that was cancelled or has expired is SUCCEEDED if part of it was answered, and
        one of which every request was refused for good is FAILED.
        """
        return self._state(
            self._calls.ask(
                "batches.retrieve",
                lambda client: client.batches.retrieve(batch_id),
                endpoint=self._settings.model,
            )
        )

    def read_batch(self, batch_id: str) -> Iterator[tuple[str, Sequence[Completion]]]:
        """Per answered request its key and completions; what failed is absent.

        A prompt that the provider's filter rejects is answered, by withheld completions.
        All that is read is fetched before the first request is yielded.
        """
        batch = self._calls.ask(
            "batches.retrieve",
            lambda client: client.batches.retrieve(batch_id),
            endpoint=self._settings.model,
        )
        withheld = self._withheld(batch)
        seen: set[str] = set()
        for row in self._rows(batch.output_file_id):
            key, completions = row.get("custom_id"), read_completions(_body(row))
            if isinstance(key, str) and key not in seen and completions:
                seen.add(key)
                yield key, completions
        yield from ((key, filtered(n)) for key, n in withheld.items())

    # --- one batch

    @property
    def _batch_api(self) -> Literal["chat", "completions"]:
        return "completions" if self._settings.api == "completions" else "chat"

    def _kind_of_text(self) -> type[ChatEndpoint]:
        return BatchChatEndpoint

    def _line(self, request: SampleRequest) -> bytes:
        body = self._body(request, api=self._batch_api)
        line = {
            "custom_id": request.key,
            "method": "POST",
            "url": _URLS[self._batch_api],
            "body": body,
        }
        return json.dumps(line).encode() + b"\n"

    def _state(self, batch: Batch) -> JobState:
        if batch.status in _RUNNING:
            return JobState(JobStatus.RUNNING)
        if batch.status == "failed":
            errors = (batch.errors.data if batch.errors else None) or []
            messages = "; ".join(error.message or error.code or "" for error in errors[:3])
            detail = safe_message(messages) or "the provider gives no reason"
            return JobState(JobStatus.FAILED, detail=detail)
        counts = batch.request_counts
        answered, asked = (counts.completed, counts.total) if counts else (None, None)
        missing = "" if answered == asked else f"{answered} of {asked} requests were answered"
        if batch.output_file_id:
            ended = "" if batch.status == "completed" else batch.status
            detail = ": ".join(part for part in (ended, missing) if part)
            return JobState(JobStatus.SUCCEEDED, detail=detail or None)
        return self._unanswered(batch)

    def _withheld(self, batch: Batch) -> dict[str, int]:
        """Keys of the requests whose prompts were rejected by a filter, and their `n`."""
        rejected = {
            row.get("custom_id")
            for row in self._rows(batch.error_file_id)
            if _error(row).get("code") in FILTER_CODES
        }
        asked = self._rows(batch.input_file_id if rejected else None)
        return {
            row["custom_id"]: row["body"].get("n") or 1
            for row in asked
            if row.get("custom_id") in rejected
        }

    def _unanswered(self, batch: Batch) -> JobState:
        """A batch that ended without an output file: what its error file says."""
        causes: Counter[str] = Counter()
        worth_reading = False
        for row in self._rows(batch.error_file_id):
            status, error = _status(row), _error(row)
            worth_reading |= may_pass(status) or error.get("code") in FILTER_CODES
            message = error.get("message") or error.get("code") or ""
            causes[" ".join(part for part in (f"{status or ''}", message) if part)] += 1
        (cause, count) = causes.most_common(1)[0] if causes else ("", 0)
        reason = f": {count} times {safe_message(cause)}" if cause else ""
        return JobState(
            JobStatus.SUCCEEDED if worth_reading else JobStatus.FAILED,
            detail=f"{batch.status}, no request was answered{reason}",
        )

    def _rows(self, file_id: str | None) -> Iterator[dict[str, Any]]:
        if file_id is None:
            return
        with tempfile.TemporaryFile() as lines:

            def stream(client: OpenAI) -> None:
                with client.files.with_streaming_response.content(file_id) as response:
                    lines.writelines(response.iter_bytes())

            self._calls.ask("files.content", stream, endpoint=self._settings.model)
            failing = Failing(PROVIDER, self._settings.model, "files.content")
            yield from failing.rows(lines, f"file {file_id}")


class StoredBatchChatEndpoint(StoredChatEndpoint, BatchChatEndpoint):
    """A chat model that answers batches, and whose provider keeps online answers."""


# --- rows of an output or error file --------------------------------------------------------


def _status(row: Mapping[str, Any]) -> int:
    """The HTTP status of the row's answer; 0 where it was never asked."""
    status = as_mapping(row.get("response")).get("status_code")
    return status if isinstance(status, int) else 0


def _body(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return as_mapping(as_mapping(row.get("response")).get("body"))


def _error(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row's error: of the request (`error`) or of its answer (`response.body.error`)."""
    for error in (row.get("error"), _body(row).get("error")):
        if isinstance(error, Mapping):
            return error
    return {}
