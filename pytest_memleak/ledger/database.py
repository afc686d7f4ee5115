"""The database behind the ledger, and how many threads and processes write to it at once.

    database = Database("sqlite:///.memleak/ledger.db")
    database.write(lambda connection: ...)     # one transaction, alone among all processes
    database.write_each(record_all, answer)    # the same, for many threads' items at once
    database.read(lambda connection: ...)

Writers take turns, in SQLite by its lock and in PostgreSQL by an advisory lock, so a work may
look before it writes. Threads that write at the same time share one commit: whoever gets the
turn takes along everything that is waiting, or comes within a millisecond.

A work may be done twice if the connection breaks while it is committed, so it must look whether
it has been done. Every failure is a LedgerError.
"""

from __future__ import annotations

import os
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

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.corruption import unreadable_row
from pytest_memleak.ledger.engines import (
    LOCK_WAIT,
    engine_for,
    explained,
    file_of,
    is_away,
    parsed_url,
    shown,
)
from pytest_memleak.ledger.hash_chain import append, changed, forget
from pytest_memleak.ledger.tables import ledger_version, metadata
from pytest_memleak.redaction.private_files import private_file, private_folder

T = TypeVar("T")
Item = TypeVar("Item")
Work = Callable[[Connection], T]

SCHEMA_VERSION = 6
RECONNECT_FOR = 90.0
# While several threads write, each turn waits this long for the others: a commit costs more.
_FOR_COMPANY = 0.001
# Names the writers' turn among the advisory locks of a PostgreSQL database.
_PG_TURN = 0x6D656D6C65616B


@dataclass(eq=False)
class _Ticket:
    """Something to be written, and what became of it."""

    work: Callable[[Connection, Sequence[Any]], Sequence[Any]]
    item: Any
    done: bool = False
    result: Any = None

    def settle(self, result: object) -> None:
        self.result, self.done = result, True


class Database:
    """Reads and writes the ledger's tables; safe from many threads of one process.

    Raises LedgerError where the URL means nothing, the database cannot be reached, is locked
    or damaged, is not a ledger, or is of a newer version; with `create=False` also where there
    is none yet.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self._url = parsed_url(url)
        self.place = shown(self._url)
        self.path = file_of(self._url)
        self.in_memory = self._url.get_backend_name() == "sqlite" and self.path is None
        self._pid = os.getpid()
        self._gate = threading.Lock()
        self._turn = threading.RLock()
        self._waiting: list[_Ticket] = []
        self._company = False
        self._closed = False
        self._met = False  # whether the server was ever there
        self._file: tuple[int, int] | None = None
        if self.path and not self.path.exists() and not create:
            raise LedgerError("there is no ledger here", location=self.place)
        with self._explained():
            if self.path:
                private_folder(self.path.parent)
                private_file(self.path)
                self._file = _identity(self.path)
            self.engine = engine_for(self._url)
            try:
                self._open(create=create)
            except BaseException:
                self.close()
                raise
        self._met = True

    def close(self) -> None:
        """Let go of the database. What comes in later is refused."""
        if os.getpid() != self._pid:
            return  # a forked child has no connections, and perhaps no end of a turn
        with self._turn:  # nobody is at work on the one connection of a ledger in memory
            self._closed = True
            self.engine.dispose()

    # --- reading and writing ---------------------------------------------------------------

    def read(self, work: Work[T]) -> T:
        """What `work` returns; it must not hand out a cursor."""
        self._check_open()
        with self._explained():
            return self._while_it_restarts(lambda: self._read(work))

    def snapshot(self, work: Work[T]) -> T:
        """As `read`; all that `work` reads is of one moment."""
        self._check_open()
        with self._explained():
            return self._while_it_restarts(lambda: self._read(_of_one_moment(work)))

    def write(self, work: Work[T]) -> T:
        """What `work` returns, once what it wrote is kept."""

        def once(connection: Connection, _: Sequence[None]) -> list[T | Exception]:
            return [work(connection)]

        return self.write_each(once, None)

    def write_each(
        self, work: Callable[[Connection, Sequence[Item]], Sequence[T | Exception]], item: Item
    ) -> T:
        """What `work` gives for `item`, once what it wrote is kept.

        `work` gets every item that is waiting for the same work and gives one result for each,
        in order; a result that is an exception is raised to the one whose item it was.
        """
        self._check_open()
        ticket = _Ticket(work, item)
        with self._gate:
            self._waiting.append(ticket)
        with self._turn:
            if not ticket.done:
                self._check_open()
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
            # Ctrl-C is for one thread; the others' items are taken by the next in turn.
            left = [ticket for ticket in batch if not ticket.done and ticket is not own]
            if left:
                with self._gate:
                    self._waiting[:0] = left

    def _commit(self, batch: list[_Ticket]) -> None:
        try:
            results = self._while_it_restarts(lambda: self._write(lambda c: _done(c, batch)))
        except Exception as error:  # noqa: BLE001 - raised again, to those whose items it concerns
            if len(batch) > 1 and not isinstance(error, OperationalError):
                for ticket in batch:  # one of them is to blame
                    self._commit([ticket])
                return
            # Locked, full or gone: so it is for everyone.
            results = [(ticket, self._explanation(error)) for ticket in batch]
        for ticket, result in results:
            ticket.settle(result)

    def _write(self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PG_TURN)))
            forget(connection)
            try:
                result = work(connection)
                append(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            return result

    def _read(self, work: Work[T]) -> T:
        if self.in_memory:  # one connection for all
            with self._turn:
                self._check_open()
                with self.engine.connect() as connection:
                    return work(connection)
        with self.engine.connect() as connection:
            return work(connection)

    def _while_it_restarts(self, attempt: Callable[[], T]) -> T:
        """Try again where the server went away, for as long as it takes one to come back."""
        until = time.monotonic() + RECONNECT_FOR
        while True:
            try:
                return attempt()
            except DBAPIError as error:
                self._met = self._met or error.connection_invalidated
                gone = error.connection_invalidated or is_away(error)
                if not gone or not self._met or time.monotonic() > until:
                    raise
            time.sleep(0.5)

    def refuse_damage(self) -> None:
        """Raise LedgerError where the file is not as it was left, or SQLite finds faults in it."""
        if not self.path:
            return
        self._check_open()
        # Connections that are open see what they have in memory still.
        anew = engine_for(self._url)
        try:
            with self._explained(), anew.connect() as connection:
                version = _version_of(connection, place=self.place)
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        finally:
            anew.dispose()
        if version is None or found != "ok":
            raise LedgerError(
                "the file is damaged: "
                + ("it was emptied" if version is None else f"{found}".replace("\n", " ")),
                location=self.place,
                hint="restore it from a copy, or move it away to begin a new one",
            )

    def patiently(self, attempt: Callable[[], T]) -> T:
        """What `attempt` gives; made again while the server is away."""
        with self._explained():
            return self._while_it_restarts(attempt)

    # --- opening ---------------------------------------------------------------------------

    def _open(self, *, create: bool) -> None:
        version = self._read(lambda connection: _version_of(connection, place=self.place))
        if version is None and not create:
            raise LedgerError("there is no ledger here", location=self.place)
        if self.path:
            self._to_wal()
        if version != SCHEMA_VERSION:
            self._write(lambda connection: _prepare(connection, place=self.place))

    def _to_wal(self) -> None:
        # SQLite does not wait for a lock when it changes the journal, so this does.
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

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise LedgerError(
                "the ledger was opened by another process",
                location=self.place,
                hint="every process opens a Ledger of its own",
            )
        if self._closed:
            raise LedgerError("the ledger is closed", location=self.place)
        if self.path and _identity(self.path) != self._file:
            raise LedgerError(
                "the ledger was deleted, moved or replaced while it was in use",
                location=self.place,
                hint="what was written since is not in it: put it back as it was, or run again",
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            explanation = self._explanation(error)
            if explanation is error:
                raise
            raise explanation from None

    def _explanation(self, error: Exception) -> Exception:
        if isinstance(error, UnicodeDecodeError | TypeError):  # as a text is read that is none
            damaged = self._read(unreadable_row)
            if damaged is not None:
                return LedgerError(
                    f"the ledger is damaged: {damaged} is not UTF-8",
                    location=self.place,
                    hint="restore it from a copy, or move it away to begin a new one",
                )
        return explained(error, self._url)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is: device and inode; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _of_one_moment(work: Work[T]) -> Work[T]:
    def within(connection: Connection) -> T:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            return work(connection)
        finally:
            connection.rollback()

    return within


def _done(connection: Connection, batch: Sequence[_Ticket]) -> list[tuple[_Ticket, Any]]:
    """What each ticket's work gives, works of one kind taken together."""
    kinds: dict[object, list[_Ticket]] = {}
    for ticket in batch:
        kinds.setdefault(ticket.work, []).append(ticket)
    return [
        pair
        for tickets in kinds.values()
        for pair in zip(
            tickets,
            tickets[0].work(connection, [ticket.item for ticket in tickets]),
            strict=True,
        )
    ]


# --- the tables' version ------------------------------------------------------------------


def _prepare(connection: Connection, *, place: str) -> None:
    """Create the tables in a database without them, within the caller's transaction.

    Raises LedgerError for another version and for a database that holds something else.
    """
    if _version_of(connection, place=place) is None:
        metadata.create_all(connection, checkfirst=False)
        row = {"version": SCHEMA_VERSION, "since": time.time()}
        connection.execute(ledger_version.insert().values(row))
        changed(connection, ledger_version, [None])


def _version_of(connection: Connection, *, place: str) -> int | None:
    """The version of the tables that are there, None where there are none.

    Raises LedgerError for another version and for tables that are not a ledger's.
    """
    present = set(sa.inspect(connection).get_table_names())
    if ledger_version.name not in present:
        foreign = present & set(metadata.tables)
        if connection.dialect.name == "sqlite":
            foreign = present
        if foreign:
            raise LedgerError(
                f"the database is not a ledger: it holds a table {min(foreign)!r} of some other"
                " program's",
                location=place,
                hint="give the ledger a file or a database of its own",
            )
        return None
    found = connection.execute(sa.select(ledger_version.c.version)).scalars().all()
    if len(found) != 1 or found[0] < 1:
        raise LedgerError(
            f"the ledger is damaged: it has {len(found)} versions where 1 was expected"
            if len(found) != 1
            else f"the ledger is damaged: its version is {found[0]}",
            location=place,
            hint="restore it from a copy, or move it away to begin a new one",
        )
    version = int(found[0])
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger has version {version}, and this program reads version {SCHEMA_VERSION}",
            location=place,
            hint="use the pytest-memleak that wrote it, or another ledger",
        )
    return version
