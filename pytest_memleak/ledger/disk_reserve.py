"""Room on the ledger's disk for the responses in flight, freed when the disk is full.

It is a file without a name, so it ends with its process, however that ends.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import IO

RESERVED_BYTES = 16 << 20
_BLOCK = 1 << 20


class DiskReserve:
    """Room in a folder that `release` frees once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def reserve(self) -> None:
        """Take the room, unless it is taken; none where the disk lacks it."""
        with self._lock:
            if self._file is None:
                self._file = _filled_file(self._folder)

    def release(self) -> bool:
        """Free the room; tell whether any was taken."""
        with self._lock:
            file, self._file = self._file, None
        if file is None:
            return False
        # A forked process may have the file open, too.
        os.ftruncate(file.fileno(), 0)
        file.close()
        return True


def _filled_file(folder: Path) -> IO[bytes] | None:
    try:
        file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - kept open
    except OSError:
        return None
    try:
        _fill(file)
    except OSError:
        file.close()
        return None
    return file


def _fill(file: IO[bytes]) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, RESERVED_BYTES)
        return
    for _ in range(RESERVED_BYTES // _BLOCK):
        file.write(os.urandom(_BLOCK))
    file.flush()
