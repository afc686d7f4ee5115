"""Parts of the ledger's SQL statements that any of its tables may need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

# Databases limit the parameters of one statement.
PROMPTS_PER_STATEMENT = 400

_T = TypeVar("_T")


def split_for_statement(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield values in parts that one statement may name."""
    for start in range(0, len(values), PROMPTS_PER_STATEMENT):
        end = start + PROMPTS_PER_STATEMENT
        yield values[start:end]


def bound_list(name: str) -> sa.BindParameter[Any]:
    """Build a parameter of a prepared statement: a list of values for `in_`."""
    return sa.bindparam(name, expanding=True)


def count_where(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """Count the rows of a group that match."""
    one_or_zero = sa.case((condition, 1), else_=0)
    return sa.func.sum(one_or_zero)


def insert_where_new(connection: Connection, table: sa.Table) -> Any:
    """Build an INSERT that skips a row whose key is taken (ON CONFLICT DO NOTHING)."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()
