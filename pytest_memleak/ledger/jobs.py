"""Jobs at a provider, as the ledger knows them: fine-tunes and batches."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["JobRow"]


class JobRow(StrEnum):
    """Where a job stands in the ledger."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
