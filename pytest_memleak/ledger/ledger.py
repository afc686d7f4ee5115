"""The ledger: every paid call, written down before it is made and as soon as it is answered.

    with Ledger("sqlite:///.memleak/ledger.db") as ledger:
        draw(ledger, endpoint, ...)                          # run.py: what is still missing
        generations(ledger, endpoint_id, questionnaire)      # reading.py: what is there

A ledger is opened by each process for itself and may be used by all its threads. The files
beside this one say what is written into it: intents.py and outcomes.py (calls), finetune.py and
batch.py (jobs at the provider), reading.py (what was drawn), exports.py, imports.py (files).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy.engine import Connection

from pytest_memleak.ledger.database import Database, Work
from pytest_memleak.ledger.leases import Owner, bury_the_dead

__all__ = ["Ledger"]

T = TypeVar("T")
Item = TypeVar("Item")


class Ledger:
    """An open ledger.

    url:    `sqlite:///PATH` (the folder is made), `sqlite://` for a run that keeps nothing, or
            `postgresql+psycopg://USER@HOST/DATABASE`
    create: whether to begin a ledger where there is none
    run:    names the run in the ledger; processes that share a budget give the same name

    Raises LedgerError: an unusable URL, an unreachable server, a locked or damaged file, a
    newer version than this program knows. An older one is migrated.
    """

    def __init__(self, url: str, *, create: bool = True, run: str | None = None) -> None:
        self.run = run or uuid.uuid4().hex
        self._database = Database(url, create=create)
        self._owner: Owner | None = None
        self._making_owner = threading.Lock()

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
        if self._owner is not None:
            self._owner.end()
        self._database.close()

    @property
    def place(self) -> str:
        """Where the ledger is, as messages name it: without a password."""
        return self._database.place

    # --- owners ----------------------------------------------------------------------------

    @property
    def owner(self) -> int:
        """The row of this process among the owners, made when first needed (not in a work)."""
        return self._owning().id

    def keep_alive(self) -> None:
        """See to it that other processes know us alive; to be called every few seconds."""
        self._owning().keep_alive()

    def bury_the_dead(self) -> None:
        """Mark the owners whose process is gone as ended: what they held is anyone's."""
        bury_the_dead(self._database)

    def _owning(self) -> Owner:
        with self._making_owner:
            if self._owner is None:
                self._owner = Owner(self._database)
            return self._owner

    # --- reading and writing ---------------------------------------------------------------

    def read(self, work: Work[T]) -> T:
        """As `Database.read`."""
        return self._database.read(work)

    def write(self, work: Work[T]) -> T:
        """As `Database.write`."""
        return self._database.write(work)

    def write_each(
        self, work: Callable[[Connection, Sequence[Item]], Sequence[T | Exception]], item: Item
    ) -> T:
        """As `Database.write_each`."""
        return self._database.write_each(work, item)
