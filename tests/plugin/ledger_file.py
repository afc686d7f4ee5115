"""A run's ledger, opened behind its back."""

import contextlib
import sqlite3

import sqlalchemy as sa

from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations_with_texts
from pytest_memleak.ledger.tables import generations


@contextlib.contextmanager
def ledger_file(folder):
    """The ledger under `folder`, in one transaction, closed behind it."""
    with (
        contextlib.closing(
            sqlite3.connect(folder / ".memleak" / "ledger.db")
        ) as ledger,
        ledger,
    ):
        yield ledger


def generated_texts(folder):
    """Every text that the ledger under `folder` has been given."""
    with Ledger(f"sqlite:///{folder}/.memleak/ledger.db", create=False) as ledger:
        return [
            text
            for _, text, _ in generations_with_texts(ledger, sa.select(generations))
        ]
