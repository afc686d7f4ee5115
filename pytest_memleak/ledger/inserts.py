"""Rows that are added unless they are there already, as SQLite and PostgreSQL each say it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def insert_where_new(connection: Connection, table: sa.Table) -> Any:
    """An INSERT that passes over a row whose key is taken (ON CONFLICT DO NOTHING)."""
    # One dialect each: PostgreSQL's takes a tenth of a second to load.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()
