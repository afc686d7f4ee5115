"""A bucket that Vertex AI reads training data and batches from, and writes answers to."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

from pytest_memleak.errors import ProviderBusy
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, Calls

_CONTENT_DIGITS = 16


class Bucket:
    """Objects under a `gs://bucket/prefix`; `endpoint` is what error messages name."""

    def __init__(self, uri: str, *, calls: Calls, endpoint: str) -> None:
        self.uri = f"{uri.rstrip('/')}/memleak"
        self._calls = calls
        self._endpoint = endpoint

    def upload_once(self, lines: Iterable[bytes], *, name: str) -> str:
        """The URI of the object with these lines, written if it is not there yet.

        The object is called `name` and the start of its content's digest. It is written whole
        or not at all, and never again.
        """
        digest = hashlib.sha256()
        with tempfile.TemporaryFile() as file:
            for line in lines:
                digest.update(line)
                file.write(line)
            uri = f"{self.uri}/{name}-{digest.hexdigest()[:_CONTENT_DIGITS]}.jsonl"
            self._calls.ask_storage(
                "storage.upload",
                lambda client: self._upload(client, file, uri),
                endpoint=self._endpoint,
            )
        return uri

    def rows(self, directory: str) -> Iterator[dict[str, Any]]:
        """The JSON objects in every .jsonl file below `directory` (gs://...).

        All are fetched before the first is given. Raises ProviderBusy for a damaged line.
        """
        with tempfile.TemporaryFile() as lines:
            self._calls.ask_storage(
                "storage.download",
                lambda client: self._download(client, directory, lines),
                endpoint=self._endpoint,
            )
            lines.seek(0)
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield self._row(line, f"line {number} of the files in {directory}")

    def folders_with(self, directory: str, name: str) -> list[str]:
        """The folders below `directory` (gs://...) that hold an object called `name`."""
        bucket, prefix = _split(f"{directory.rstrip('/')}/")
        found: list[str] = self._calls.ask_storage(
            "storage.list",
            lambda client: sorted(
                f"gs://{bucket}/{one.name.rpartition('/')[0]}"
                for one in client.list_blobs(
                    bucket, prefix=prefix, timeout=self._calls.timeout, retry=None
                )
                if one.name.rpartition("/")[2] == name
            ),
            endpoint=self._endpoint,
        )
        return found

    def _upload(self, client: Any, file: IO[bytes], uri: str) -> None:
        from google.api_core.exceptions import PreconditionFailed

        bucket, name = _split(uri)
        try:
            client.bucket(bucket).blob(name).upload_from_file(
                file,
                rewind=True,
                size=file.tell(),
                content_type="application/jsonl",
                if_generation_match=0,
                timeout=self._calls.timeout,
                retry=None,
            )
        except PreconditionFailed:
            return  # it is there

    def _download(self, client: Any, directory: str, lines: IO[bytes]) -> None:
        bucket, prefix = _split(f"{directory.rstrip('/')}/")
        timeout = self._calls.timeout
        blobs = client.list_blobs(bucket, prefix=prefix, timeout=timeout, retry=None)
        for blob in sorted(blobs, key=lambda one: str(one.name)):
            if blob.name.endswith(".jsonl"):
                blob.download_to_file(lines, timeout=timeout, retry=None)
                lines.write(b"\n")

    def _row(self, line: bytes, place: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ProviderBusy(
                f"{place} is not a JSON object",
                provider=PROVIDER,
                endpoint=self._endpoint,
                call="storage.download",
            )
        return row


def _split(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name
