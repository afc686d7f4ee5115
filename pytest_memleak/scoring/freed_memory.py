"""Memory that is free, but that the allocator keeps."""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, as in glibc's malloc.h
_NO_GLIBC = (AttributeError, OSError, TypeError)


def return_freed_memory() -> None:
    """Give free memory back to the system; glibc keeps what lies between blocks in use."""
    with contextlib.suppress(*_NO_GLIBC):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> None:
    """Keep up to 64 MiB, so that the system needn't clear new memory for each batch of texts."""
    with contextlib.suppress(*_NO_GLIBC):
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 16 << 20)
        libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
