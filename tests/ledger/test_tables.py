from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa
from by_hand import intent

from pytest_memleak.errors import LedgerError
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger import tables as schema
from pytest_memleak.ledger.call_reservations import claim, prompt_ids
from pytest_memleak.ledger.calls import Answer, record
from pytest_memleak.ledger.database import SCHEMA_VERSION
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations
from pytest_memleak.ledger.prompts import Ask


def execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.parametrize("version", [5, 99])
def test_a_ledger_of_another_version_is_refused(url, version):
    Ledger(url).close()
    execute(url, f"UPDATE ledger_version SET version = {version}")
    expected = f"version {version}; this program reads version {SCHEMA_VERSION}"
    with pytest.raises(LedgerError, match=expected):
        Ledger(url)


@pytest.mark.parametrize(
    "rows", ["DELETE FROM ledger_version", "UPDATE ledger_version SET version = -1"]
)
def test_a_damaged_version(url, rows):
    Ledger(url).close()
    execute(url, rows)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(url)


@pytest.mark.parametrize("value", ["\\xc328", "a str"])
def test_a_text_that_is_none_is_named_by_its_row(url, ask, value):
    """As a database holds it that somebody else has written to."""
    asked = ask(excerpts=2, samples=1)
    if value == "a str" and not url.startswith("sqlite"):
        pytest.skip("PostgreSQL keeps its columns' types")
    sqlite = {"\\xc328": "X'C328'"}.get(value, "'a str'")
    with Ledger(url) as ledger:
        for question in asked.questions:
            call = claim(ledger, intent(ledger, asked, Ask(question, (0,))))
            record(ledger, Answer(call, [Completion("a")], 1, 1, None))
    damage = sqlite if url.startswith("sqlite") else f"'{value}'"
    execute(url, f"UPDATE generations SET text = {damage} WHERE question = 2")
    expected = r"damaged: text of generations \(question 2, ordinal 0\) isn't UTF-8"
    with Ledger(url) as ledger, pytest.raises(LedgerError, match=expected) as caught:
        list(generations(ledger, "e", asked))
    assert caught.value.location == ledger.place
    execute(url, f"UPDATE questions SET instruction = {damage}")
    with (
        Ledger(url) as ledger,
        pytest.raises(LedgerError, match=r"instruction of questions \(id 1\)"),
    ):
        ledger.write(lambda c: c.execute(sa.select(schema.questions)).all())


def test_a_file_of_another_program(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    with pytest.raises(LedgerError, match="another program's table 'recipes'"):
        Ledger(f"sqlite:///{path}")


def test_a_server_database_may_hold_other_tables(postgres):
    url = postgres.new_place()
    execute(url, "CREATE TABLE recipes (name TEXT)")
    Ledger(url).close()
    other = postgres.new_place()
    execute(other, "CREATE TABLE jobs (name TEXT)")
    with pytest.raises(LedgerError, match="another program's table 'jobs'"):
        Ledger(other)


def test_foreign_keys_hold(ledger, ask):
    prompt_ids(ledger, "e", ask().questions)

    def orphan(connection: sa.Connection) -> None:
        connection.execute(schema.claims.insert().values(question=1, ordinal=0, call=12345))

    with pytest.raises(LedgerError):
        ledger.write(orphan)
