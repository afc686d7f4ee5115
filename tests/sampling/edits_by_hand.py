"""Edits of a ledger as somebody makes them with the database's own tools."""

import sqlalchemy as sa


def tamper(url, statement, values=None):
    """As somebody would with the database's own tools; how many rows that changed."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET session_replication_role = replica")
        changed = connection.execute(sa.text(statement), values or {}).rowcount
    engine.dispose()
    return changed


def rows_of(url, table):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = [
            dict(row)
            for row in connection.execute(sa.text(f"SELECT * FROM {table}")).mappings()
        ]
    engine.dispose()
    return rows


def other(value, column, dice):
    """Another value, as somebody would write it who wants it to go unseen."""
    kind = column.type
    if isinstance(kind, sa.Boolean):
        return not value
    if isinstance(kind, sa.Float):
        return (value or 0.0) + dice.choice((-3600.0, 0.001, 86400.0))
    if isinstance(kind, sa.Integer):
        return (value or 0) + dice.choice((100, 1000, 500))
    if isinstance(kind, sa.String):
        return (
            "answered"
            if value not in {None, "answered"} and len(value) < 16
            else "f" * 16
        )
    return (bytes(value or b"") + b"!") if dice.random() < 0.5 else b"another"


def where(table):
    keys = [column.name for column in table.primary_key.columns]
    return " AND ".join(f"{key} = :old_{key}" for key in keys) or "1 = 1"
