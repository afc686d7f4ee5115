"""Batches of requests in one file, answered within a day (OpenAI's Batch API)."""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal

from pytest_memleak.interfaces.abilities import BatchCalls
from pytest_memleak.interfaces.protocols import (
    Completion,
    JobState,
    JobStatus,
    SampleRequest,
)
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    is_temporary_status,
    safe_message,
)
from pytest_memleak.providers.error_bodies import error_code, error_message
from pytest_memleak.providers.error_meanings import is_moderation
from pytest_memleak.providers.openai.api_forms import FORMS, Api, completions_in_answer
from pytest_memleak.providers.openai.openai_client import PROVIDER, OpenAICalls
from pytest_memleak.providers.response_fields import as_mapping, filtered
from pytest_memleak.records.number_format import amount

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import Batch, FileObject

DIGEST_KEY = "memleak_digest"
_RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})


def upload_once(
    calls: OpenAICalls,
    lines: IO[bytes],
    *,
    digest: str,
    purpose: Literal["batch", "fine-tune"],
    endpoint: str,
) -> str:
    """Return the id of a file, uploaded unless its name, purpose, and size exist."""
    name = f"memleak-{purpose.replace('-', '')}-{digest}.jsonl"
    size = lines.seek(0, io.SEEK_END)
    file: FileObject
    for file in calls.call_all(endpoint, "files.list", purpose=purpose, limit=1000):
        is_same = file.filename == name and file.bytes == size
        if is_same and file.status != "error":
            return file.id
    lines.seek(0)
    content = (name, lines, "application/jsonl")
    file = calls.call(endpoint, "files.create", file=content, purpose=purpose)
    return file.id


class ChatBatches:
    """Batches for one model; `body` makes the body of a request."""

    def __init__(
        self,
        calls: OpenAICalls,
        model: str,
        *,
        api: Api,
        body: Callable[[SampleRequest], dict[str, Any]],
    ) -> None:
        self._calls = calls
        self._model = model
        self._api: Api = api
        self._url = f"/v1/{FORMS[api].path}"
        self._body = body

    @property
    def abilities(self) -> BatchCalls:
        """These calls, within the limits of the Batch API."""
        return BatchCalls(
            self._find,
            self._start,
            lambda batch_id: self._state(self._retrieve_batch(batch_id)),
            self._read,
            max_requests=50_000,
            max_bytes=200_000_000,
            request_bytes=lambda request: len(self._request_line(request)),
        )

    def _find(self, digest: str) -> str | None:
        batch: Batch
        for batch in self._calls.call_all(self._model, "batches.list", limit=100):
            metadata = batch.metadata or {}
            if metadata.get(DIGEST_KEY) != digest:
                continue
            state = self._state(batch)
            if state.status is not JobStatus.FAILED:
                return batch.id
        return None

    def _start(self, requests: Sequence[SampleRequest], digest: str) -> str:
        with tempfile.TemporaryFile() as lines:
            lines.writelines(map(self._request_line, requests))
            file_id = upload_once(
                self._calls,
                lines,
                digest=digest,
                purpose="batch",
                endpoint=self._model,
            )
        batch: Batch = self._calls.call(
            self._model,
            "batches.create",
            completion_window="24h",
            endpoint=self._url,
            input_file_id=file_id,
            metadata={DIGEST_KEY: digest},
        )
        return batch.id

    def _read(self, batch_id: str) -> Iterator[tuple[str, Sequence[Completion]]]:
        """Yield the answered requests; a filtered prompt has withheld completions.

        Fetches everything before it yields the first.
        """
        batch = self._retrieve_batch(batch_id)
        withheld = self._requests_rejected_by_filter(batch)
        for row in self._rows_of_file(batch.output_file_id):
            key = row.get("custom_id")
            completions = completions_in_answer(self._api, _body(row))
            if isinstance(key, str) and completions:
                yield key, completions
        yield from withheld

    def _request_line(self, request: SampleRequest) -> bytes:
        line = {
            "custom_id": request.key,
            "method": "POST",
            "url": self._url,
            "body": self._body(request),
        }
        text = json.dumps(line)
        return text.encode() + b"\n"

    def _retrieve_batch(self, batch_id: str) -> Batch:
        batch: Batch = self._calls.call(self._model, "batches.retrieve", batch_id)
        return batch

    def _state(self, batch: Batch) -> JobState:
        """Return the state; `detail` names what failed, also of a partial success.

        A canceled or expired batch SUCCEEDED if part of it was answered; a batch whose
        requests were all rejected for good FAILED.
        """
        if batch.status in _RUNNING:
            return JobState(JobStatus.RUNNING)
        if batch.status == "failed":
            messages = safe_message(_first_batch_errors(batch))
            detail = messages or "the provider gives no reason"
            return JobState(JobStatus.FAILED, detail=detail)
        if not batch.output_file_id:
            return self._state_without_output(batch)
        details: list[str] = []
        if batch.status != "completed":
            details.append(batch.status)
        counts = batch.request_counts
        if counts is not None and counts.completed != counts.total:
            details.append(f"answered {counts.completed} of {counts.total} requests")
        return JobState(JobStatus.SUCCEEDED, detail=": ".join(details) or None)

    def _state_without_output(self, batch: Batch) -> JobState:
        """Return the state of a batch without an output file, by its error file."""
        causes: Counter[str] = Counter()
        worth_reading = False
        for row in self._rows_of_file(batch.error_file_id):
            error = _error_of_row(row)
            code = error.get("code")
            status = _response_status(row)
            if is_temporary_status(status) or _was_rejected_by_filter(row):
                worth_reading = True
            message = error.get("message") or code or ""
            parts = (f"{status or ''}", message)
            causes[" ".join(part for part in parts if part)] += 1
        detail = f"{batch.status}, no request was answered"
        for cause, count in causes.most_common(1):
            if cause:
                times = amount(count, "time")
                detail += f"; most frequent error ({times}): {safe_message(cause)}"
        if worth_reading:
            return JobState(JobStatus.SUCCEEDED, detail=detail)
        return JobState(JobStatus.FAILED, detail=detail)

    def _requests_rejected_by_filter(
        self, batch: Batch
    ) -> list[tuple[str, Sequence[Completion]]]:
        """Return the requests whose prompts a filter rejected."""
        rejected = {
            row.get("custom_id")
            for row in self._rows_of_file(batch.error_file_id)
            if _was_rejected_by_filter(row)
        }
        if not rejected:
            return []
        withheld: list[tuple[str, Sequence[Completion]]] = []
        for row in self._rows_of_file(batch.input_file_id):
            key = row.get("custom_id")
            if key is not None and key in rejected:
                n = row["body"].get("n") or 1
                withheld.append((key, filtered(n)))
        return withheld

    def _rows_of_file(self, file_id: str | None) -> Iterator[dict[str, Any]]:
        if file_id is None:
            return
        with tempfile.TemporaryFile() as lines:

            def stream(client: OpenAI) -> None:
                with client.files.with_streaming_response.content(file_id) as response:
                    lines.writelines(response.iter_bytes())

            self._calls.ask("files.content", stream, endpoint=self._model)
            failing = CallErrorFactory(PROVIDER, self._model, "files.content")
            yield from failing.rows(lines, f"file {file_id}")


def _first_batch_errors(batch: Batch) -> str:
    """Return the first errors of a batch that failed as a whole."""
    if batch.errors is None:
        return ""
    errors = batch.errors.data or []
    return "; ".join(error.message or error.code or "" for error in errors[:3])


def _body(row: Mapping[str, Any]) -> Mapping[str, Any]:
    response = as_mapping(row.get("response"))
    return as_mapping(response.get("body"))


def _response_status(row: Mapping[str, Any]) -> int:
    """Return the status of a row's response; 0 if it was never sent."""
    status = as_mapping(row.get("response")).get("status_code")
    return status if isinstance(status, int) else 0


def _was_rejected_by_filter(row: Mapping[str, Any]) -> bool:
    """Tell whether a filter rejected a row's prompt."""
    error = _error_of_row(row)
    message = error_message(error)
    return is_moderation(_response_status(row), error_code(error), message)


def _error_of_row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row's error: of the request (`error`) or of its response."""
    for error in (row.get("error"), _body(row).get("error")):
        if isinstance(error, Mapping):
            return error
    return {}
