"""Versions of the ledger's tables: the step from each to the next.

prepare(connection, place=...)       # bring a database to this version
version_of(connection, place=...)    # what is there
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.chain import changed, take_over
from pytest_memleak.ledger.tables import ledger_version, metadata

__all__ = ["MIGRATIONS", "SCHEMA_VERSION", "prepare", "version_of"]

SCHEMA_VERSION = 5
_CHAINED_SINCE = 4


def _runs_and_their_budgets(connection: Connection) -> None:
    """Version 2: calls, jobs and batches know their run, and runs what they have spent."""
    for table in ("calls", "jobs", "batches"):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN run VARCHAR(64)")
    connection.exec_driver_sql(
        "CREATE TABLE runs (id VARCHAR(64) NOT NULL PRIMARY KEY, spent BIGINT NOT NULL,"
        " began FLOAT NOT NULL)"
    )


def _leases_and_who_answered(connection: Connection) -> None:
    """Version 3: calls say who answered and what was refused; owners are called leases."""
    blob = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    for statement in (
        "ALTER TABLE owners RENAME TO leases",
        "DROP INDEX calls_by_owner",
        "ALTER TABLE calls RENAME COLUMN owner TO lease",
        "ALTER TABLE jobs RENAME COLUMN owner TO lease",
        "ALTER TABLE batches RENAME COLUMN owner TO lease",
        "CREATE INDEX calls_by_lease ON calls (lease, state)",
        "ALTER TABLE batches RENAME COLUMN batch_id TO job_id",
        *(
            f"ALTER TABLE calls ADD COLUMN {one} {blob}"
            for one in ("model", "fingerprint", "response_id", "refused")
        ),
        f"ALTER TABLE generations ADD COLUMN finish_word {blob}",
        f"ALTER TABLE generations ADD COLUMN reasoning {blob}",
    ):
        connection.exec_driver_sql(statement)


def _the_chain(connection: Connection) -> None:
    """Version 4: every row as it was written, each entry sealed to the one before."""
    sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql(
        f"CREATE TABLE chain (number {'INTEGER' if sqlite else 'BIGINT'} NOT NULL PRIMARY KEY,"
        f" entry {'BLOB' if sqlite else 'BYTEA'} NOT NULL, link VARCHAR(64) NOT NULL)"
    )


def _deployments(connection: Connection) -> None:
    """Version 5: models that stand on machines, and who asks them."""
    sqlite = connection.dialect.name == "sqlite"
    number = "INTEGER" if sqlite else "BIGSERIAL"
    row, blob = ("INTEGER", "BLOB") if sqlite else ("BIGINT", "BYTEA")
    columns = (
        *(f"id {number} NOT NULL PRIMARY KEY", f"provider {blob} NOT NULL"),
        *("digest VARCHAR(64) NOT NULL", f"weights {blob} NOT NULL", f"options {blob} NOT NULL"),
        *("hours FLOAT NOT NULL", f"job_id {blob}", "state VARCHAR(16) NOT NULL"),
        *(f"endpoint {blob}", f"cause {blob}", f"lease {row} REFERENCES leases (id)"),
        *("began FLOAT NOT NULL", "ended FLOAT", "undeployed FLOAT", "run VARCHAR(64)"),
        *("estimate BIGINT", "cost BIGINT"),
    )
    connection.exec_driver_sql(f"CREATE TABLE deployments ({', '.join(columns)})")
    connection.exec_driver_sql("CREATE INDEX ix_deployments_digest ON deployments (digest)")
    connection.exec_driver_sql(
        f"CREATE TABLE tenants (deployment {row} NOT NULL REFERENCES deployments (id),"
        f" lease {row} NOT NULL REFERENCES leases (id), PRIMARY KEY (deployment, lease))"
    )


# The step from the version before to this one. A step never changes once it is released:
# it says what the tables were then, in plain SQL, and not what they have become.
MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    2: _runs_and_their_budgets,
    3: _leases_and_who_answered,
    4: _the_chain,
    5: _deployments,
}


def prepare(connection: Connection, *, place: str) -> None:
    """Bring the database to this version, within the caller's transaction.

    Creates the tables in a database without them and migrates older ones. Raises LedgerError
    for a newer version and for a database that holds something else.
    """
    version = version_of(connection, place=place)
    if version == SCHEMA_VERSION:
        return
    if version is None:
        metadata.create_all(connection, checkfirst=False)
        connection.execute(
            ledger_version.insert().values(version=SCHEMA_VERSION, since=time.time())
        )
        changed(connection, ledger_version, [None])
        return
    for step in range(version + 1, SCHEMA_VERSION + 1):
        MIGRATIONS[step](connection)
    connection.execute(ledger_version.update().values(version=SCHEMA_VERSION, since=time.time()))
    if version < _CHAINED_SINCE:
        take_over(connection)
    else:
        changed(connection, ledger_version, [None])


def version_of(connection: Connection, *, place: str) -> int | None:
    """The version of the tables that are there, None where there are none.

    Raises LedgerError for a newer version and for tables that are not a ledger's.
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
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger has version {version} and this program knows versions up to"
            f" {SCHEMA_VERSION}",
            place=place,
            hint="upgrade pytest-memleak, or use another ledger",
        )
    return version
