"""The ledger: every paid call, written down before it is made and as soon as it is answered.

    with Ledger("sqlite:///.memleak/ledger.db") as ledger:
        draw(ledger, endpoint, ...)                          # loop.py: what is still missing
        generations(ledger, endpoint_id, questionnaire)      # ledger_queries.py: what is there

A ledger is opened by each process for itself and may be used by all its threads. The files
beside this one say what is written into it: call_reservations.py and call_results.py (calls),
jobs.py and batches.py (jobs at the provider), ledger_queries.py (what was drawn), exports.py,
imports.py (files).

Every open ledger has a lease: a row, and a lock that the operating system or the PostgreSQL server
releases when the process ends, however it ends. So what a killed run was doing is free at once, and
nobody takes what a living one does, however slow it is.

    SQLite file   a locked file in the folder `<ledger>-leases/`
    in memory     nothing: nobody else can see it
    PostgreSQL    a session-level advisory lock on a connection of its own
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.database import Database, Work
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.tables import leases

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


class Lease:
    """This process's row among the leases, and the lock that shows that it lives.

    `id` may change: a server that lost our connection has called our lease ended, and others
    may have taken what we held. `keep_alive` notices and begins anew.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._locks = _locks_for(database)
        self._pid = os.getpid()
        self._renewing = threading.Lock()
        self._begin()
        expire_leases(database)

    def _begin(self) -> None:
        self._name = uuid.uuid4().hex
        self._database.patiently(lambda: self._locks.hold(self._name))
        row = {
            "lock": self._name,
            "host": platform.node(),
            "pid": os.getpid(),
            "began": time.time(),
        }

        def work(connection: Connection) -> int:
            number: int = connection.execute(
                leases.insert().values(row).returning(leases.c.id)
            ).scalar_one()
            changed(connection, leases, [number])
            return number

        self.id: int = self._database.write(work)

    def keep_alive(self) -> None:
        """See to it that others still think us alive; call it every few seconds."""
        with self._renewing:
            if self._locks.held():
                return
            # Not the same name: somebody may have found the lock free in between.
            self._begin()

    def end(self) -> None:
        """Give up what is still held: from now on it is anyone's."""
        if os.getpid() != self._pid:
            return
        with suppress(LedgerError):
            self._database.write(lambda connection: _end(connection, [self.id]))
        self._locks.leave()


def expire_leases(database: Database) -> None:
    """End the leases whose process is gone."""
    locks = _locks_for(database)

    def work(connection: Connection) -> list[str]:
        living = connection.execute(
            sa.select(leases.c.id, leases.c.lock).where(leases.c.ended.is_(None))
        ).all()
        over = [(lease, lock) for lease, lock in living if locks.free(connection, lock)]
        if over:
            _end(connection, [lease for lease, _ in over])
        return [lock for _, lock in over]

    for lock in database.write(work):
        locks.forget(lock)


def _end(connection: Connection, numbers: Sequence[int]) -> None:
    connection.execute(leases.update().where(leases.c.id.in_(numbers)).values(ended=time.time()))
    changed(connection, leases, numbers)


# --- locks that die with their process -----------------------------------------------------


class _Locks(Protocol):
    def hold(self, name: str) -> None: ...
    def held(self) -> bool: ...
    def leave(self) -> None: ...
    def free(self, connection: Connection, name: str) -> bool: ...
    def forget(self, name: str) -> None: ...


def _locks_for(database: Database) -> _Locks:
    if database.path is not None:
        return _LockFiles(database.path.with_name(f"{database.path.name}-leases"))
    return _Alone() if database.in_memory else _AdvisoryLocks(database.engine)


class _LockFiles:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: FileLock | None = None

    def hold(self, name: str) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = FileLock(self._file(name), timeout=0, mode=0o600, thread_local=False)
            self._lock.acquire()
        except (OSError, Timeout) as error:
            raise LedgerError(
                f"a lock file cannot be made: {getattr(error, 'strerror', None) or error}",
                location=str(self._folder),
            ) from None

    def held(self) -> bool:
        return True  # only the end of the process takes it away

    def leave(self) -> None:
        if self._lock is not None:
            file = Path(self._lock.lock_file)
            self._lock.release()
            file.unlink(missing_ok=True)

    def free(self, connection: Connection, name: str) -> bool:  # noqa: ARG002 - as _Locks has it
        if not self._file(name).exists():
            return True
        try:
            with FileLock(self._file(name), timeout=0, thread_local=False):
                return True
        except Timeout:
            return False

    def forget(self, name: str) -> None:
        # Nobody holds the lock of an ended lease again, so its file may go.
        with suppress(OSError):
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


class _AdvisoryLocks:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Connection | None = None

    def hold(self, name: str) -> None:
        session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        session.execute(sa.select(sa.func.pg_advisory_lock(_key(name))))
        self._session = session

    def held(self) -> bool:
        try:
            return self._session is not None and self._session.scalar(sa.select(1)) == 1
        except SQLAlchemyError:
            with suppress(SQLAlchemyError):
                if self._session is not None:
                    self._session.invalidate()
                    self._session.close()
            self._session = None
            return False

    def leave(self) -> None:
        if self._session is not None:
            with suppress(SQLAlchemyError):
                # Not back into the pool: the session would take the lock along.
                self._session.invalidate()
                self._session.close()
            self._session = None

    def free(self, connection: Connection, name: str) -> bool:
        # Ours until the transaction ends, so that nobody else ends the same lease.
        return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_key(name)))))

    def forget(self, name: str) -> None: ...


class _Alone:
    def hold(self, name: str) -> None: ...

    def held(self) -> bool:
        return True

    def leave(self) -> None: ...

    def free(self, connection: Connection, name: str) -> bool:  # noqa: ARG002 - as _Locks has it
        return False

    def forget(self, name: str) -> None: ...


def _key(name: str) -> int:
    return int(name[:15], 16)
