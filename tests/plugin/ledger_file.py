"""A run's ledger, opened behind its back."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ledger_file"]


@contextlib.contextmanager
def ledger_file(folder: Path) -> Iterator[sqlite3.Connection]:
    """The ledger under `folder`, in one transaction, closed behind it."""
    with contextlib.closing(sqlite3.connect(folder / ".memleak" / "ledger.db")) as ledger, ledger:
        yield ledger
