"""Atomic writes: a file is complete or unchanged.

    write_whole(path, text)      # a killed run leaves the earlier file unchanged

Raises OSError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def write_whole(path: Path, text: str, *, encoding: str = "utf-8", errors: str = "strict") -> None:
    """Write a file to an existing folder."""
    with whole_file(path, encoding=encoding, errors=errors) as file:
        file.write(text)


@contextmanager
def whole_file(path: Path, *, encoding: str = "utf-8", errors: str = "strict") -> Iterator[TextIO]:
    """Open a temporary file beside `path` and rename it to `path` at the end.

    Follows links. Writes to a device or a pipe directly, because replacing it would break it for
    every program on the machine.
    """
    path = Path(os.path.realpath(path))
    if path.is_symlink():
        path.stat()  # Raises OSError for a circle of links.
    if path.exists() and not path.is_file():
        with path.open("w", encoding=encoding, errors=errors, newline="\n") as device:
            yield device
        return
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("w", encoding=encoding, errors=errors, newline="\n") as file:
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
