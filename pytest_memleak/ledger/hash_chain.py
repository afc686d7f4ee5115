"""The ledger's chain: every row as it was written, each entry sealed to the one before.

    changed(connection, calls, [number])     # in a work: these rows were added or changed
    append(connection)                       # before the commit: their entries
    ledger.read(head)                        # what an evidence bundle keeps of it

An entry is canonical JSON: when, which table, and the row without what is null; texts of books and
models stand as their SHA-256, so the chain holds none. The row of a call has the ordinals that it
claims while it is open, and its generations once it is answered. An entry's link is the SHA-256 of
the link before and of the entry. Only ever added to: verify_chain.py holds the tables against it.
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
_AT_ONCE = 400  # rows that one statement names

# Claims and generations stand in the rows of their calls; tenants come and go.
CHAINED = (
    *(ledger_version, leases, runs, questions, jobs, batches, deployments, calls, summaries),
)
_DIGESTED = {"instruction", "text", "reasoning"}
# What a run has spent is the sum of its calls.
_LEFT_OUT = {runs.name: {"spent"}, generations.name: {"call"}}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many entries it has, and the link of the last (hexadecimal)."""

    entries: int
    link: str


class _Changes:
    """What a transaction has changed so far."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[Any, None]] = defaultdict(dict)
        self.brought: dict[int, list[Row]] = defaultdict(list)


def forget(connection: Connection) -> None:
    """Begin a transaction: nothing is changed yet."""
    connection.info[_PENDING] = _Changes()


def changed(
    connection: Connection,
    table: sa.Table,
    keys: Iterable[Any],
    *,
    brought: Iterable[Mapping[Any, Any]] = (),
) -> None:
    """Note that rows were added or changed, by their primary keys.

    brought: the generations that these calls got, as rows.
    """
    changes: _Changes = connection.info[_PENDING]
    changes.keys[table.name].update(dict.fromkeys(keys))
    for row in brought:
        changes.brought[row["call"]].append(image(generations, row))


def append(connection: Connection) -> None:
    """Add the entries of what this transaction has changed."""
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
    """Where the chain ends now; None where it has no entry."""
    row = connection.execute(_HEAD).first()
    return None if row is None else Head(*row)


def link_of(before: str, entry: str) -> str:
    """The link (SHA-256, hexadecimal) of an entry after that link; "" is before the first."""
    return hashlib.sha256(f"{before}{entry}".encode()).hexdigest()


# --- rows as entries have them -------------------------------------------------------------


def image(table: sa.Table, row: Mapping[Any, Any]) -> Row:
    """A row without what is null, its texts as SHA-256: a new column changes no old entry."""
    left_out = _LEFT_OUT.get(table.name, set())
    return {
        name: _digest(value) if name in _DIGESTED else value
        for name, value in row.items()
        if value is not None and name not in left_out
    }


def call_image(
    row: Mapping[Any, Any], claimed: Iterable[int], brought: Sequence[Mapping[Any, Any]]
) -> Row:
    """A call's row with the ordinals that it claims and the images of its generations."""
    made = image(calls, row)
    held = sorted(claimed)
    if held:
        made["claims"] = held
    if brought:
        made["generations"] = sorted(brought, key=lambda one: one["ordinal"])
    return made


def key_of(table: sa.Table, row: Mapping[Any, Any]) -> Any:
    """A row's primary key; of several columns a tuple."""
    values = tuple(row[column.name] for column in table.primary_key.columns)
    return values[0] if len(values) == 1 else values


def _digest(text: str) -> str:
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


def _append(connection: Connection, written: Iterable[tuple[str, Row]]) -> None:
    last = connection.execute(_HEAD).first()
    number, link = last or (0, "")
    said: Row = {"at": time.time()}
    rows = []
    for number, (table, row) in enumerate(written, number + 1):  # noqa: B020 - goes on
        entry = json.dumps(said | {"table": table, "row": row}, sort_keys=True)
        link = link_of(link, entry)
        rows.append({"number": number, "entry": entry, "link": link})
        if len(rows) >= _AT_ONCE:
            connection.execute(chain.insert(), rows)
            rows = []
    if rows:
        connection.execute(chain.insert(), rows)


# Statements of the run loop are made once: making one takes longer than running it.
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
