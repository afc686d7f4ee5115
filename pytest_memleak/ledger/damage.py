"""Damaged values in the ledger: cells that this program can't have written."""

from __future__ import annotations

import math
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.tables import Text, metadata

# Errors of code that reads a value of the wrong kind.
OF_VALUES = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(RecursionError, MemoryError),
)
_LATEST = 253_402_300_799  # the end of the year 9999, in seconds since 1970
_SHOWN = 20  # characters of a key


def damaged_cell(connection: Connection) -> str | None:
    """Name the first cell whose value is of the wrong kind; None if all are right."""
    for table in metadata.sorted_tables:
        keys = [_raw(key) for key in table.primary_key.columns]
        for column in table.columns:
            for *numbers, value in connection.execute(sa.select(*keys, _raw(column))):
                if fault := _fault(column, value):
                    named = ", ".join(
                        f"{key.name} {str(number)[:_SHOWN]}"
                        for key, number in zip(table.primary_key.columns, numbers, strict=True)
                    )
                    row = f" ({named})" if named else ""
                    return f"{column.name} of {table.name}{row} {fault}"
    return None


def _raw(column: sa.Column[Any]) -> sa.TypeCoerce[Any]:
    return sa.type_coerce(column, sa.types.NullType())


def _fault(column: sa.Column[Any], value: object) -> str | None:
    """Explain what is wrong with a value; None if nothing is."""
    if value is None:
        return None if column.nullable else "is missing"
    if isinstance(column.type, Text):
        return None if _is_text(value) else "isn't UTF-8"
    if isinstance(column.type, sa.Boolean):
        return None if value in (0, 1) else "is neither true nor false"
    if isinstance(column.type, sa.Integer):
        return None if type(value) is int else "isn't a whole number"
    if isinstance(column.type, sa.Float):
        return None if _is_number(value) else "isn't a number, or out of range"
    return None if isinstance(value, str) else "isn't text"


def _is_number(value: object) -> bool:
    # Times, hours, and temperatures; -1 is the server's own temperature.
    return isinstance(value, int | float) and math.isfinite(float(value)) and -1 <= value <= _LATEST


def _is_text(value: object) -> bool:
    if not isinstance(value, bytes | memoryview):
        return False
    try:
        bytes(value).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
