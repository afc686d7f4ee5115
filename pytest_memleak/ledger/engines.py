"""The ways to a database: what a ledger's URL may be, how it is connected to, how it fails.

SQLite by file (`sqlite:///PATH`, or a path that ends in `.db`) or in memory (`sqlite://`),
PostgreSQL by `postgresql+psycopg://USER@HOST/DATABASE`. A URL's password appears in no message.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.ledger_path import is_path, real_path
from pytest_memleak.redaction.credentials import masked

LOCK_WAIT = 60.0
_PG_CONNECT = {
    "connect_timeout": 10,
    "application_name": "pytest-memleak",
}
# A machine that vanished gives up its locks within half a minute, not two hours.
_PG_SETTINGS = {
    "lock_timeout": f"{LOCK_WAIT:.0f}s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


# --- URLs ----------------------------------------------------------------------------------


def parsed_url(url: str) -> URL:
    """The URL in the form that SQLAlchemy takes; LedgerError for any other kind."""
    expected = "expected a path that ends in .db, sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE"
    if is_path(url):
        return URL.create("sqlite", database=url)
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        # The URL is not quoted: it may hold a password.
        raise LedgerError(f"the ledger's URL cannot be read: {expected}") from None
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        if parsed.query or parsed.host:
            raise LedgerError(
                "the ledger's URL is not of the form sqlite:///PATH",
                hint="a file on this machine, without options",
            )
        return parsed.set(drivername="sqlite")
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise LedgerError(f"a ledger cannot be kept in {parsed.drivername!r}: {expected}")


def file_of(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory or on a server."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return real_path(url.database)


def shown(url: URL) -> str:
    """The database as messages name it: without a password."""
    path = file_of(url)
    if path is not None:
        return str(path)
    if url.get_backend_name() == "sqlite":
        return "ledger in memory"
    return URL.create(
        url.drivername, username=url.username, host=url.host, port=url.port, database=url.database
    ).render_as_string()


# --- engines -------------------------------------------------------------------------------


def engine_for(url: URL) -> Engine:
    """The engine; it connects when it is first used."""
    engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)
    _forget_in_forks(engine)
    return engine


def _sqlite(url: URL) -> Engine:
    # No transactions but those that a writer begins itself: it needs BEGIN IMMEDIATE.
    arguments = {"isolation_level": None, "timeout": LOCK_WAIT, "check_same_thread": False}
    path = file_of(url)
    if path is None:
        engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args=arguments)
    else:
        file = URL.create("sqlite", database=str(path))
        engine = sa.create_engine(file, connect_args=arguments, max_overflow=50)

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, _: object) -> None:
        connection.execute("PRAGMA foreign_keys=ON")
        # What is committed survives a power cut too.
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _postgresql(url: URL) -> Engine:
    own = [str(url.query["options"])] if "options" in url.query else []
    options = " ".join([*own, *(f"-c {name}={value}" for name, value in _PG_SETTINGS.items())])
    try:
        return sa.create_engine(
            url, connect_args=_PG_CONNECT | {"options": options}, pool_size=3, max_overflow=20
        )
    except ImportError:
        raise LedgerError(
            "a ledger in PostgreSQL needs the package 'psycopg', which is not installed",
            hint="install it with: pip install 'pytest-memleak[postgres]'",
        ) from None


def _forget_in_forks(engine: Engine) -> None:
    """A forked child must not speak on its parent's connections, nor keep them open."""
    reference = weakref.ref(engine)
    sessions: weakref.WeakSet[Any] = weakref.WeakSet()
    if engine.dialect.name == "postgresql":
        sa.event.listen(engine, "connect", lambda session, _: sessions.add(session))

    def forget() -> None:
        alive = reference()
        if alive is not None:
            alive.dispose(close=False)
        for session in sessions:
            # Without a word to the server. While one copy of it is open, it would not notice
            # the end of the parent, and keep its locks.
            with suppress(Exception):
                os.close(session.fileno())

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)


# --- failures ------------------------------------------------------------------------------

_DAMAGED = "restore it from a copy, or move it away to begin a new one"
_EXPLANATIONS = {
    "file is not a database": ("the file is not an SQLite database", _DAMAGED),
    "malformed": ("the file is damaged", _DAMAGED),
    "no such table": ("the file was emptied while it was in use", _DAMAGED),
    "unable to open database file": ("the file cannot be opened", "is it a folder, or unreadable?"),
    "readonly database": ("the file may only be read", "give it write permission, or copy it"),
    "database is locked": (
        f"the file was locked by another program for {LOCK_WAIT:.0f} s",
        "end whatever else has it open for writing",
    ),
    "lock timeout": (
        f"another session held the ledger's lock for {LOCK_WAIT:.0f} s",
        "end the session that holds it (pg_stat_activity shows it)",
    ),
    "disk is full": ("the disk is full", "make room and run again; what was drawn is kept"),
    "password authentication failed": (
        "the server refused the password",
        "check the URL, or set PGPASSWORD or a .pgpass file",
    ),
    "no password supplied": (
        "the server asks for a password",
        "put it into the URL, or set PGPASSWORD or a .pgpass file",
    ),
    "no space left on device": (
        "the server's disk is full",
        "make room there and run again; what was drawn is kept",
    ),
    "disk i/o error": (
        "the file cannot be read or written to its end",
        "is it cut short, is there a limit on the size of files (ulimit -f), does the disk fail?",
    ),
    "read-only transaction": (
        "the server takes nothing in: it is read-only",
        "name the primary server, not a replica, or end the maintenance",
    ),
    "permission denied": (
        "the server does not let this user write here",
        "grant it CREATE on the schema, or name another database",
    ),
    "does not support ssl": (
        "the server speaks no TLS, and the URL asks for it",
        "leave sslmode out of the URL, or turn TLS on at the server",
    ),
    "certificate verify failed": (
        "the server's certificate is not one that is trusted here",
        "name its authority with sslrootcert=FILE in the URL",
    ),
    "root certificate file": (
        "there is no certificate to check the server's with",
        "name its authority with sslrootcert=FILE in the URL",
    ),
    "no encryption": (
        "the server takes no connection without TLS, or none of this user and database",
        "add sslmode=require to the URL, or ask for an entry in pg_hba.conf",
    ),
    "connection refused": ("the server cannot be reached", "is it running, at that host and port?"),
    "connection timeout": ("the server did not answer in 10 s", "check host, port and firewall"),
    "resolve host": ("there is no host of that name", "check the URL"),
    "could not translate host name": ("there is no host of that name", "check the URL"),
}


# A server that is starting, or is being shut down; None: there is no server.
_AWAY = (None, "57P01", "57P02", "57P03")


def is_away(error: DBAPIError) -> bool:
    """Whether a PostgreSQL server is not there, or not yet."""
    return isinstance(error, OperationalError) and (
        getattr(error.orig, "sqlstate", "no server's") in _AWAY
    )


def explained(error: Exception, url: URL) -> Exception:
    """The LedgerError that says what a database's error means; any other error as it is."""
    if isinstance(error, OSError):
        return LedgerError(
            f"cannot be used: {error.strerror or error}",
            location=shown(url),
            hint="mend that, or name another place for the ledger",
        )
    if not isinstance(error, SQLAlchemyError):
        return error
    cause = str(getattr(error, "orig", None) or type(error).__name__)
    if url.password:
        cause = cause.replace(url.password, "***")
    for sign, (message, hint) in _EXPLANATIONS.items():
        if sign in cause.lower():
            return LedgerError(message, location=shown(url), hint=hint)
    return LedgerError(f"the database failed: {masked(cause)}", location=shown(url))
