"""Memory that is free, but that the allocator keeps."""

from __future__ import annotations

import contextlib
import ctypes

# Of mallopt, as in glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_NO_GLIBC = (AttributeError, OSError, TypeError)


def return_freed_memory() -> None:
    """Give back free memory between blocks in use, which glibc keeps."""
    with contextlib.suppress(*_NO_GLIBC):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> None:
    """Keep up to 64 MiB, so that no new memory is cleared for each batch of texts."""
    with contextlib.suppress(*_NO_GLIBC):
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, 16 << 20)
        libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
