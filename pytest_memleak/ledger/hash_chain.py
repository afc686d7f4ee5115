"""The ledger's hash chain: what each transaction wrote, in linked entries.

An entry is canonical JSON: the time, and each row's table, key, and new values. Texts
of books and models are stored as SHA-256, so the chain holds none. A call lists the
ordinals that it reserves while it is open, and its generations once it is answered. An
entry's link is the SHA-256 of the previous link and the entry. Entries are only ever
added; verify_chain.py compares the tables with them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.tables import (
    batches,
    calls,
    chain,
    deployments,
    generations,
    jobs,
    leases,
    ledger_version,
    runs,
    stored_prompts,
    summaries,
)

_PENDING = "pytest_memleak.changed"
_ROWS_PER_ENTRY = 50  # so that verification decodes no long entry for one row

# Claims and generations are part of their calls' entries; tenants aren't evidence.
CHAINED = (
    ledger_version,
    leases,
    runs,
    stored_prompts,
    jobs,
    batches,
    deployments,
    calls,
    summaries,
)
_DIGESTED = {"instruction", "text", "reasoning"}
# A run's spending is the sum of its calls.
_LEFT_OUT = {runs.name: {"spent"}, generations.name: {"prompt", "call", "place"}}

Row = dict[str, Any]
# A table's name, and the key of one of its rows.
RowName = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: its number of entries, and the last link (hexadecimal)."""

    entries: int
    link: str


def clear_changes(connection: Connection) -> None:
    """Begin a transaction with no changes."""
    connection.info[_PENDING] = {}


def record_changes(
    connection: Connection,
    table: sa.Table,
    rows: Iterable[Mapping[Any, Any]],
) -> None:
    """Record what was written: each row's primary key, and its columns' new values.

    A call's row may have `claims`, the ordinals that it reserves, and `generations`,
    their images.
    """
    changes: dict[RowName, Row] = connection.info[_PENDING]
    for row in rows:
        name = (table.name, row_key(table, row))
        values = changes.setdefault(name, {})
        values.update(_row_with_text_digests(table, row))


def add_row(
    connection: Connection,
    table: sa.Table,
    values: Mapping[str, Any],
) -> int:
    """Add a row and its entry in the chain; return its id."""
    insert = table.insert().values(values).returning(table.c.id)
    number: int = connection.execute(insert).scalar_one()
    record_changes(connection, table, [{"id": number, **values}])
    return number


def update_row(
    connection: Connection,
    table: sa.Table,
    number: int,
    values: Mapping[str, Any],
    *conditions: sa.ColumnElement[bool],
) -> None:
    """Change a row that meets the conditions, with an entry in the chain."""
    is_row = table.c.id == number
    update = table.update().where(is_row, *conditions)
    if connection.execute(update.values(values)).rowcount:
        record_changes(connection, table, [{"id": number, **values}])


def append_entry(connection: Connection) -> None:
    """Add an entry of this transaction's changes."""
    changes: dict[RowName, Row] = connection.info[_PENDING]
    if not changes:
        return
    number, link = connection.execute(_HEAD).first() or (0, "")
    written = [[name, row] for (name, _), row in changes.items()]
    at = time.time()
    entries = []
    for start in range(0, len(written), _ROWS_PER_ENTRY):
        rows = written[start : start + _ROWS_PER_ENTRY]
        entry = json.dumps({"at": at, "rows": rows}, sort_keys=True)
        number += 1
        link = chain_link(link, entry)
        entries.append({"number": number, "entry": entry, "link": link})
    connection.execute(_INSERT, entries)
    clear_changes(connection)


def chain_head(connection: Connection) -> Head | None:
    """Return the chain's current end; None without entries."""
    row = connection.execute(_HEAD).first()
    if row is None:
        return None
    return Head(*row)


def first_link(connection: Connection) -> str | None:
    """Return the chain's first link, which tells ledgers apart; None without entries.

    Its entry has the time at which the ledger was created.
    """
    query = sa.select(chain.c.link).order_by(chain.c.number).limit(1)
    link: str | None = connection.execute(query).scalar()
    return link


def chain_link(before: str, entry: str) -> str:
    """Return the link (SHA-256, hexadecimal) of an entry; `before` is "" at first."""
    return text_digest(f"{before}{entry}")


def row_without_nulls(table: sa.Table, row: Mapping[Any, Any]) -> Row:
    """Return a row as entries have it, without nulls: a new column changes no image."""
    written = _row_with_text_digests(table, row)
    return {name: value for name, value in written.items() if value is not None}


def _row_with_text_digests(table: sa.Table, row: Mapping[Any, Any]) -> Row:
    """Return what an entry has of a row: its texts as SHA-256."""
    left_out = _LEFT_OUT.get(table.name, set())
    written: Row = {}
    for name, value in row.items():
        if name in left_out:
            continue
        if name in _DIGESTED and value is not None:
            written[name] = text_digest(value)
        else:
            written[name] = value
    return written


def row_key(table: sa.Table, row: Mapping[Any, Any]) -> Any:
    """Return a row's primary key; a tuple if it has several columns."""
    values = tuple(row[column.name] for column in table.primary_key.columns)
    return values[0] if len(values) == 1 else values


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# Building a statement takes longer than running it.
_HEAD = sa.select(chain.c.number, chain.c.link).order_by(chain.c.number.desc()).limit(1)
_INSERT = chain.insert()
