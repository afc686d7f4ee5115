"""Files that are there whole or not at all.

    write_whole(path, text)      # a run that is killed leaves the earlier file as it was

Raises OSError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def write_whole(path: Path, text: str, *, encoding: str = "utf-8", errors: str = "strict") -> None:
    """Write a file, in a folder that is there."""
    with whole_file(path, encoding=encoding, errors=errors) as file:
        file.write(text)


@contextmanager
def whole_file(path: Path, *, encoding: str = "utf-8", errors: str = "strict") -> Iterator[TextIO]:
    """A file to write to, beside `path`, whose name it takes at the end.

    A link keeps leading where it led. A device or a pipe is written to as it stands: a file
    in its place would break it for every program of the machine.
    """
    path = Path(os.path.realpath(path))
    if path.is_symlink():
        path.stat()  # links in a circle: its OSError says so
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
