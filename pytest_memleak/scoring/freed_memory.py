"""Memory that is free, but that the allocator keeps."""

from __future__ import annotations

import contextlib
import ctypes


def return_freed_memory() -> None:
    """Give free memory back to the system; glibc keeps what lies between blocks in use."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)
