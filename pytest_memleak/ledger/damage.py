"""Damaged values in the ledger: cells that this program can't have written."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine.default import DefaultDialect

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.stored_text import Text, decompress_texts
from pytest_memleak.ledger.tables import call_texts, metadata

# Errors of code that reads a value of the wrong kind.
OF_VALUES = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    MemoryError,
)
_LATEST = 253_402_300_799  # the end of the year 9999, in seconds since 1970
_DIALECT = DefaultDialect()  # these types don't depend on it
_SHOWN = 20  # characters of a key


def damage_error(damage: str, *, place: str) -> LedgerError:
    """Build the error of a ledger with values that this program can't have written."""
    hint = "restore a copy, or start a new ledger"
    return LedgerError(f"The ledger is damaged: {damage}", location=place, hint=hint)


def damaged_cell(connection: Connection) -> str | None:
    """Name the first cell whose value is of the wrong kind; None if all are right."""
    for table in metadata.sorted_tables:
        for column in table.columns:
            damage = _damage_in_column(connection, table, column)
            if damage is not None:
                return damage
    return _damage_in_compressed_texts(connection)


def _damage_in_column(
    connection: Connection,
    table: sa.Table,
    column: sa.Column[Any],
) -> str | None:
    keys = list(table.primary_key.columns)
    query = sa.select(*map(_untyped_column, keys), _untyped_column(column))
    for *numbers, value in connection.execute(query):
        fault = _value_fault(column, value)
        if fault is None:
            continue
        named = ", ".join(
            f"{key.name} {str(number)[:_SHOWN]}"
            for key, number in zip(keys, numbers, strict=True)
        )
        row = f" ({named})" if named else ""
        return f"{column.name} of {table.name}{row} {fault}"
    return None


def _damage_in_compressed_texts(connection: Connection) -> str | None:
    in_order = sa.select(call_texts).order_by(call_texts.c.call, call_texts.c.part)
    rows = connection.execute(in_order)
    for call, call_rows in itertools.groupby(rows, key=operator.attrgetter("call")):
        parts = ((part, data) for _, part, data in call_rows)
        try:
            decompress_texts(parts)
        except OF_VALUES:
            return f"data of call_texts (call {call}) isn't compressed text"
    return None


def _untyped_column(column: sa.Column[Any]) -> sa.TypeCoerce[Any]:
    return sa.type_coerce(column, sa.types.NullType())


def _value_fault(column: sa.Column[Any], value: object) -> str | None:
    """Explain what is wrong with a value; None if nothing is."""
    if value is None:
        return None if column.nullable else "is missing"
    if isinstance(column.type, sa.types.TypeDecorator):
        return _text_fault(column.type, value)
    for kind, is_valid, fault in _KINDS:
        if isinstance(column.type, kind):
            return None if is_valid(value) else fault
    return None


def _text_fault(kind: sa.types.TypeDecorator[Any], value: Any) -> str | None:
    try:
        kind.process_result_value(value, _DIALECT)
    except OF_VALUES:
        return "isn't UTF-8" if isinstance(kind, Text) else "isn't compressed text"
    return None


def _is_binary(value: object) -> bool:
    return isinstance(value, bytes | memoryview)


def _is_truth_value(value: object) -> bool:
    return value in (0, 1)


def _is_whole_number(value: object) -> bool:
    return type(value) is int


def _is_storable_number(value: object) -> bool:
    if not isinstance(value, int | float) or not math.isfinite(float(value)):
        return False
    # Times, hours, and temperatures; -1 is the server's own temperature.
    return -1 <= value <= _LATEST


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_Kind = tuple[type[sa.types.TypeEngine[Any]], Callable[[Any], bool], str]

_KINDS: tuple[_Kind, ...] = (
    (sa.LargeBinary, _is_binary, "isn't binary"),
    (sa.Boolean, _is_truth_value, "is neither true nor false"),
    (sa.Integer, _is_whole_number, "isn't a whole number"),
    (sa.Float, _is_storable_number, "isn't a number, or out of range"),
    (sa.String, _is_text, "isn't text"),
)
