from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa
from by_hand import intent
from first_ledger import a_first_ledger, execute

from pytest_memleak.contracts.protocols import Completion, Served
from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger import tables as schema
from pytest_memleak.ledger import versions
from pytest_memleak.ledger.answers import Answer, record
from pytest_memleak.ledger.attempts import provenance
from pytest_memleak.ledger.batches import open_batches
from pytest_memleak.ledger.calls import spent_by
from pytest_memleak.ledger.claims import claim, number_questions
from pytest_memleak.ledger.jobs import claim_finetune
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.questions import Ask
from pytest_memleak.ledger.reading import generations, tally
from pytest_memleak.records import FinishReason, Generation


def test_an_older_ledger_is_migrated(url, ask):
    asked = ask(excerpts=1)
    a_first_ledger(url, asked)
    with Ledger(url, run="now") as ledger:
        drawn = list(generations(ledger, "e", asked))
        assert drawn == [Generation("p_id1", 0, "book", FinishReason.LENGTH)]
        assert tally(ledger, "e", asked).calls == 1
        assert ledger.read(lambda c: spent_by(c, {"now"})) == {}
        assert ledger.read(lambda c: c.scalar(sa.select(schema.calls.c.run))) is None
        found = provenance(ledger, "e", asked)
        assert (found.calls, found.calls_this_run, found.served) == (1, 0, ((Served(), 1),))
        assert claim_finetune(ledger, "e", "d", examples=1, recovery=0.0).job_id == "book"
        (batch,) = open_batches(ledger, "e", {1}, recovery=0.0)
        assert (batch.job_id, batch.ours_to_start) == ("book", False)
        lease, ended = ledger.read(
            lambda c: c.execute(
                sa.select(schema.calls.c.lease, schema.leases.c.ended)
                .join(schema.leases)
                .where(schema.calls.c.request_id == "b")
            ).one()
        )
        assert (lease, ended) == (1, 1.0)
        version = ledger.read(lambda c: c.scalar(sa.select(schema.ledger_version.c.version)))
        assert version == versions.SCHEMA_VERSION


def test_a_migrated_ledger_has_the_tables_of_a_new_one(url, ask, tmp_path):
    a_first_ledger(url, ask(excerpts=1))
    Ledger(url).close()
    assert columns(url) == {
        table.name: {column.name for column in table.columns}
        for table in schema.metadata.sorted_tables
    }


def columns(url: str) -> dict[str, set[str]]:
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    found = {
        table: {column["name"] for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
    }
    engine.dispose()
    return found


def test_there_is_a_step_to_every_version():
    assert sorted(versions.MIGRATIONS) == list(range(2, versions.SCHEMA_VERSION + 1))


def test_a_newer_ledger_is_refused(url):
    Ledger(url).close()
    execute(url, "UPDATE ledger_version SET version = 99")
    with pytest.raises(
        LedgerError, match=f"version 99 .* versions up to {versions.SCHEMA_VERSION}"
    ) as caught:
        Ledger(url)
    assert "upgrade" in caught.value.hint


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
    expected = r"damaged: text of generations \(question 2, ordinal 0\) is not UTF-8"
    with Ledger(url) as ledger, pytest.raises(LedgerError, match=expected) as caught:
        list(generations(ledger, "e", asked))
    assert caught.value.place == ledger.place
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
    with pytest.raises(LedgerError, match="'recipes' of some other program"):
        Ledger(f"sqlite:///{path}")


def test_a_server_database_may_hold_other_tables(postgres):
    url = postgres.new_place()
    execute(url, "CREATE TABLE recipes (name TEXT)")
    Ledger(url).close()
    other = postgres.new_place()
    execute(other, "CREATE TABLE jobs (name TEXT)")
    with pytest.raises(LedgerError, match="'jobs' of some other program"):
        Ledger(other)


def test_foreign_keys_hold(ledger, ask):
    number_questions(ledger, "e", ask().questions)

    def orphan(connection: sa.Connection) -> None:
        connection.execute(schema.claims.insert().values(question=1, ordinal=0, call=12345))

    with pytest.raises(LedgerError):
        ledger.write(orphan)
