"""A run's ledger, opened behind its back."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import sqlalchemy as sa

from pytest_memleak.ledger.generation_texts import generation_images, texts_of_calls
from pytest_memleak.ledger.hash_chain import CHAINED, append, changed, forget, head
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import rows_with_texts
from pytest_memleak.ledger.tables import calls, chain, generations


@contextlib.contextmanager
def ledger_file(folder: Path) -> Iterator[sqlite3.Connection]:
    """The ledger under `folder`, in one transaction, closed behind it."""
    with contextlib.closing(sqlite3.connect(folder / ".memleak" / "ledger.db")) as ledger, ledger:
        yield ledger


def chain_anew(folder: Path, *, ago: float = 0.0) -> dict[str, object]:
    """Let the ledger's chain begin again, so many seconds ago, with its rows; its new end."""
    url = f"sqlite:///{folder / '.memleak' / 'ledger.db'}"
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(sa.delete(chain))
            forget(connection)
            for table in CHAINED:
                rows = connection.execute(sa.select(table)).mappings()
                changed(connection, table, rows)
            rows = connection.execute(sa.select(generations).order_by(generations.c.call))
            for call, its in itertools.groupby(rows.mappings(), key=lambda row: row["call"]):
                texts = texts_of_calls(connection, [call])[call]
                images = generation_images(its, texts)
                changed(connection, calls, [{"id": call, "generations": images}])
            then = time.time() - ago
            with mock.patch("pytest_memleak.ledger.hash_chain.time.time", return_value=then):
                append(connection)
    finally:
        engine.dispose()
    with Ledger(url) as ledger:
        return dataclasses.asdict(ledger.read(head))


def generated_texts(folder: Path) -> list[str]:
    """Every text that the ledger under `folder` has been given."""
    with Ledger(f"sqlite:///{folder}/.memleak/ledger.db", create=False) as ledger:
        return [text for _, text, _ in rows_with_texts(ledger, sa.select(generations))]
