"""Which ledger a verb of `memleak ledger` is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from pytest_memleak.ledger.ledger import Ledger

FOLDER = ".memleak"


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, description: str
) -> argparse.ArgumentParser:
    """A verb of `memleak ledger`, which says which ledger is meant."""
    verb = verbs.add_parser(name, help=description, description=f"{description.capitalize()}.")
    verb.add_argument(
        "--ledger",
        metavar="URL",
        help="PATH.db, sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME "
        "(default: .memleak/ledger.db below the current folder)",
    )
    return verb


def ledger_url(parsed: argparse.Namespace) -> str:
    """The ledger that the command line names, or the folder's."""
    return parsed.ledger or f"sqlite:///{Path.cwd() / FOLDER / 'ledger.db'}"


def existing(parsed: argparse.Namespace) -> Ledger:
    """That ledger, opened; LedgerError where there is none."""
    from pytest_memleak.errors import LedgerError
    from pytest_memleak.ledger.ledger import Ledger

    try:
        return Ledger(ledger_url(parsed), create=False)
    except LedgerError as error:
        error.hint = error.hint or "--ledger says which one is meant"
        raise
