"""Every column of every table of the ledger, edited by hand one at a time: `verify` finds it."""

import random
import shutil
from pathlib import Path

import pytest
from edits_by_hand import other, rows_of, tamper, where
from full_ledger import fill
from ledgers import ask as fixture_of_ask
from test_verify import EVIDENCE, verify  # noqa: F401 - a fixture

from pytest_memleak.ledger.database import SCHEMA_VERSION
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import metadata

LAX = ("longest_span = 30", "spans_over = 40")
TESTIFY_TO_NOTHING = {
    "tenants": "who asks a deployment just now; the row goes with the run that wrote it",
}
TABLES = [one for one in metadata.sorted_tables if one.name not in TESTIFY_TO_NOTHING]
LEDGER, WHOLE = ".memleak/ledger.db", "whole.db"
URL = f"sqlite:///{LEDGER}"


@pytest.fixture
def bundle_and_ledger(pytester, online, server):
    """Evidence of a run that passed, and its ledger, which other runs have filled since."""
    online(LAX)
    pytester.runpytest("-m", "copyright", EVIDENCE).assert_outcomes(passed=1)
    with Ledger(URL, run="a-later-run") as ledger:
        fill(ledger, fixture_of_ask.__wrapped__(), Path())
    tamper(URL, "PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(LEDGER, WHOLE)


def afresh():
    for name in ("", "-wal", "-shm"):
        Path(LEDGER + name).unlink(missing_ok=True)
    shutil.copy(WHOLE, LEDGER)


def the_row(table, row):
    return {f"old_{name}": value for name, value in row.items()}, where(table)


def edit(table, column):
    """A row that has a value there, and another value."""
    dice = random.Random(f"{table.name}.{column.name}")
    held = [row for row in rows_of(URL, table.name) if row[column.name] is not None]
    row = dice.choice(held)
    return row, other(row[column.name], column, dice)


@pytest.mark.full
def test_an_edit_of_any_column_is_found_and_a_row_that_is_taken_out(bundle_and_ledger, verify):  # noqa: F811
    assert {*TESTIFY_TO_NOTHING} < {*metadata.tables}
    assert verify()[0] == 0
    unseen = []
    for table in TABLES:
        for column in table.columns:
            row, new = edit(table, column)
            old, here = the_row(table, row)
            statement = f'UPDATE {table.name} SET "{column.name}" = :new WHERE {here}'
            assert tamper(URL, statement, old | {"new": new}) == 1
            if column.name == "version":  # one that is not ours is refused at once
                assert verify()[0] == 2
                tamper(URL, f"UPDATE {table.name} SET version = {SCHEMA_VERSION}, since = 0")
            code, told = verify()
            if code != 1 or "\n  ledger: " not in told:
                unseen.append((table.name, column.name, code, told))
            afresh()
        old, here = the_row(table, rows_of(URL, table.name)[0])
        assert tamper(URL, f"DELETE FROM {table.name} WHERE {here}", old) == 1
        if verify()[0] not in (1, 2):
            unseen.append((table.name, "the row"))
        afresh()
    assert unseen == []
