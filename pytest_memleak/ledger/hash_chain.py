"""The ledger's hash chain: every row as it was written, each entry linked to the one before.

    changed(connection, calls, [number])     # within a work: these rows were added or changed
    append(connection)                       # before the commit: add their entries
    ledger.read(head)                        # what an evidence bundle stores of it

An entry is canonical JSON: time, table, and the row without nulls. Texts of books and models are
stored as SHA-256, so the chain holds none. A call's row lists the ordinals that it reserves while
it is open, and its generations once it is answered. An entry's link is the SHA-256 of the previous
link and the entry. Entries are only ever added; verify_chain.py compares the tables with them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.tables import (
    batches,
    calls,
    chain,
    claims,
    deployments,
    generations,
    jobs,
    leases,
    ledger_version,
    questions,
    runs,
    summaries,
)

_PENDING = "pytest_memleak.changed"
_AT_ONCE = 400  # rows per statement

# Claims and generations are part of their calls' entries; tenants aren't evidence.
CHAINED = (
    *(ledger_version, leases, runs, questions, jobs, batches, deployments, calls, summaries),
)
_DIGESTED = {"instruction", "text", "reasoning"}
# A run's spending is the sum of its calls.
_LEFT_OUT = {runs.name: {"spent"}, generations.name: {"call"}}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: its number of entries, and the last link (hexadecimal)."""

    entries: int
    link: str


class _Changes:
    """The rows that a transaction has changed so far."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[Any, None]] = defaultdict(dict)
        self.brought: dict[int, list[Row]] = defaultdict(list)


def forget(connection: Connection) -> None:
    """Begin a transaction with no changes."""
    connection.info[_PENDING] = _Changes()


def changed(
    connection: Connection,
    table: sa.Table,
    keys: Iterable[Any],
    *,
    brought: Iterable[Mapping[Any, Any]] = (),
) -> None:
    """Record that rows were added or changed, by their primary keys.

    brought: the rows of the generations that these calls received.
    """
    changes: _Changes = connection.info[_PENDING]
    changes.keys[table.name].update(dict.fromkeys(keys))
    for row in brought:
        changes.brought[row["call"]].append(image(generations, row))


def append(connection: Connection) -> None:
    """Add the entries of this transaction's changes."""
    changes: _Changes = connection.info[_PENDING]
    if any(changes.keys.values()):
        by_name = {table.name: table for table in CHAINED}
        _append(
            connection,
            (
                (name, row)
                for name, keys in changes.keys.items()
                for row in _images(connection, by_name[name], list(keys), changes.brought)
            ),
        )
        forget(connection)


def head(connection: Connection) -> Head | None:
    """Return the chain's current end; None without entries."""
    row = connection.execute(_HEAD).first()
    return None if row is None else Head(*row)


def chain_link(before: str, entry: str) -> str:
    """Return the link (SHA-256, hexadecimal) of an entry after the link `before` ("" at first)."""
    return hashlib.sha256(f"{before}{entry}".encode("utf-8", "surrogatepass")).hexdigest()


# --- rows as entries have them -------------------------------------------------------------


def image(table: sa.Table, row: Mapping[Any, Any]) -> Row:
    """Return a row without nulls, its texts as SHA-256: a new column changes no old entry."""
    left_out = _LEFT_OUT.get(table.name, set())
    return {
        name: text_digest(value) if name in _DIGESTED else value
        for name, value in row.items()
        if value is not None and name not in left_out
    }


def call_image(
    row: Mapping[Any, Any], claimed: Iterable[int], answers: Sequence[Mapping[Any, Any]]
) -> Row:
    """Return a call's row with the ordinals it reserves and the images of its generations."""
    row_image = image(calls, row)
    ordinals = sorted(claimed)
    if ordinals:
        row_image["claims"] = ordinals
    if answers:
        row_image["generations"] = sorted(answers, key=lambda answer: answer["ordinal"])
    return row_image


def row_key(table: sa.Table, row: Mapping[Any, Any]) -> Any:
    """Return a row's primary key; a tuple if it has several columns."""
    values = tuple(row[column.name] for column in table.primary_key.columns)
    return values[0] if len(values) == 1 else values


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _images(
    connection: Connection,
    table: sa.Table,
    keys: Sequence[Any],
    brought: Mapping[int, Sequence[Row]],
) -> Iterator[Row]:
    for start in range(0, len(keys), _AT_ONCE):
        some = {"keys": keys[start : start + _AT_ONCE]}
        rows = connection.execute(_ROWS[table.name], some).mappings().all()
        if table is not calls:
            yield from (image(table, row) for row in rows)
            continue
        held: dict[int, list[int]] = defaultdict(list)
        for call, ordinal in connection.execute(_CLAIMED, some):
            held[call].append(ordinal)
        for row in rows:
            yield call_image(row, held[row["id"]], brought.get(row["id"], ()))


def _append(connection: Connection, images: Iterable[tuple[str, Row]]) -> None:
    last = connection.execute(_HEAD).first()
    number, link = last or (0, "")
    stamp: Row = {"at": time.time()}
    rows = []
    for number, (table, row) in enumerate(images, number + 1):  # noqa: B020 - goes on
        entry = json.dumps(stamp | {"table": table, "row": row}, sort_keys=True)
        link = chain_link(link, entry)
        rows.append({"number": number, "entry": entry, "link": link})
        if len(rows) >= _AT_ONCE:
            connection.execute(chain.insert(), rows)
            rows = []
    if rows:
        connection.execute(chain.insert(), rows)


# Building a statement takes longer than running it.
_HEAD = sa.select(chain.c.number, chain.c.link).order_by(chain.c.number.desc()).limit(1)
_CLAIMED = sa.select(claims.c.call, claims.c.ordinal).where(
    claims.c.call.in_(sa.bindparam("keys", expanding=True))
)


def _rows_of(table: sa.Table) -> sa.Select[Any]:
    keys = list(table.primary_key.columns)
    if not keys:
        return sa.select(table)
    named = keys[0] if len(keys) == 1 else sa.tuple_(*keys)
    rows = sa.select(table).where(named.in_(sa.bindparam("keys", expanding=True)))
    return rows.order_by(*keys)


_ROWS = {table.name: _rows_of(table) for table in CHAINED}
