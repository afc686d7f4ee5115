"""The version of the ledger's tables.

prepare(connection, place=...)       # create the tables in a database without them
version_of(connection, place=...)    # what is there
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.tables import ledger_version, metadata

__all__ = ["SCHEMA_VERSION", "prepare", "version_of"]

SCHEMA_VERSION = 6


def prepare(connection: Connection, *, place: str) -> None:
    """Create the tables in a database without them, within the caller's transaction.

    Raises LedgerError for another version and for a database that holds something else.
    """
    if version_of(connection, place=place) is None:
        metadata.create_all(connection, checkfirst=False)
        row = {"version": SCHEMA_VERSION, "since": time.time()}
        connection.execute(ledger_version.insert().values(row))
        changed(connection, ledger_version, [None])


def version_of(connection: Connection, *, place: str) -> int | None:
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
                place=place,
                hint="give the ledger a file or a database of its own",
            )
        return None
    found = connection.execute(sa.select(ledger_version.c.version)).scalars().all()
    if len(found) != 1 or found[0] < 1:
        raise LedgerError(
            f"the ledger is damaged: it has {len(found)} versions where 1 was expected"
            if len(found) != 1
            else f"the ledger is damaged: its version is {found[0]}",
            place=place,
            hint="restore it from a copy, or move it away to begin a new one",
        )
    version = int(found[0])
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger has version {version}, and this program reads version {SCHEMA_VERSION}",
            place=place,
            hint="use the pytest-memleak that wrote it, or another ledger",
        )
    return version
