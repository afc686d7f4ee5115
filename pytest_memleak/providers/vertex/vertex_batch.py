"""Batches of generateContent requests in a file in Cloud Storage."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import IO, TYPE_CHECKING, Any

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.abilities import Abilities, BatchCalls
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
from pytest_memleak.providers.response_fields import as_mapping
from pytest_memleak.providers.vertex.gemini import (
    GeminiEndpoint,
    GeminiSettings,
    read_completions,
)
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, VertexCalls
from pytest_memleak.records.number_format import amount

if TYPE_CHECKING:
    from google.genai.types import BatchJob, TuningJob

_CONTENT_DIGITS = 16


class Bucket:
    """Objects below a `gs://bucket/prefix`; `endpoint` is named in error messages."""

    def __init__(
        self,
        uri: str,
        *,
        calls: VertexCalls,
        endpoint: str,
    ) -> None:
        self.uri = f"{uri.rstrip('/')}/memleak"
        self._calls = calls
        self._endpoint = endpoint

    def upload_once(self, lines: Iterable[bytes], *, name: str) -> str:
        """Write an object with these lines unless it exists, and return its URI.

        Its name is `name` and the start of its content's digest, so it never changes.
        """
        digest = hashlib.sha256()
        with tempfile.TemporaryFile() as file:
            for line in lines:
                digest.update(line)
                file.write(line)
            uri = f"{self.uri}/{name}-{digest.hexdigest()[:_CONTENT_DIGITS]}.jsonl"
            self._calls.ask(
                "storage.upload",
                lambda: self._upload(file, uri),
                endpoint=self._endpoint,
            )
        return uri

    def rows(self, directory: str) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects in every .jsonl file below `directory` (gs://...).

        Fetches all before it yields the first. Raises ProviderBusy for a damaged line.
        """
        with tempfile.TemporaryFile() as lines:
            self._calls.ask(
                "storage.download",
                lambda: self._download(directory, lines),
                endpoint=self._endpoint,
            )
            failing = CallErrorFactory(PROVIDER, self._endpoint, "storage.download")
            yield from failing.rows(lines, f"the files in {directory}")

    def folders_with(self, directory: str, name: str) -> list[str]:
        """Return the folders below `directory` (gs://...) with an object `name`."""
        bucket, prefix = _bucket_and_path(f"{directory.rstrip('/')}/")
        return self._calls.ask(
            "storage.list",
            lambda: sorted(
                f"gs://{bucket}/{blob.name.rpartition('/')[0]}"
                for blob in self._blobs(bucket, prefix)
                if blob.name.rpartition("/")[2] == name
            ),
            endpoint=self._endpoint,
        )

    def _upload(self, file: IO[bytes], uri: str) -> None:
        from google.api_core.exceptions import PreconditionFailed

        bucket, name = _bucket_and_path(uri)
        try:
            self._calls.storage().bucket(bucket).blob(name).upload_from_file(
                file,
                rewind=True,
                size=file.tell(),
                content_type="application/jsonl",
                if_generation_match=0,
                timeout=self._calls.timeout,
                retry=None,
            )
        except PreconditionFailed:
            return  # it exists

    def _download(self, directory: str, lines: IO[bytes]) -> None:
        blobs = self._blobs(*_bucket_and_path(f"{directory.rstrip('/')}/"))
        for blob in sorted(blobs, key=lambda listed: str(listed.name)):
            if blob.name.endswith(".jsonl"):
                blob.download_to_file(lines, timeout=self._calls.timeout, retry=None)
                lines.write(b"\n")

    def _blobs(self, bucket: str, prefix: str) -> Iterable[Any]:
        blobs: Iterable[Any] = self._calls.storage().list_blobs(
            bucket,
            prefix=prefix,
            timeout=self._calls.timeout,
            retry=None,
        )
        return blobs


def _bucket_and_path(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


_ENDED_WELL = frozenset({"JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED"})
ENDED_BADLY = frozenset(
    {"JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"},
)
# An output row repeats its request, so a request's key is sent in its labels: values of
# at most 63 lower-case letters and digits, hence base 32. (Google's billing export has
# them, too; they name excerpts and rounds, and quote nothing.)
_KEY_LABEL = "memleak_key_"
_LABEL_LENGTH = 63
_CODE = re.compile(r"\"code\":\s*(\d{3})\b")


class BatchGeminiEndpoint(GeminiEndpoint):
    """A Gemini model that also answers batches."""

    def __init__(
        self,
        *,
        settings: GeminiSettings,
        calls: VertexCalls,
        bucket: str,
    ) -> None:
        super().__init__(settings=settings, calls=calls)
        self._model = settings.model
        self._bucket = Bucket(bucket, calls=calls, endpoint=settings.model)

    @property
    def abilities(self) -> Abilities:
        """Batches, within the limits of batch prediction."""
        batches = BatchCalls(
            self._find,
            self._start,
            lambda batch_id: self._state(self._job(batch_id)),
            self._read,
            max_requests=200_000,
            max_bytes=1_000_000_000,
            request_bytes=lambda request: len(self._request_line(request)),
        )
        return dataclasses.replace(super().abilities, batches=batches)

    def _find(self, digest: str) -> str | None:
        name = _display_name(digest)

        def batches() -> list[BatchJob]:
            return [
                *self._calls.vertex().batches.list(
                    config={"page_size": 100, "filter": f'display_name="{name}"'},
                ),
            ]

        for job in self._calls.ask("batches.list", batches, endpoint=self._model):
            if job.display_name != name or not job.name:
                continue
            if self._state(job).status is not JobStatus.FAILED:
                return job.name
        return None

    def _start(self, requests: Sequence[SampleRequest], digest: str) -> str:
        model = self._batch_model()
        source = self._bucket.upload_once(
            map(self._request_line, requests),
            name=f"batch-{digest}",
        )
        directory = f"{self._bucket.uri}/batch-{digest}"
        job = self._calls.ask(
            "batches.create",
            lambda: self._calls.vertex().batches.create(
                model=model,
                src=source,
                config={"display_name": _display_name(digest), "dest": directory},
            ),
            endpoint=self._model,
        )
        if not job.name:
            raise self._error_of_batch(
                "batches.create", "The response doesn't name the batch"
            )
        return job.name

    def _read(self, batch_id: str) -> Iterator[tuple[str, Sequence[Completion]]]:
        """Yield the answered requests; a blocked prompt is withheld completions.

        Fetches everything before it yields the first. Raises ProviderError for a
        response that doesn't identify its request.
        """
        for row in self._rows(self._job(batch_id)):
            completions = _completions_in_row(row)
            if not completions:
                continue
            key = _key_in_row(row)
            if key is None:
                raise self._error_of_batch(
                    "batches.get",
                    "A response in the batch lacks its request's labels",
                    "responses can't be matched to requests; remove options.batch",
                )
            yield key, completions

    def _request_line(self, request: SampleRequest) -> bytes:
        body = self._request(request)
        body["labels"] = _labels_of_key(request.key)
        text = json.dumps({"request": body})
        return text.encode() + b"\n"

    def _batch_model(self) -> str:
        """Return the model's name for a batch, which takes no tuned endpoint's."""
        if "/endpoints/" not in self._model:
            return self._model
        # Names have either the project's id or its number.
        place = self._model.partition("/locations/")[2]

        def tuned_models() -> list[str]:
            models = []
            for job in self._calls.vertex().tunings.list(config={"page_size": 100}):
                tuned = job.tuned_model
                if tuned is None or not tuned.model:
                    continue
                if (tuned.endpoint or "").partition("/locations/")[2] == place:
                    models.append(tuned.model)
            return models

        models = self._calls.ask("tunings.list", tuned_models, endpoint=self._model)
        if not models:
            raise self._error_of_batch(
                "tunings.list",
                "No tuning job in this project and location created this endpoint",
                "Vertex AI runs batches only for tuned and published models; remove "
                "options.batch",
            )
        return models[0]

    def _job(self, batch_id: str) -> BatchJob:
        return self._calls.ask(
            "batches.get",
            lambda: self._calls.vertex().batches.get(name=batch_id),
            endpoint=self._model,
        )

    def _rows(self, job: BatchJob) -> Iterator[dict[str, Any]]:
        """Yield the rows of the output, or of all batches if it isn't named."""
        directory = None
        if job.output_info is not None:
            directory = job.output_info.gcs_output_directory
        if not directory and job.dest is not None:
            directory = job.dest.gcs_uri
        if not directory:
            return iter(())
        return self._bucket.rows(directory)

    def _state(self, job: BatchJob) -> JobState:
        """Return the state; `detail` names what failed, also of a partial success.

        A failed, expired, or canceled batch SUCCEEDED if part of it was answered; a
        batch whose requests were all rejected for good FAILED.
        """
        state = job_state_name(job)
        if state not in _ENDED_WELL | ENDED_BADLY:
            return JobState(JobStatus.RUNNING)
        stats = job.completion_stats
        if state in _ENDED_WELL and stats is None:
            return JobState(JobStatus.SUCCEEDED)
        if state in _ENDED_WELL and stats is not None and stats.successful_count:
            failed = stats.failed_count or 0
            incomplete = stats.incomplete_count or 0
            missing = failed + max(incomplete, 0)
            if not missing:
                return JobState(JobStatus.SUCCEEDED)
            detail = f"unanswered: {amount(missing, 'request')}"
            return JobState(JobStatus.SUCCEEDED, detail=detail)
        return self._state_by_rows(job, state)

    def _state_by_rows(self, job: BatchJob, state: str) -> JobState:
        """Return the state of a batch that ended badly or without any answer."""
        causes: Counter[str] = Counter()
        answered = temporary = 0
        for row in self._rows(job):
            if _completions_in_row(row):
                answered += 1
                continue
            status = str(row.get("status") or "")
            causes[status] += 1
            codes = [int(code) for code in _CODE.findall(status)]
            if any(is_temporary_status(code) for code in codes):
                temporary += 1
        ended = state.removeprefix("JOB_STATE_").lower()
        if answered:
            return JobState(
                JobStatus.SUCCEEDED,
                detail=f"{ended}: answered {amount(answered, 'request')}",
            )
        if temporary and state in _ENDED_WELL:
            return JobState(JobStatus.SUCCEEDED, detail="no request was answered")
        detail = f"{ended}, no request was answered"
        message = _cause_of_failed_batch(job, causes)
        if message:
            detail = f"{detail}: {safe_message(message)}"
        return JobState(JobStatus.FAILED, detail=detail)

    def _error_of_batch(
        self,
        call: str,
        cause: str,
        hint: str | None = None,
    ) -> ProviderError:
        return CallErrorFactory(PROVIDER, self._model, call).final(cause, hint)


def job_state_name(job: BatchJob | TuningJob) -> str:
    """Return the name of a job's state; "" if it has none."""
    if job.state is None:
        return ""
    return str(job.state.value)


def _cause_of_failed_batch(job: BatchJob, causes: Counter[str]) -> str:
    """Return why a batch failed: its own error, or else its rows' most frequent one."""
    if job.error is not None and job.error.message:
        return job.error.message
    for cause, _ in causes.most_common(1):
        return cause
    return ""


def _display_name(digest: str) -> str:
    return f"memleak-batch-{digest}"


def _labels_of_key(key: str) -> dict[str, str]:
    """Return the labels that hold a request's key."""
    data = key.encode("utf-8", "surrogatepass")
    encoded = base64.b32encode(data).decode()
    text = encoded.rstrip("=").lower()
    starts = range(0, len(text), _LABEL_LENGTH)
    pieces = [text[start : start + _LABEL_LENGTH] for start in starts]
    return {f"{_KEY_LABEL}{number}": piece for number, piece in enumerate(pieces)}


def _key_in_row(row: Mapping[str, Any]) -> str | None:
    """Return the key of the request that a row repeats, if it repeats one."""
    request = as_mapping(row.get("request"))
    labels = as_mapping(request.get("labels"))
    text = ""
    for number in count():
        piece = labels.get(f"{_KEY_LABEL}{number}")
        if not piece:
            break
        text += str(piece).upper()
    padding = "=" * (-len(text) % 8)
    try:
        key = base64.b32decode(text + padding).decode("utf-8", "surrogatepass")
    except ValueError:
        return None
    return key or None


def _completions_in_row(row: Mapping[str, Any]) -> list[Completion]:
    """Return the completions of an answered row; empty if it failed."""
    request = as_mapping(row.get("request"))
    config = as_mapping(request.get("generationConfig"))
    candidates = config.get("candidateCount")
    if not isinstance(candidates, int):
        candidates = 1
    return read_completions(row.get("response"), n=candidates)
