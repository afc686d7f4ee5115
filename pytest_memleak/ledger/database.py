"""The ledger's database: reads, writes, and turns between threads and processes.

Writers take turns, in SQLite by its lock and in PostgreSQL by an advisory lock, so a
work may read before it writes. Threads that write at the same time share one commit:
the thread whose turn it is takes along everything that waits or arrives within a
millisecond.

If the connection breaks during a commit, a work may run twice, so it must check whether
it is done. Every failure is a LedgerError.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from pytest_memleak.errors import LedgerError, MemleakError
from pytest_memleak.ledger.damage import OF_VALUES, damage_error, damaged_cell
from pytest_memleak.ledger.disk_reserve import DiskReserve
from pytest_memleak.ledger.engines import (
    LOCK_WAIT,
    engine_for,
    explain_error,
    is_disk_full,
    is_server_away,
    parse_url,
    sqlite_file,
    url_without_password,
)
from pytest_memleak.ledger.hash_chain import append_entry, clear_changes, record_changes
from pytest_memleak.ledger.tables import ledger_version, metadata
from pytest_memleak.redaction.file_writing import private_file, private_folder

T = TypeVar("T")
Item = TypeVar("Item")
Work = Callable[[Connection], T]

SCHEMA_VERSION = 9
_WITHOUT_CONVERSATIONS = 7
_READS_IT = "a program from before extraction (0.1.0 up to commit b3130f59)"
RECONNECT_FOR = 90.0
# While several threads write, each turn waits this long for others: a commit takes
# longer.
_FOR_COMPANY = 0.001
# The writers' advisory lock in a PostgreSQL database.
_PG_TURN = 0x6D656D6C65616B


@dataclass(eq=False)
class _Ticket:
    """An item to write, and its result."""

    work: Callable[[Connection, Sequence[Any]], Sequence[Any]]
    item: Any
    done: bool = False
    result: Any = None

    def finish(self, result: object) -> None:
        self.result = result
        self.done = True


class Database:
    """The ledger's tables, safe to use from many threads of one process.

    Raises LedgerError for an invalid URL, an unreachable, locked, or damaged database,
    one that isn't a ledger, and another version; with `create=False` also if there is
    no ledger.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self._url = parse_url(url)
        self.place = url_without_password(self._url)
        self.path = sqlite_file(self._url)
        self.in_memory = self._url.get_backend_name() == "sqlite" and self.path is None
        self._pid = os.getpid()
        self._gate = threading.Lock()
        self._turn = threading.RLock()
        self._waiting: list[_Ticket] = []
        self._company = False
        self._closed = False
        self._met = False  # whether the server was ever there
        self._away_until: float | None = None  # when waiting for it ends
        self._file: tuple[int, int] | None = None
        self._disk_reserve = DiskReserve(self.path.parent) if self.path else None
        if self.path and not self.path.exists() and not create:
            raise LedgerError("No ledger exists here", location=self.place)
        with self._raising_ledger_errors():
            if self.path:
                private_folder(self.path.parent)
                private_file(self.path)
                self._file = _device_and_inode(self.path)
            self.engine = engine_for(self._url)
            try:
                self._open(create=create)
            except BaseException:
                self.close()
                raise
        self._met = True

    def close(self) -> None:
        """Close the database. Later calls raise LedgerError."""
        if os.getpid() != self._pid:
            return  # a forked child has no connections, and a turn may never end there
        with self._turn:  # a ledger in memory has one connection, which may be in use
            self._closed = True
            self.engine.dispose()
        self._free_disk_reserve()

    # --- reading and writing ----------------------------------------------------------

    def read(self, work: Work[T]) -> T:
        """Return the result of `work`, which must not return a cursor."""
        self._validate_open()
        return self.retry_while_away(lambda: self._read(work))

    def rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        """Return the rows of a query."""
        return self.read(lambda connection: connection.execute(query).all())

    def snapshot(self, work: Work[T]) -> T:
        """Return the result of `work`, all of whose reads see one state."""

        def within(connection: Connection) -> T:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                )
            try:
                return work(connection)
            finally:
                connection.rollback()

        return self.read(within)

    def write(self, work: Work[T]) -> T:
        """Return the result of `work` once its writes are committed."""

        def once(connection: Connection, _: Sequence[None]) -> list[T | Exception]:
            return [work(connection)]

        return self.write_each(once, None)

    def write_each(
        self,
        work: Callable[[Connection, Sequence[Item]], Sequence[T | Exception]],
        item: Item,
    ) -> T:
        """Return the result of `work` for `item` once its writes are committed.

        `work` gets every item that waits for the same work and returns one result for
        each, in order; a result that is an exception is raised in the thread of its
        item.
        """
        self._validate_open()
        ticket = _Ticket(work, item)
        with self._gate:
            self._waiting.append(ticket)
        with self._turn:
            if not ticket.done:
                self._validate_open()
                self._take_turn(ticket)
        if isinstance(ticket.result, Exception):
            raise ticket.result
        return cast(T, ticket.result)

    def _take_turn(self, own: _Ticket) -> None:
        if self._company:
            time.sleep(_FOR_COMPANY)
        with self._gate:
            batch, self._waiting = self._waiting, []
        self._company = len(batch) > 1
        try:
            self._commit(batch)
        finally:
            # Ctrl-C interrupts one thread; the next turn takes the others' items.
            others = [ticket for ticket in batch if ticket is not own]
            left = [ticket for ticket in others if not ticket.done]
            if left:
                with self._gate:
                    self._waiting[:0] = left

    def _commit(self, batch: list[_Ticket]) -> None:
        try:
            results = self._retry_while_away(
                lambda: self._write(
                    lambda connection: _results_by_ticket(connection, batch)
                ),
            )
        except Exception as error:  # noqa: BLE001 - raised again in the items' threads
            if is_disk_full(error) and self._free_disk_reserve():
                self._commit(batch)
                return
            if len(batch) > 1 and not isinstance(error, OperationalError):
                for ticket in batch:  # one of them caused it
                    self._commit([ticket])
                return
            # A locked, full, or missing database concerns every ticket.
            results = [(ticket, self._explained_error(error)) for ticket in batch]
        for ticket, result in results:
            ticket.finish(result)

    def _free_disk_reserve(self) -> bool:
        """Free what was reserved for a full disk; tell whether anything was."""
        return self._disk_reserve is not None and self._disk_reserve.release()

    def _write(self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                turn = sa.func.pg_advisory_xact_lock(_PG_TURN)
                connection.execute(sa.select(turn))
            clear_changes(connection)
            try:
                result = work(connection)
                append_entry(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            return result

    def _read(self, work: Work[T]) -> T:
        if self.in_memory:  # one connection for all
            with self._turn:
                self._validate_open()
                with self.engine.connect() as connection:
                    return work(connection)
        with self.engine.connect() as connection:
            return work(connection)

    def _retry_while_away(self, attempt: Callable[[], T]) -> T:
        """Retry while the server is away, for RECONNECT_FOR seconds in all."""
        until = self._away_until or time.monotonic() + RECONNECT_FOR
        while True:
            try:
                result = attempt()
            except DBAPIError as error:
                self._met = self._met or error.connection_invalidated
                gone = error.connection_invalidated or is_server_away(error)
                if not gone or not self._met:
                    raise
                self._away_until = until
                if time.monotonic() > until:
                    raise
            else:
                self._away_until = None
                return result
            time.sleep(0.5)

    def validate_file(self) -> None:
        """Raise LedgerError if the file was replaced or is damaged."""
        if not self.path:
            return
        self._validate_open()
        # Open connections would read from their caches.
        fresh = engine_for(self._url)
        try:
            with self._raising_ledger_errors(), fresh.connect() as connection:
                version = _version_of(connection, place=self.place)
                check = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        finally:
            fresh.dispose()
        if version is None:
            check = "it is empty"
        if check != "ok":
            damage = f"{check}".replace("\n", " ")
            raise LedgerError(
                f"The file is damaged: {damage}",
                location=self.place,
                hint="restore a copy, or start a new ledger",
            )

    def retry_while_away(self, attempt: Callable[[], T]) -> T:
        """Return the result of `attempt`, retrying while the server is away."""
        with self._raising_ledger_errors():
            return self._retry_while_away(attempt)

    @contextmanager
    def damage_as_ledger_error(self) -> Iterator[None]:
        """Raise LedgerError for what code raises that only reads rows of the ledger."""
        try:
            yield
        except (MemleakError, UnicodeEncodeError):  # the latter is a file name's
            raise
        except (*OF_VALUES, sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            explanation = self._explained_error(error)
            if explanation is error:
                kind = type(error).__name__
                damage = f"a value can't be read ({kind})"
                explanation = damage_error(damage, place=self.place)
            raise explanation from None

    # --- opening ----------------------------------------------------------------------

    def _open(self, *, create: bool) -> None:
        version = self._read(
            lambda connection: _version_of(connection, place=self.place),
        )
        if version is None and not create:
            if self.path:
                raise LedgerError("The file contains no ledger", location=self.place)
            raise LedgerError("No ledger exists here", location=self.place)
        if self.path:
            self._enable_wal()
        if version != SCHEMA_VERSION:
            self._write(lambda connection: _create_tables(connection, place=self.place))

    def _enable_wal(self) -> None:
        # SQLite doesn't wait for a lock when it changes the journal.
        until = time.monotonic() + LOCK_WAIT
        while True:
            try:
                with self.engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                return

    def _validate_open(self) -> None:
        if os.getpid() != self._pid:
            raise LedgerError(
                "Another process opened this ledger",
                location=self.place,
                hint="open a Ledger in each process",
            )
        if self._closed:
            raise LedgerError("The ledger is closed", location=self.place)
        if self.path and _device_and_inode(self.path) != self._file:
            raise LedgerError(
                "The ledger file was deleted, moved, or replaced during the run",
                location=self.place,
                hint="generations received after that weren't stored there: "
                "put the file back, or rerun",
            )

    @contextmanager
    def _raising_ledger_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            explanation = self._explained_error(error)
            if explanation is error:
                raise
            raise explanation from None

    def _explained_error(self, error: Exception) -> Exception:
        if isinstance(error, MemleakError) or not isinstance(error, OF_VALUES):
            return explain_error(error, self._url)
        try:
            damage = self._read(damaged_cell)
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as worse:
            return explain_error(worse, self._url)
        if damage is None:
            return error
        return damage_error(damage, place=self.place)


def _device_and_inode(path: Path) -> tuple[int, int] | None:
    """Return a file's device and inode; None if it doesn't exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _results_by_ticket(
    connection: Connection,
    batch: Sequence[_Ticket],
) -> list[tuple[_Ticket, Any]]:
    """Return each ticket with its result; works of one kind run together."""
    by_work: dict[object, list[_Ticket]] = {}
    for ticket in batch:
        by_work.setdefault(ticket.work, []).append(ticket)
    done: list[tuple[_Ticket, Any]] = []
    for tickets in by_work.values():
        items = [ticket.item for ticket in tickets]
        results = tickets[0].work(connection, items)
        done += zip(tickets, results, strict=True)
    return done


def _create_tables(connection: Connection, *, place: str) -> None:
    """Create the tables in an empty database, within the caller's transaction.

    Raises LedgerError for another version and for a database that holds something else.
    """
    if _version_of(connection, place=place) is None:
        metadata.create_all(connection, checkfirst=False)
        row = {"version": SCHEMA_VERSION, "since": time.time()}
        connection.execute(ledger_version.insert().values(row))
        record_changes(connection, ledger_version, [row])


def _version_of(connection: Connection, *, place: str) -> int | None:
    """Return the version of the tables, None if there are none.

    Raises LedgerError for another version and for tables of another program.
    """
    present = set(sa.inspect(connection).get_table_names())
    if ledger_version.name not in present:
        foreign = present & set(metadata.tables)
        if connection.dialect.name == "sqlite":
            foreign = present
        if foreign:
            raise LedgerError(
                "The database isn't a ledger: it holds another program's table "
                f"{min(foreign)!r}",
                location=place,
                hint="give the ledger its own file or database",
            )
        return None
    stored = connection.execute(sa.select(ledger_version.c.version))
    versions = stored.scalars().all()
    if len(versions) != 1:
        raise damage_error(f"it has {len(versions)} versions, expected 1", place=place)
    version: int = versions[0]
    if version < 1:
        raise damage_error(f"its version is {version}", place=place)
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"The ledger has version {version}; this program reads version "
            f"{SCHEMA_VERSION}",
            location=place,
            hint=_other_version_hint(version),
        )
    return version


def _other_version_hint(version: int) -> str:
    """Return what to do with a ledger of that version."""
    new = (
        "to start a new one, add --memleak-ledger=NEW.db "
        "(memleak commands: add --ledger NEW.db)"
    )
    if version == _WITHOUT_CONVERSATIONS:
        return f"{_READS_IT} reads version {version}; {new}"
    return new
