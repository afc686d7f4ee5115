"""Scoring spread over the cores of a machine: same numbers, sooner."""

import os


def count_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    if affinity is not None:
        return len(affinity(0))
    return os.cpu_count() or 1
