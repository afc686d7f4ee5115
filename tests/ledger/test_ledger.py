import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from by_hand import intent
from postgres_server import PASSWORD

from pytest_memleak.errors import LedgerError
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger import database, engines
from pytest_memleak.ledger import tables as schema
from pytest_memleak.ledger.call_outcomes import CallResult, store_call_result
from pytest_memleak.ledger.call_reservations import prompt_row_ids, reserve_call
from pytest_memleak.ledger.database import SCHEMA_VERSION
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.ledger.tables import leases


def add_run(ledger, name="a"):
    row = schema.runs.insert().values(id=name, spent=0, began=0)
    ledger.write(lambda c: c.execute(row).rowcount)


def count_runs(ledger):
    return ledger.read(
        lambda c: c.scalar(sa.select(sa.func.count()).select_from(schema.runs))
    )


def execute(url, *statements):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_writes_stay_and_a_closed_ledger_is_closed(url):
    with Ledger(url) as ledger:
        if url.startswith("sqlite"):
            assert ledger.place == url.removeprefix("sqlite:///")
            journal = ledger.read(
                lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar()
            )
            page = ledger.read(lambda c: c.exec_driver_sql("PRAGMA page_size").scalar())
            assert (journal, page) == ("wal", 16_384)
        add_run(ledger)
    ledger = Ledger(url, create=False)
    assert count_runs(ledger) == 1
    for _ in range(2):
        ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        count_runs(ledger)
    for _ in range(2):  # nothing is kept in memory
        with Ledger("sqlite://") as ledger:
            assert count_runs(ledger) == 0
            add_run(ledger)
            assert count_runs(ledger) == 1


def test_threads_share_commits_and_not_failures(ledger):
    """Items of one work go in together; one that fails takes none of the others along."""
    seen, failures, results = [], [], []
    begin, hold, holding = threading.Barrier(9), threading.Event(), threading.Event()

    def add(connection, names):
        seen.append(len(names))
        for name in names:
            if name == "bad":
                raise ValueError("bad")
            connection.execute(schema.runs.insert().values(id=name, spent=0, began=0))
        return [name.upper() for name in names]

    def write(name):
        begin.wait()
        try:
            results.append(ledger.write_each(add, name))
        except ValueError as error:
            failures.append(error)

    def hold_up(connection):
        holding.set()
        hold.wait(10)

    with ThreadPoolExecutor(10) as pool:
        pool.submit(ledger.write, hold_up)
        holding.wait(10)
        for name in [*"abcdefgh", "bad"]:
            pool.submit(write, name)
        while len(ledger._waiting) < 9:
            pass
        hold.set()
    assert sorted(results) == sorted("ABCDEFGH")
    assert len(failures) == 1
    assert count_runs(ledger) == 8
    assert seen[0] == 9


def test_a_failed_work_leaves_nothing(ledger, ask):
    def half(connection):
        connection.execute(schema.runs.insert().values(id="a", spent=0, began=0))
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        ledger.write(half)
    assert count_runs(ledger) == 0
    with pytest.raises(KeyError):
        ledger.write_each(
            lambda connection, items: [KeyError(item) for item in items], "x"
        )
    prompt_row_ids(ledger, "e", ask().specs)
    orphan = schema.claims.insert().values(prompt=1, ordinal=0, call=12345)
    with pytest.raises(LedgerError):
        ledger.write(lambda connection: connection.execute(orphan).rowcount)


def test_closing_waits_for_its_turn():
    """Threads may be writing and reading still, on the one connection of a ledger in memory."""
    for _ in range(20):
        ledger = Ledger("sqlite://")
        begun = threading.Barrier(5)

        def work(number, ledger=ledger, begun=begun):
            begun.wait()
            try:
                for turn in range(10**9):
                    add_run(ledger, f"{number}-{turn}")
                    count_runs(ledger)
            except LedgerError as error:
                return error.message

        with ThreadPoolExecutor(4) as pool:
            ended = [pool.submit(work, number) for number in range(4)]
            begun.wait()
            ledger.close()
        assert [thread.result() for thread in ended] == ["The ledger is closed"] * 4


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_is_refused_and_harms_nothing(ledger):
    assert ledger.lease
    child = os.fork()
    if child == 0:
        code = 1
        try:
            count_runs(ledger)
        except LedgerError as error:
            code = 0 if "Another process" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    add_run(ledger)
    ledger.keep_alive()
    assert count_runs(ledger) == 1


def refused(url, **options):
    with pytest.raises(LedgerError) as caught:
        Ledger(url, **options)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert PASSWORD not in f"{caught.value}{caught.value.__dict__}"
    return caught.value


@pytest.mark.parametrize(("url", "message"), [
    ("no url at all", "Invalid ledger URL"),
    ("sqlite:///x.db?mode=ro", "isn't of the form"),
    ("postgresql+psycopg://u:correct-horse-battery@h:port/d", "Invalid ledger URL"),
    (f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:9/db", "is unreachable"),
])  # fmt: skip
def test_urls_that_mean_nothing(url, message):
    error = refused(url)
    assert message in error.message
    if "unreachable" in message:
        assert error.location == "postgresql+psycopg://me@127.0.0.1:9/db"


@pytest.mark.parametrize(("damage", "message"), [
    (lambda data: b"Dear diary, " * 1000, "The file isn't an SQLite database"),
    (lambda data: data[:100] + b"\xff" * (len(data) - 100), "damaged"),
    (lambda data: data[:9000], "damaged"),
])  # fmt: skip
def test_files_that_are_no_ledger(tmp_path, damage, message):
    path = tmp_path / "ledger.db"
    Ledger(f"sqlite:///{path}").close()
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    error = refused(f"sqlite:///{path}")
    assert message in error.message
    assert error.location == str(path)
    assert path.read_bytes() == before
    execute(f"sqlite:///{tmp_path}/other.db", "CREATE TABLE recipes (name TEXT)")
    assert (
        "another program's table 'recipes'"
        in refused(f"sqlite:///{tmp_path}/other.db").message
    )


def test_a_ledger_in_a_read_only_folder_is_read(tmp_path, monkeypatch):
    path, url = tmp_path / "ledger.db", f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url) as ledger:
        add_run(ledger)
    monkeypatch.setattr("os.access", lambda *_: False)
    with Ledger(url, create=False) as ledger:
        assert count_runs(ledger) == 1
        with pytest.raises(LedgerError, match="The file is read-only"):
            add_run(ledger, "b")
    path.with_name("ledger.db-wal").write_bytes(b"entries that aren't in the file yet")
    with Ledger(url, create=False) as ledger:  # opened as anywhere
        add_run(ledger, "b")
        execute(url, "DROP TABLE runs")
        with pytest.raises(LedgerError, match="The file lacks a table of the ledger"):
            count_runs(ledger)
    path.write_bytes(b"")
    assert refused(url, create=False).message == "The file contains no ledger"


def test_a_file_that_another_program_keeps_locked(tmp_path, monkeypatch):
    for module in (engines, database):
        monkeypatch.setattr(module, "LOCK_WAIT", 0.2)
    path = tmp_path / "ledger.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match="Another program locked") as caught:
            add_run(ledger)
        assert caught.value.location == str(path)
        other.execute("ROLLBACK")
        other.close()
        add_run(ledger)
        assert count_runs(ledger) == 1
        assert ledger.lease
    # Nothing but the ledger itself is left in the folder.
    assert {path.name for path in tmp_path.iterdir()} == {
        "ledger.db",
        "ledger.db-leases",
    }
    assert not list((tmp_path / "ledger.db-leases").iterdir())


def test_databases_of_a_server(postgres):
    error = refused(postgres.url("postgres").replace(PASSWORD, "wrong-horse"))
    assert error.message == "The server rejected the password"
    assert "wrong-horse" not in str(error)
    assert (
        'database "nowhere" does not exist' in refused(postgres.url("nowhere")).message
    )
    assert "No ledger" in refused(postgres.new_database(), create=False).message
    for form in ("postgresql://", "postgres://"):
        with Ledger(
            postgres.new_place().replace("postgresql+psycopg://", form)
        ) as ledger:
            assert ledger.place.startswith("postgresql+psycopg://memleak@127.0.0.1")
    places = postgres.new_place(), postgres.new_place()
    for place, name in zip(places, ("recipes", "jobs"), strict=True):
        execute(place, f"CREATE TABLE {name} (name TEXT)")
    Ledger(places[0]).close()  # which may hold other tables
    assert "another program's table 'jobs'" in refused(places[1]).message


def test_a_server_that_is_started_anew_and_then_gone(postgres, monkeypatch):
    """The run goes on, and others know that its lease lives; one that is gone is awaited once."""
    with Ledger(postgres.new_place()) as ledger:
        first = ledger.lease
        postgres.stop()
        restart = threading.Timer(0.3, postgres.start)
        restart.start()
        assert count_runs(ledger) == 0
        restart.join()
        add_run(ledger)
        ledger.keep_alive()
        assert ledger.lease != first
        ledger.expire_leases()
        assert count_runs(ledger) == 1
        monkeypatch.setattr("pytest_memleak.ledger.database.RECONNECT_FOR", 0.2)
        postgres.stop()
        pauses = []
        with monkeypatch.context() as patch:
            patch.setattr("time.sleep", pauses.append)
            for _ in range(2):
                with pytest.raises(LedgerError):
                    count_runs(ledger)
                pauses.append("raised")
        postgres.start()
        assert pauses[-2:] == ["raised", "raised"]


@pytest.mark.parametrize(("change", "message"), [
    ("UPDATE ledger_version SET version = 5", f"5; this program reads version {SCHEMA_VERSION}"),
    ("UPDATE ledger_version SET version = 99", "version 99; this program reads version"),
    ("UPDATE ledger_version SET version = -1", "damaged"),
    ("DELETE FROM ledger_version", "damaged"),
])  # fmt: skip
def test_a_ledger_of_another_version_is_refused(url, change, message):
    Ledger(url).close()
    execute(url, change)
    assert message in refused(url).message


def test_a_ledger_without_conversations_says_what_reads_it(url):
    Ledger(url).close()
    execute(url, "UPDATE ledger_version SET version = 7")
    assert "up to commit b3130f59) reads version 7; to start" in refused(url).hint


@pytest.mark.parametrize(("sqlite", "postgresql", "fault"), [
    ("X'C328'", "'\\xc328'", "compressed text"), ("'a str'", None, "binary"),
])  # fmt: skip
def test_a_text_that_is_none_is_named_by_its_row(url, ask, sqlite, postgresql, fault):
    """As a database holds it that somebody else has written to."""
    damage = sqlite if url.startswith("sqlite") else postgresql
    if damage is None:
        pytest.skip("PostgreSQL keeps its columns' types")
    prompts = ask(excerpts=2, samples=1)
    with Ledger(url) as ledger:
        for prompt in prompts.specs:
            call = reserve_call(ledger, intent(ledger, prompts, Ask(prompt, (0,))))
            store_call_result(ledger, CallResult(call, [Completion("a")], 1, 1, None))
    execute(url, f"UPDATE call_texts SET data = {damage} WHERE call = 2")
    expected = rf"damaged: data of call_texts \(call 2(, part 0)?\) isn't {fault}"
    with Ledger(url) as ledger:
        with pytest.raises(LedgerError, match=expected) as caught:
            list(generations(ledger, "e", prompts))
        assert caught.value.location == ledger.place
        execute(url, f"UPDATE prompts SET instruction = {damage}")
        with pytest.raises(LedgerError, match=r"instruction of prompts \(id 1\)"):
            ledger.write(lambda c: c.execute(sa.select(schema.stored_prompts)).all())


HOLDER = """
import os, sys, time
from pytest_memleak.ledger.ledger import Ledger
ledger = Ledger(sys.argv[1])
print(ledger.lease, flush=True)
if sys.argv[2:] == ["fork"] and os.fork() == 0:
    print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(url):
    """Starts a process that holds a lease; stops it at the end."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-c", HOLDER, url, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def ended(ledger, lease):
    ledger.expire_leases()
    over = sa.select(leases.c.ended.is_not(None)).where(leases.c.id == lease)
    return ledger.read(lambda c: c.scalar(over))


def wait_until_ended(ledger, lease):
    """A server notices a closed connection soon, not at once."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if ended(ledger, lease):
            return True
        time.sleep(0.01)
    return False


def test_the_living_hold_and_a_killed_process_is_dead_at_once(ledger, url, holder):
    assert not ended(ledger, ledger.lease)
    with Ledger(url) as other:
        assert other.lease != ledger.lease
        assert not ended(other, ledger.lease)
        assert not ended(ledger, other.lease)
        lease = other.lease
    assert ended(ledger, lease)
    process, lease = holder()
    process.send_signal(signal.SIGSTOP)
    assert not ended(ledger, lease)
    process.kill()
    process.wait(10)
    assert wait_until_ended(ledger, lease)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_keep_it_alive(ledger, holder):
    process, lease = holder("fork")
    child = int(process.stdout.readline())
    try:
        process.kill()
        process.wait(10)
        assert wait_until_ended(ledger, lease)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lost_connection_is_noticed(postgres):
    url = postgres.new_place()
    with Ledger(url) as ledger, Ledger(url) as other:
        first = ledger.lease
        ledger.keep_alive()
        assert ledger.lease == first
        with postgres.admin() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = "
                "'advisory'"
            )
        ledger.keep_alive()
        assert ledger.lease != first
        other.keep_alive()
        assert wait_until_ended(other, first)
        assert not ended(other, ledger.lease)
        assert not ended(ledger, other.lease)
