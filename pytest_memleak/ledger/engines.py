"""Connections to the ledger's database: valid URLs, engines, and their errors.

SQLite by file (`sqlite:///PATH`, or a path that ends in `.db`) or in memory
(`sqlite://`), PostgreSQL by `postgresql+psycopg://USER@HOST/DATABASE`. No message shows
a URL's password.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from pytest_memleak.errors import (
    DISK_FULL,
    FREE_SPACE,
    NO_ROOM,
    LedgerError,
    install_command,
)
from pytest_memleak.ledger import is_path, real_path
from pytest_memleak.redaction.credentials import masked

LOCK_WAIT = 60.0
_PAGE_SIZE = 16_384  # less of a page stays empty between texts
_PG_CONNECT = {"connect_timeout": 10, "application_name": "pytest-memleak"}
# A lost machine's locks are freed within half a minute, not two hours.
_PG_SETTINGS = {
    "lock_timeout": f"{LOCK_WAIT:.0f}s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


# --- URLs -----------------------------------------------------------------------------


def parse_url(url: str) -> URL:
    """Parse a ledger's URL into SQLAlchemy's form; LedgerError for any other kind."""
    expected = (
        "expected a path that ends in .db, sqlite:///PATH, "
        "or postgresql+psycopg://USER@HOST/DATABASE"
    )
    if is_path(url):
        return URL.create("sqlite", database=url)
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        # The URL may hold a password.
        raise LedgerError(f"Invalid ledger URL: {expected}") from None
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        if parsed.query or parsed.host:
            raise LedgerError(
                "The ledger's URL isn't of the form sqlite:///PATH",
                hint="name a file on this machine, without options",
            )
        return parsed.set(drivername="sqlite")
    if parsed.drivername in {"postgres", "postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise LedgerError(f"Unsupported database {parsed.drivername!r}: {expected}")


def sqlite_file(url: URL) -> Path | None:
    """Return an SQLite database's file; None for one in memory or on a server."""
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        return None
    return real_path(url.database)


def url_without_password(url: URL) -> str:
    """Name the database without a password, for messages."""
    path = sqlite_file(url)
    if path is not None:
        return str(path)
    if url.get_backend_name() == "sqlite":
        return "ledger in memory"
    return URL.create(
        url.drivername,
        username=url.username,
        host=url.host,
        port=url.port,
        database=url.database,
    ).render_as_string()


# --- engines --------------------------------------------------------------------------


def engine_for(url: URL) -> Engine:
    """Create the engine; it connects on first use."""
    if url.get_backend_name() == "sqlite":
        engine = _sqlite_engine(sqlite_file(url))
        sa.event.listen(engine, "connect", _set_up_sqlite)
    else:
        engine = _postgresql_engine(url)
    _drop_connections_in_forks(engine)
    return engine


def _sqlite_engine(path: Path | None) -> Engine:
    # Writers begin their own transactions, with BEGIN IMMEDIATE.
    arguments = {
        "isolation_level": None,
        "timeout": LOCK_WAIT,
        "check_same_thread": False,
    }
    if path is None:
        return sa.create_engine(
            "sqlite://",
            poolclass=StaticPool,
            connect_args=arguments,
        )
    url = URL.create("sqlite", database=str(path))
    if _has_no_journal(path) and not os.access(path.parent, os.W_OK):
        # Even to read, SQLite writes beside a file that may change.
        database = f"file:{quote(os.fsencode(path))}"
        query = {"uri": "true", "immutable": "1"}
        url = URL.create("sqlite", database=database, query=query)
    return sa.create_engine(url, connect_args=arguments, max_overflow=50)


def _has_no_journal(path: Path) -> bool:
    """Tell whether no part of an SQLite database is in a journal beside its file."""
    for suffix in ("wal", "journal"):
        journal = path.with_name(f"{path.name}-{suffix}")
        if journal.exists() and journal.stat().st_size:
            return False
    return True


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.execute(f"PRAGMA page_size={_PAGE_SIZE}")  # of a new file
    connection.execute("PRAGMA foreign_keys=ON")
    # A commit survives a power cut.
    connection.execute("PRAGMA synchronous=FULL")
    # Else a full TMPDIR looks like a full ledger.
    connection.execute("PRAGMA temp_store=MEMORY")


def _postgresql_engine(url: URL) -> Engine:
    settings = [f"-c {name}={value}" for name, value in _PG_SETTINGS.items()]
    if "options" in url.query:
        settings.insert(0, str(url.query["options"]))
    options = " ".join(settings)
    try:
        return sa.create_engine(
            url,
            connect_args=_PG_CONNECT | {"options": options},
            pool_size=3,
            max_overflow=20,
        )
    except ImportError:
        raise LedgerError(
            "A PostgreSQL ledger needs the package 'psycopg', which isn't installed",
            hint=f"install it: {install_command('postgres')}",
        ) from None


def _drop_connections_in_forks(engine: Engine) -> None:
    """Drop the parent's connections in a forked child, without using them."""
    reference = weakref.ref(engine)
    sessions: weakref.WeakSet[Any] = weakref.WeakSet()
    if engine.dialect.name == "postgresql":
        sa.event.listen(engine, "connect", lambda session, _: sessions.add(session))

    def drop_pool() -> None:
        alive = reference()
        if alive is not None:
            alive.dispose(close=False)
        for session in sessions:
            # An open copy would hide the parent's end, and the server kept its locks.
            with suppress(Exception):
                os.close(session.fileno())

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=drop_pool)


# --- failures -------------------------------------------------------------------------

_DAMAGED = "restore a copy, or start a new ledger"
_FULL = (DISK_FULL, FREE_SPACE)
_LOGIN = "write the password into the URL, PGPASSWORD, or a .pgpass file"
_ROOT_CERTIFICATE = "name its authority with sslrootcert=FILE in the URL"
_NO_HOST = ("Unknown host", "check the URL")
_EXPLANATIONS = {
    "file is not a database": ("The file isn't an SQLite database", _DAMAGED),
    "malformed": ("The file is damaged", _DAMAGED),
    "could not decode": ("The file is damaged: some text isn't UTF-8", _DAMAGED),
    "no such table": ("The file lacks a table of the ledger", _DAMAGED),
    "unable to open database file": (
        "The file can't be opened",
        (
            "check that it is a readable file; "
            "copy it and its -wal file out of a read-only folder"
        ),
    ),
    "readonly database": (
        "The file is read-only",
        "add write permission, or copy the file",
    ),
    "database is locked": (
        f"Another program locked the file for {LOCK_WAIT:.0f} s",
        "end the program that writes to it",
    ),
    "lock timeout": (
        f"Another session held the ledger's lock for {LOCK_WAIT:.0f} s",
        "end the session that holds it (see pg_stat_activity)",
    ),
    "disk is full": _FULL,
    "password authentication failed": ("The server rejected the password", _LOGIN),
    "no password supplied": ("The server requires a password", _LOGIN),
    "no space left on device": _FULL,
    "disk i/o error": (
        "The file can't be read or written completely",
        (
            "check for a full or failing disk, a truncated file, "
            "or a file size limit (ulimit -f)"
        ),
    ),
    "read-only transaction": (
        "The server is read-only",
        "name the primary server instead of a replica, or end the maintenance",
    ),
    "permission denied": (
        "The server doesn't let this user write",
        "grant CREATE on the schema, or name a different database",
    ),
    "does not support ssl": (
        "The URL requires TLS, which the server doesn't support",
        "remove sslmode from the URL, or enable TLS on the server",
    ),
    "certificate verify failed": (
        "The server's certificate isn't trusted here",
        _ROOT_CERTIFICATE,
    ),
    "root certificate file": (
        "No root certificate to verify the server with",
        _ROOT_CERTIFICATE,
    ),
    "no encryption": (
        "The server rejects this user, database, or connections without TLS",
        "add sslmode=require to the URL, or request an entry in pg_hba.conf",
    ),
    "connection refused": (
        "The server is unreachable",
        "check that it runs at this host and port",
    ),
    "connection timeout": (
        "No response from the server within 10 s",
        "check host, port, and firewall",
    ),
    "resolve host": _NO_HOST,
    "could not translate host name": _NO_HOST,
}


# SQLSTATEs of a server that is starting or stopping; None: no server.
_AWAY = (None, "57P01", "57P02", "57P03")


def is_server_away(error: DBAPIError) -> bool:
    """Tell whether a PostgreSQL server is missing, starting, or stopping."""
    return isinstance(error, OperationalError) and (
        getattr(error.orig, "sqlstate", "no server's") in _AWAY
    )


# SQLite may also report a full disk as one that it can't write to.
_SIGNS_OF_FULL = ("disk is full", "no space left on device", "disk i/o error")


def is_disk_full(error: Exception) -> bool:
    """Tell whether a database may have failed since its disk is full."""
    cause = str(getattr(error, "orig", "")).lower()
    return any(sign in cause for sign in _SIGNS_OF_FULL)


def explain_error(error: Exception, url: URL) -> Exception:
    """Return the LedgerError that explains a database's error; others unchanged."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return LedgerError(
            DISK_FULL, location=url_without_password(url), hint=FREE_SPACE
        )
    if isinstance(error, OSError):
        return LedgerError(
            f"Unusable: {error.strerror or error}",
            location=url_without_password(url),
            hint="fix the path, or choose a different one for the ledger",
        )
    if not isinstance(error, SQLAlchemyError | sqlite3.Error):
        return error
    cause = str(getattr(error, "orig", None) or type(error).__name__)
    if url.password:
        cause = cause.replace(url.password, "***")
    for sign, (message, hint) in _EXPLANATIONS.items():
        if sign in cause.lower():
            return LedgerError(message, location=url_without_password(url), hint=hint)
    return LedgerError(
        f"The database failed: {masked(cause)}",
        location=url_without_password(url),
        hint="rerun; if it fails again, restore a copy of the ledger, "
        "or start a new one",
    )
