"""What was asked of Tinker's samplers, so that a process after this one can ask for it again.

Tinker names the work of a sample by its sampling session and its number in it, and does named
work once: asked again in the same words it gives the first answer, also to another process, as
long as the session lives. So before a call is made, sampler, number and words are written down.
One file a sampling session, one line a call; files are deleted when they are a week old.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_memleak.redaction.private_files import private_folder

_KEPT = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Draw:
    """The words of one call: prompt in tokens, and how to answer."""

    prompt: list[int] = field(repr=False)
    n: int
    temperature: float | None
    max_tokens: int
    seed: int | None


@dataclass(frozen=True, slots=True)
class Noted:
    """A call that was written down: the sampler's handle, the number, the words."""

    handle: str = field(repr=False)
    number: int
    draw: Draw


class Page:
    """One sampling session's file, written by one process."""

    def __init__(self, path: Path, handle: str) -> None:
        private_folder(path.parent)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._write({"handle": handle})

    def note(self, request_id: str, number: int, draw: Draw) -> None:
        """Write a call down; it is there, whole, when this returns."""
        row = {"request": request_id, "number": number, "time": time.time(), **asdict(draw)}
        self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        data = f"{json.dumps(row)}\n".encode()
        while data:
            data = data[os.write(self._file, data) :]

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._file)


class Journal:
    """The files in `folder`, of this process and of others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, handle: str) -> Page:
        """A file for a sampling session; `handle` is how the SDK finds its sampler again."""
        for path in self._paths():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _KEPT:
                    path.unlink()
        return Page(self._folder / f"{uuid.uuid4().hex}.jsonl", handle)

    def find(self, request_id: str) -> Noted | None:
        """The latest call of that name, if one was written down."""
        calls: list[tuple[float, Noted]] = []
        for path in self._paths():
            with contextlib.suppress(OSError):
                calls += _calls(path, request_id)
        return max(calls, key=lambda call: call[0])[1] if calls else None

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"))


def _calls(path: Path, request_id: str) -> Iterator[tuple[float, Noted]]:
    """The calls of that name in a file, with their times."""
    handle = ""
    for line in path.read_text("utf-8").split("\n"):
        # The last line may have been cut off with its process.
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            handle = row.pop("handle", handle)
            if row.pop("request", None) == request_id:
                yield row.pop("time"), Noted(handle, row.pop("number"), Draw(**row))
