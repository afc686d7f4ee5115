"""Which row of a ledger cannot be read, once reading has failed."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.tables import Text, metadata


def unreadable_row(connection: Connection) -> str | None:
    """The first row with a text that is none, as a message names it; None where all are texts."""
    for table in metadata.sorted_tables:
        keys = list(table.primary_key.columns)
        for column in table.columns:
            if not isinstance(column.type, Text):
                continue
            raw = sa.type_coerce(column, sa.types.NullType())
            for *numbers, value in connection.execute(sa.select(*keys, raw)):
                if not _is_text(value):
                    named = ", ".join(
                        f"{key.name} {number}" for key, number in zip(keys, numbers, strict=True)
                    )
                    return f"{column.name} of {table.name} ({named})"
    return None


def _is_text(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, bytes | memoryview):
        return False
    try:
        bytes(value).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
