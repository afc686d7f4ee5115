"""The open ledger, and the lease that shows that its process is running.

Each process opens the ledger itself and may use it from all its threads.

An open ledger has a lease: a row, and a lock that the operating system or the
PostgreSQL server releases when the process ends, however it ends. So what a killed
process was doing is free at once, and no process takes over what a running one does,
however slow it is.

    SQLite file   a locked file in the folder `<ledger>-leases/`
    in memory     nothing: no other process can see it
    PostgreSQL    a session-level advisory lock on its own connection
"""

from __future__ import annotations

import os
import platform
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pytest_memleak.errors import DISK_FULL, FREE_SPACE, LedgerError, file_errors
from pytest_memleak.ledger.call_states import call_end
from pytest_memleak.ledger.database import Database
from pytest_memleak.ledger.disk_reserve import RESERVED_BYTES
from pytest_memleak.ledger.hash_chain import add_row, record_changes
from pytest_memleak.ledger.tables import leases

# Two journals of SQLite, or more than what is in flight.
LEAST_FREE_BYTES = 32 << 20


class Ledger(Database):
    """An open ledger.

    url:    `sqlite:///PATH` (its folder is created),
            `sqlite://` for a run that stores nothing,
            or `postgresql+psycopg://USER@HOST/DATABASE`
    create: whether to create a missing ledger
    run:    the run's name in the ledger, the same for processes that share a budget

    Raises LedgerError for an invalid URL, an unreachable server, a locked or damaged
    file, and another version than this program's.
    """

    def __init__(
        self,
        url: str,
        *,
        create: bool = True,
        run: str | None = None,
    ) -> None:
        self.run = run or uuid.uuid4().hex
        self._lease: int | None = None
        self._leasing = threading.RLock()
        super().__init__(url, create=create)
        self._locks = _locks_for(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release everything that this process holds.

        Other processes may take over unfinished calls.
        """
        lease = self._lease
        if lease is not None and os.getpid() == self._pid:
            with suppress(LedgerError):
                self.write(lambda connection: _end_leases(connection, [lease]))
            self._locks.leave()
        super().close()

    @property
    def last_call_ended(self) -> float:
        """When the last call ended (since 1970), by the clock of its machine."""
        last_end = sa.select(sa.func.max(call_end))
        with self.damage_as_ledger_error():
            ((newest,),) = self.rows(last_end)
            return float(newest or 0)

    # --- leases -----------------------------------------------------------------------

    @property
    def lease(self) -> int:
        """The row id of this process's lease, created on first use (outside a work).

        A server that lost our connection ends the lease, and others may take over what
        it held. `keep_alive` notices and starts a new one.
        """
        self._validate_open()
        with self._leasing:
            if self._lease is None:
                self._lease = self._begin_lease()
                self.expire_leases()
            return self._lease

    def require_disk_room(self) -> None:
        """Raise LedgerError if the disk may not hold further paid responses.

        Reserves room for those that are in flight when another program fills it.
        """
        self._validate_open()
        if self.path is None or self._disk_reserve is None:
            return
        room = shutil.disk_usage(self.path.parent)
        if room.free < LEAST_FREE_BYTES and room.total:  # some file systems don't say
            raise LedgerError(
                f"{DISK_FULL}: less than {LEAST_FREE_BYTES >> 20} MiB are free, "
                "so no more paid calls are made",
                location=self.place,
                hint=FREE_SPACE,
            )
        if room.free >= LEAST_FREE_BYTES + RESERVED_BYTES:
            self._disk_reserve.reserve()
        if self._closed:  # meanwhile, by another thread
            self._free_disk_reserve()

    def keep_alive(self) -> None:
        """Renew the lease if its lock was lost; call this every few seconds."""
        with self._leasing:
            if self._lease is None or self._locks.is_still_ours():
                return
            # A process may have seen the old lock free in between.
            self._lease = self._begin_lease()

    def _begin_lease(self) -> int:
        name = uuid.uuid4().hex
        self.retry_while_away(lambda: self._locks.hold(name))
        row = {
            "lock": name,
            "host": platform.node(),
            "pid": os.getpid(),
            "began": time.time(),
        }
        return self.write(lambda connection: add_row(connection, leases, row))

    def expire_leases(self) -> None:
        """End the leases of dead processes: others may take over what they held."""

        def work(connection: Connection) -> list[str]:
            living = sa.select(leases.c.id, leases.c.lock).where(IS_LIVING)
            dead = []
            free_locks = []
            for lease, lock in connection.execute(living).all():
                if self._locks.is_free(connection, lock):
                    dead.append(lease)
                    free_locks.append(lock)
            if dead:
                _end_leases(connection, dead)
            return free_locks

        for lock in self.write(work):
            self._locks.forget(lock)


# Its process is running, or its end wasn't noticed yet.
IS_LIVING = leases.c.ended.is_(None)


def _end_leases(connection: Connection, numbers: Sequence[int]) -> None:
    ended = {"ended": time.time()}
    update = leases.update().where(leases.c.id.in_(numbers))
    connection.execute(update.values(ended))
    rows = [{"id": number, **ended} for number in numbers]
    record_changes(connection, leases, rows)


class _LeaseLock:
    """Locks that die with their process.

    These are those of a ledger in memory, which no other process sees.
    """

    def hold(self, name: str) -> None: ...

    def is_still_ours(self) -> bool:
        return True  # of a process on this machine, only its end takes it away

    def leave(self) -> None: ...

    def is_free(self, connection: Connection, name: str) -> bool:  # noqa: ARG002 - others need them
        return False

    def forget(self, name: str) -> None: ...


def _locks_for(database: Database) -> _LeaseLock:
    if database.path is not None:
        folder = database.path.with_name(f"{database.path.name}-leases")
        return _LeaseLockFile(folder)
    if database.in_memory:
        return _LeaseLock()
    return _LeaseAdvisoryLock(database.engine)


class _LeaseLockFile(_LeaseLock):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: FileLock | None = None

    def hold(self, name: str) -> None:
        failure = "Can't create a lock file"
        causes = (OSError, Timeout)
        with file_errors(LedgerError, self._folder, failure, causes=causes):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = FileLock(
                self._file(name),
                timeout=0,
                mode=0o600,
                thread_local=False,
            )
            self._lock.acquire()

    def leave(self) -> None:
        if self._lock is not None:
            file = Path(self._lock.lock_file)
            self._lock.release()
            file.unlink(missing_ok=True)

    def is_free(self, connection: Connection, name: str) -> bool:  # noqa: ARG002 - as _LeaseLock has it
        if not self._file(name).exists():
            return True
        try:
            with FileLock(self._file(name), timeout=0, thread_local=False):
                return True
        except Timeout:
            return False

    def forget(self, name: str) -> None:
        # The lock of an ended lease is never held again.
        with suppress(OSError):
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


class _LeaseAdvisoryLock(_LeaseLock):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Connection | None = None

    def hold(self, name: str) -> None:
        session = self._engine.connect()
        session = session.execution_options(isolation_level="AUTOCOMMIT")
        lock = sa.func.pg_advisory_lock(_advisory_lock_number(name))
        session.execute(sa.select(lock))
        self._session = session

    def is_still_ours(self) -> bool:
        if self._session is None:
            return False
        try:
            return self._session.scalar(sa.select(1)) == 1
        except SQLAlchemyError:
            self.leave()
            return False

    def leave(self) -> None:
        if self._session is not None:
            with suppress(SQLAlchemyError):
                # Back in the pool, the session would keep the lock.
                self._session.invalidate()
                self._session.close()
            self._session = None

    def is_free(self, connection: Connection, name: str) -> bool:
        # Held until the transaction ends, so that no other process ends the same lease.
        lock = sa.func.pg_try_advisory_xact_lock(_advisory_lock_number(name))
        return bool(connection.scalar(sa.select(lock)))


def _advisory_lock_number(name: str) -> int:
    return int(name[:15], 16)
