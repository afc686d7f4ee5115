"""The chain: what was written is sealed, and every later change of the tables is told."""

import hashlib
import json
import random
import shutil
import sqlite3
import zlib
from contextlib import closing

import pytest
from by_hand import answer, intent
from edits_by_hand import other, rows_of, tamper, where
from examples import examples
from full_ledger import fill

from pytest_memleak.ledger.call_outcomes import store_call_result
from pytest_memleak.ledger.call_reservations import reserve_call
from pytest_memleak.ledger.database import SCHEMA_VERSION
from pytest_memleak.ledger.hash_chain import chain_head
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.ledger.stored_text import (
    _TEXT_DICTIONARY,
    ChainEntry,
    decompress_texts,
)
from pytest_memleak.ledger.tables import metadata
from pytest_memleak.ledger.verify_chain import check_ledger

SEED = 14
ENTRY = ChainEntry()
TAMPERS_PER_COLUMN = examples(3, fast=1)
# Who asks a deployment just now is nothing that was written down.
SEALED = [
    table for table in metadata.sorted_tables if table.name not in {"chain", "tenants"}
]
COLUMNS = [(table.name, column.name) for table in SEALED for column in table.columns]


def wrong(url, end=None):
    with Ledger(url, create=False) as ledger:
        return check_ledger(ledger, bundle_head=end).wrong


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger file that has everything."""
    from ledgers import ask

    folder = tmp_path_factory.mktemp("whole")
    path = folder / "ledger.db"
    with Ledger(f"sqlite:///{path}", run="this-run") as ledger:
        fill(ledger, ask.__wrapped__())
    return path


@pytest.fixture
def copy(whole, tmp_path):
    path = tmp_path / "ledger.db"
    shutil.copy(whole, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def faults(whole):
    """Makes edits in a copy, and returns what is found; the next ones are made in a new copy."""
    url = f"sqlite:///{whole.with_name('read.db')}"
    shutil.copy(whole, whole.with_name("read.db"))
    with closing(sqlite3.connect(whole)) as source, Ledger(url, create=False) as reader:

        def after(*edits):
            with closing(sqlite3.connect(reader.place)) as target:
                source.backup(target)
            counts = [tamper(url, *edit) for edit in edits]
            assert all(counts)
            assert {n for n, edit in zip(counts, edits, strict=True) if edit[1:]} <= {
                1
            }  # one row
            return check_ledger(reader).wrong

        yield after
        assert after() == []


def update(table, row, column, new):
    """Write that value into that row, whatever the database thinks of it."""
    values = {"new": new} | {f"old_{name}": value for name, value in row.items()}
    return (
        f'UPDATE {table} SET "{column}" = :new WHERE {where(metadata.tables[table])}',
        values,
    )


def reseal(url, rewritten):
    """Rewrite every entry of the chain, and seal all of them again."""
    link = ""
    for row in rows_of(url, "chain"):
        entry = rewritten(ENTRY.process_result_value(row["entry"], None))
        link = hashlib.sha256(f"{link}{entry}".encode()).hexdigest()
        values = {
            "e": ENTRY.process_bind_param(entry, None),
            "l": link,
            "n": row["number"],
        }
        tamper(url, "UPDATE chain SET entry = :e, link = :l WHERE number = :n", values)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_changed_value_is_found_in_every_column(faults, whole, table, column):
    dice = random.Random(f"{SEED} {table} {column}")
    rows = rows_of(f"sqlite:///{whole}", table)
    assert any(
        row[column] is not None for row in rows
    )  # else this would show less than it says
    version = f"UPDATE ledger_version SET version = {SCHEMA_VERSION}, since = since + 1"
    more = [(version,)] if (table, column) == ("ledger_version", "version") else []
    for row in dice.sample(rows, min(TAMPERS_PER_COLUMN, len(rows))):
        new = other(row[column], metadata.tables[table].c[column], dice)
        assert faults(update(table, row, column, new), *more), (row, new)


@pytest.mark.parametrize(
    "table", [table.name for table in SEALED if table.name != "ledger_version"]
)
def test_a_row_that_is_taken_out_is_found(faults, whole, table):
    for row in rows_of(f"sqlite:///{whole}", table):
        values = {f"old_{name}": value for name, value in row.items()}
        assert faults(
            (f"DELETE FROM {table} WHERE {where(metadata.tables[table])}", values)
        ), row


@pytest.mark.parametrize(("statement", "shown"), [
    ("INSERT INTO generations (prompt, ordinal, call, place, finish_reason) SELECT prompt,"
     " 40, call, place, finish_reason FROM generations WHERE ordinal = 1",
     "call 1: generation 40 was added"),
    ("INSERT INTO leases (lock, host, pid, began) VALUES ('x', X'79', 1, 0)",
     "lease 2 was added by another program"),
    ("UPDATE calls SET cost = 99 WHERE id = 1", "call 1: cost is 99, but was written as 13"),
    ("UPDATE generations SET place = 1 WHERE call = 1 AND ordinal = 0",
     "call 1: generation 0: text is"),
    ("UPDATE call_texts SET data = (SELECT data FROM call_texts WHERE call = 2)"
     " WHERE call = 1", "call 1: generation 0: reasoning is nothing, but was written as"),
    ("DELETE FROM call_texts WHERE call = 1", "call 1: generation 0: reasoning is nothing"),
    ("UPDATE call_texts SET data = X'78' WHERE call = 1",
     "The ledger is damaged: data of call_texts (call 1) isn't compressed text"),
    ("UPDATE call_texts SET data = CAST(data || X'00' AS BLOB) WHERE call = 1",
     "The ledger is damaged: data of call_texts (call 1) isn't compressed text"),
    ("DELETE FROM generations WHERE call = 1 AND ordinal = 0", "call 1: generation 0 is gone"),
    ("DELETE FROM summaries", f"summary {hashlib.sha256(b'a text').hexdigest()[:12]} is gone"),
    ("UPDATE runs SET spent = 1", "run this-run: its spending is 1, but its calls"),
])  # fmt: skip
def test_the_chain_says_what_was_done(faults, statement, shown):
    assert [line for line in faults((statement,)) if line.startswith(shown)]


def test_texts_may_be_compressed_anew(copy):
    """As another version of zlib does: what was written is the text."""
    for row in rows_of(copy, "call_texts"):
        stream = zlib.compressobj(0, zdict=_TEXT_DICTIONARY)
        texts = decompress_texts([(0, row["data"])])
        data = stream.compress(json.dumps(texts).encode()) + stream.flush()
        values = {"new": data, "call": row["call"]}
        assert (
            tamper(copy, "UPDATE call_texts SET data = :new WHERE call = :call", values)
            == 1
        )
        assert data != row["data"]
    assert wrong(copy) == []


def test_the_chain_itself(faults, whole):
    """Entries and links changed, entries taken out: three ways for each of some, seeded."""
    dice = random.Random(SEED)
    entries = rows_of(f"sqlite:///{whole}", "chain")
    for place in dice.sample(range(len(entries) - 1), examples(20, fast=7)):
        number = {"n": entries[place]["number"]}
        for edit in (
            (
                "UPDATE chain SET entry = :new WHERE number = :n",
                {"new": b"{}"} | number,
            ),
            (
                "UPDATE chain SET link = :new WHERE number = :n",
                {"new": "0" * 64} | number,
            ),
            ("DELETE FROM chain WHERE number = :n", number),
        ):
            assert any("chain" in line for line in faults(edit)), edit


def test_a_ledger_that_was_cut_short_with_its_chain_differs_from_the_bundles_head(copy):
    with Ledger(copy) as ledger:
        end = ledger.read(chain_head)
    assert wrong(copy, end) == []
    tamper(copy, "DELETE FROM chain WHERE number > 1")
    for table in reversed(
        [table.name for table in SEALED if table.name != "ledger_version"]
    ):
        tamper(copy, f"DELETE FROM {table}")
    assert wrong(copy) == []  # nothing says that there was more
    [shown] = wrong(copy, end)
    assert f"ends at entry 1, but the bundle counts {end.entries}" in shown


def test_a_chain_that_was_made_anew_differs_from_the_bundles_head(copy):
    """The cost of a call lowered, in its row, in its run and in its entry, and all sealed again."""
    with Ledger(copy) as ledger:
        end = ledger.read(chain_head)
    tamper(copy, "UPDATE calls SET cost = 12 WHERE id = 1")
    tamper(copy, "UPDATE runs SET spent = spent - 1")
    reseal(copy, lambda entry: entry.replace('"cost": 13,', '"cost": 12,'))
    assert wrong(copy) == []
    assert wrong(copy, end) == [
        f"The chain differs from the bundle's at entry {end.entries:,}"
    ]


def test_impossible_rows_are_faults_whatever_the_chain_says(copy):
    """A call's answers taken away, and its entry made anew without them."""

    def without_the_first(text):
        entry = json.loads(text)
        for table, row in entry["rows"]:
            if table == "calls" and row["id"] == 1 and "generations" in row:
                row["generations"] = [
                    generation
                    for generation in row["generations"]
                    if generation["ordinal"]
                ]
        return json.dumps(entry, sort_keys=True)

    tamper(copy, "DELETE FROM generations WHERE call = 1 AND ordinal = 0")
    reseal(copy, without_the_first)
    assert wrong(copy) == ["call 1 is answered, but it has 1 generation, not 2"]


def test_in_each_kind_of_database(url, ask):
    dice = random.Random(SEED)
    with Ledger(url) as ledger:
        fill(ledger, ask)
        checked = check_ledger(ledger)
        assert (checked.wrong, checked.calls) == ([], 10)
        assert checked.entries == ledger.read(chain_head).entries
        for table, column in dice.sample(COLUMNS, 8):
            [row] = dice.sample(rows_of(url, table), 1)
            if (table, column) == ("ledger_version", "version"):
                continue
            new = other(row[column], metadata.tables[table].c[column], dice)
            assert tamper(url, *update(table, row, column, new)) == 1
            assert check_ledger(ledger).wrong, (table, column)
            tamper(url, *update(table, row | {column: new}, column, row[column]))
    assert wrong(url) == []


def test_other_processes_write_while_it_reads(url, ask):
    prompts = ask(excerpts=1, samples=6)
    with Ledger(url) as ledger, Ledger(url) as reader:
        for n in range(6):
            call = reserve_call(
                ledger, intent(ledger, prompts, Ask(prompts.specs[0], (n,)))
            )
            assert check_ledger(reader).wrong == []
            store_call_result(ledger, answer(call, f"text {n}"))


def moved_in_time(entry, table, column, seconds):
    """The entry with another time in what it wrote into a table."""
    content = json.loads(entry)
    for name, row in content["rows"]:
        if name == table and row.get(column):
            row[column] += seconds
    return json.dumps(content, sort_keys=True)


def test_entries_do_not_run_backwards(copy):
    later = iter([2 * 86_400])  # the first entry

    def moved(entry):
        content = json.loads(entry)
        return json.dumps(
            content | {"at": content["at"] + next(later, 0)}, sort_keys=True
        )

    reseal(copy, moved)
    assert "Entry 2 of the chain is older than one before it" in wrong(copy)


@pytest.mark.parametrize("seconds", [-2 * 86_400, 2 * 86_400])
@pytest.mark.parametrize("column", ["began", "ended"])
def test_a_call_has_the_time_of_its_entry(copy, column, seconds):
    """Samples that are older than they may be, dated anew in table and chain."""
    tamper(
        copy,
        f"UPDATE calls SET {column} = {column} + {seconds} WHERE {column} IS NOT NULL",
    )
    reseal(copy, lambda entry: moved_in_time(entry, "calls", column, seconds))
    faults = wrong(copy)
    assert any(
        f": {column} is " in fault and "but it was written on" in fault
        for fault in faults
    )


@pytest.mark.parametrize(
    ("table", "column", "new"), [("calls", "cost", 1), ("prompts", "seed", 5)]
)
def test_a_later_entry_cannot_change_an_ended_row(copy, table, column, new):
    """The newest entry agrees with the table, and all links are right."""
    last = rows_of(copy, "chain")[-1]
    row = next(
        row
        for row in rows_of(copy, table)
        if row.get("state", "answered") == "answered"
    )
    tamper(copy, f"UPDATE {table} SET {column} = {new} WHERE id = {row['id']}")
    at = json.loads(ENTRY.process_result_value(last["entry"], None))["at"]
    entry = json.dumps({"at": at, "rows": [[table, {"id": row["id"], column: new}]]})
    link = hashlib.sha256(f"{last['link']}{entry}".encode()).hexdigest()
    values = {
        "n": last["number"] + 1,
        "e": ENTRY.process_bind_param(entry, None),
        "l": link,
    }
    tamper(copy, "INSERT INTO chain (number, entry, link) VALUES (:n, :e, :l)", values)
    assert any(
        f"had ended, but entry {last['number'] + 1:,} changed it" in fault
        for fault in wrong(copy)
    )
