"""The ledger: every paid call, written down before it is made and as soon as it is answered.

    with Ledger("sqlite:///.memleak/ledger.db") as ledger:
        draw(ledger, endpoint, ...)                          # loop.py: what is still missing
        generations(ledger, endpoint_id, questionnaire)      # reading.py: what is there

A ledger is opened by each process for itself and may be used by all its threads. The files
beside this one say what is written into it: claims.py and answers.py (calls), jobs.py and
batches.py (jobs at the provider), reading.py (what was drawn), exports.py, imports.py (files).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy.engine import Connection

from pytest_memleak.ledger.database import Database, Work
from pytest_memleak.ledger.leases import Lease, expire_leases

__all__ = ["Ledger"]

T = TypeVar("T")
Item = TypeVar("Item")


class Ledger:
    """An open ledger.

    url:    `sqlite:///PATH` (the folder is made), `sqlite://` for a run that keeps nothing, or
            `postgresql+psycopg://USER@HOST/DATABASE`
    create: whether to begin a ledger where there is none
    run:    names the run in the ledger; processes that share a budget give the same name

    Raises LedgerError: an unusable URL, an unreachable server, a locked or damaged file, another
    version than this program's.
    """

    def __init__(self, url: str, *, create: bool = True, run: str | None = None) -> None:
        self.run = run or uuid.uuid4().hex
        self._database = Database(url, create=create)
        self._lease: Lease | None = None
        self._making_lease = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything that is held. What is still in flight becomes anyone's."""
        if self._lease is not None:
            self._lease.end()
        self._database.close()

    @property
    def place(self) -> str:
        """Where the ledger is, as messages name it: without a password."""
        return self._database.place

    def refuse_damage(self) -> None:
        """Raise LedgerError where a file of ours was replaced, or is damaged; reads all of it."""
        self._database.refuse_damage()

    # --- leases ----------------------------------------------------------------------------

    @property
    def lease(self) -> int:
        """The row of this process among the leases, made when first needed (not in a work)."""
        return self._leased().id

    def keep_alive(self) -> None:
        """See to it that other processes know us alive; to be called every few seconds."""
        self._leased().keep_alive()

    def expire_leases(self) -> None:
        """End the leases whose process is gone: what they held is anyone's."""
        expire_leases(self._database)

    def _leased(self) -> Lease:
        with self._making_lease:
            if self._lease is None:
                self._lease = Lease(self._database)
            return self._lease

    # --- reading and writing ---------------------------------------------------------------

    def read(self, work: Work[T]) -> T:
        """As `Database.read`."""
        return self._database.read(work)

    def snapshot(self, work: Work[T]) -> T:
        """As `Database.snapshot`."""
        return self._database.snapshot(work)

    def write(self, work: Work[T]) -> T:
        """As `Database.write`."""
        return self._database.write(work)

    def write_each(
        self, work: Callable[[Connection, Sequence[Item]], Sequence[T | Exception]], item: Item
    ) -> T:
        """As `Database.write_each`."""
        return self._database.write_each(work, item)
