"""Files at the provider that carry a digest in their name, so that none is uploaded twice."""

from __future__ import annotations

import io
from typing import IO, Literal

from pytest_memleak.providers.openai.openai_client import Calls

DIGEST_KEY = "memleak_digest"


def file_name(kind: str, digest: str) -> str:
    """The name of the file that belongs to `digest`."""
    return f"memleak-{kind}-{digest}.jsonl"


def upload_once(
    calls: Calls,
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
