from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import PASSWORD

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger import database, engines
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import runs


def add_run(name: str):
    return lambda connection: connection.execute(runs.insert().values(id=name, spent=0, began=0))


def count_runs(ledger: Ledger) -> int:
    return ledger.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(runs)))


def test_the_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "ledger.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        assert ledger.place == str(path)
        journal = ledger.read(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar())
    assert path.exists()
    assert journal == "wal"


def test_what_is_written_stays(url):
    with Ledger(url) as ledger:
        ledger.write(lambda c: add_run("a")(c).rowcount)
    with Ledger(url, create=False) as ledger:
        assert count_runs(ledger) == 1


def test_nothing_is_kept_in_memory():
    for _ in range(2):
        with Ledger("sqlite://") as ledger:
            assert count_runs(ledger) == 0
            ledger.write(lambda c: add_run("a")(c).rowcount)
            assert count_runs(ledger) == 1


def test_many_threads_write_at_once(ledger):
    threads = [
        threading.Thread(
            target=lambda n=n: [
                ledger.write(lambda c, k=k: add_run(f"{n}-{k}")(c).rowcount) for k in range(20)
            ]
        )
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count_runs(ledger) == 240


def test_threads_share_commits_and_not_failures(ledger):
    """Items of one work go in together; one that fails takes none of the others along."""
    seen: list[int] = []
    failures: list[Exception] = []
    begin = threading.Barrier(9)

    def add(connection: sa.Connection, names: list[str]) -> list[str]:
        seen.append(len(names))
        for name in names:
            if name == "bad":
                raise ValueError("bad")
            add_run(name)(connection)
        return [name.upper() for name in names]

    results: list[str] = []

    def write(name: str) -> None:
        begin.wait()
        try:
            results.append(ledger.write_each(add, name))
        except ValueError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in [*"abcdefgh", "bad"]]
    hold = threading.Event()
    holding = threading.Event()

    def hold_up(connection: sa.Connection) -> None:
        holding.set()
        hold.wait(10)

    blocker = threading.Thread(target=lambda: ledger.write(hold_up))
    blocker.start()
    holding.wait(10)
    for thread in threads:
        thread.start()
    while len(ledger._database._waiting) < 9:
        pass
    hold.set()
    for thread in [blocker, *threads]:
        thread.join()
    assert sorted(results) == sorted("ABCDEFGH")
    assert len(failures) == 1
    assert count_runs(ledger) == 8
    assert seen[0] == 9


def test_a_result_that_is_an_exception_is_raised_to_its_own(ledger):
    with pytest.raises(KeyError):
        ledger.write_each(lambda connection, items: [KeyError(item) for item in items], "x")


def test_a_failed_work_leaves_nothing(ledger):
    def half(connection: sa.Connection) -> None:
        add_run("a")(connection)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - ours, without a message
        ledger.write(half)
    assert count_runs(ledger) == 0


def test_a_closed_ledger(url):
    ledger = Ledger(url)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        count_runs(ledger)


def test_closing_waits_for_its_turn():
    """Threads may be writing and reading still, on the one connection of a ledger in memory."""
    for _ in range(20):
        ledger = Ledger("sqlite://")
        begun = threading.Barrier(5)
        ended: list[str] = []

        def work(number: int, ledger=ledger, begun=begun, ended=ended) -> None:
            begun.wait()
            try:
                for turn in range(10_000):
                    ledger.write(lambda c, name=f"{number}-{turn}": add_run(name)(c).rowcount)
                    count_runs(ledger)
            except LedgerError as error:
                ended.append(error.message)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        begun.wait()
        ledger.close()
        for thread in threads:
            thread.join()
        assert ended == ["The ledger is closed"] * 4


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
    ledger.write(lambda c: add_run("a")(c).rowcount)
    ledger.keep_alive()
    assert count_runs(ledger) == 1


# --- ledgers that cannot be opened ---------------------------------------------------------


def refused(url: str, **options: bool) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        Ledger(url, **options)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert PASSWORD not in f"{caught.value}{caught.value.__dict__}"
    return caught.value


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "Invalid ledger URL"),
        ("no url at all", "Invalid ledger URL"),
        ("mysql://u:correct-horse-battery@h/d", "Unsupported database 'mysql'"),
        ("sqlite:///x.db?mode=ro", "isn't of the form"),
        ("postgresql+psycopg://u:correct-horse-battery@h:port/d", "Invalid ledger URL"),
    ],
)
def test_urls_that_mean_nothing(url, message):
    assert message in refused(url).message


def test_a_text_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 1000)
    error = refused(f"sqlite:///{path}")
    assert error.message == "The file isn't an SQLite database"
    assert error.location == str(path)
    assert path.read_text().startswith("Dear diary")


def test_a_damaged_file(tmp_path):
    path = tmp_path / "ledger.db"
    Ledger(f"sqlite:///{path}").close()
    data = bytearray(path.read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    path.write_bytes(data)
    assert "damaged" in refused(f"sqlite:///{path}").message


def test_a_truncated_file(tmp_path):
    path = tmp_path / "ledger.db"
    Ledger(f"sqlite:///{path}").close()
    path.write_bytes(path.read_bytes()[:9000])
    assert "damaged" in refused(f"sqlite:///{path}").message


def test_a_folder(tmp_path):
    assert "can't be opened" in refused(f"sqlite:///{tmp_path}").message


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    error = refused(f"sqlite:///{tmp_path}/file/ledger.db")
    assert "Unusable" in error.message


def test_none_is_made_when_only_reading(tmp_path):
    path = tmp_path / "folder" / "ledger.db"
    assert refused(f"sqlite:///{path}", create=False).message == "No ledger exists here"
    assert not path.parent.exists()


def test_none_is_made_in_a_server_when_only_reading(postgres):
    assert "No ledger" in refused(postgres.new_database(), create=False).message


def test_a_file_that_another_program_keeps_locked(tmp_path, monkeypatch):
    for module in (engines, database):
        monkeypatch.setattr(module, "LOCK_WAIT", 0.2)
    path = tmp_path / "ledger.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match="Another program locked") as caught:
            ledger.write(lambda c: add_run("a")(c).rowcount)
        assert caught.value.location == str(path)
        other.execute("ROLLBACK")
        other.close()
        ledger.write(lambda c: add_run("a")(c).rowcount)
        assert count_runs(ledger) == 1


def test_a_server_that_is_not_there():
    error = refused(f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:9/db")
    assert "is unreachable" in error.message
    assert error.location == "postgresql+psycopg://me@127.0.0.1:9/db"


def test_a_wrong_password(postgres):
    error = refused(postgres.url("postgres").replace(PASSWORD, "wrong-horse"))
    assert error.message == "The server rejected the password"
    assert "wrong-horse" not in str(error)


def test_an_unknown_database(postgres):
    error = refused(postgres.url("nowhere"))
    assert 'database "nowhere" does not exist' in error.message


@pytest.mark.parametrize("form", ["postgresql://", "postgres://"])
def test_short_forms_of_a_url(postgres, form):
    url = postgres.new_place().replace("postgresql+psycopg://", form)
    with Ledger(url) as ledger:
        assert ledger.place.startswith("postgresql+psycopg://memleak@127.0.0.1")


def test_a_server_that_is_started_anew(postgres):
    """The run goes on, and others know that its lease lives."""
    with Ledger(postgres.new_place()) as ledger:
        first = ledger.lease
        postgres.stop()
        restart = threading.Timer(1.0, postgres.start)
        restart.start()
        assert count_runs(ledger) == 0
        restart.join()
        ledger.write(lambda c: add_run("a")(c).rowcount)
        ledger.keep_alive()
        assert ledger.lease != first
        ledger.expire_leases()
        assert count_runs(ledger) == 1


def test_files_that_hold_no_text(tmp_path, monkeypatch):
    """Nothing but the ledger itself is left in the folder."""
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert ledger.lease
    names = {path.name for path in Path(tmp_path).iterdir()}
    assert names == {"ledger.db", "ledger.db-leases"}
    assert not list((tmp_path / "ledger.db-leases").iterdir())
