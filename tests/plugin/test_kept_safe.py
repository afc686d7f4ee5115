"""What a run leaves on the disk: for its owner alone, out of git, and missed if it goes."""

import os
import stat
import subprocess

import pytest

SPOILT = """
import os, pathlib, pytest

@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    ledger = pathlib.Path(".memleak/ledger.db")
    if item.name == {after!r} and ledger.exists():
        {what}
"""
TWO_BOOKS = ('role = "train"', 'role = "test"'), ('\n[model.finetune]\nbooks = ["training"]', "")


@pytest.fixture(autouse=True)
def _as_most_people_have_it():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_nobody_else_may_read_it_and_git_does_not_take_it(pytester, gate, online, server):
    online()
    subprocess.run(["git", "init", "-q"], check=True)
    gate("-m", "copyright", "--memleak-jobs=1", failed=1)
    kept = pytester.path / ".memleak"
    made = [kept, *kept.rglob("*")]
    assert kept / "ledger.db" in made
    assert kept / "ledger.db-leases" in made
    open_to_others = [
        str(one)
        for one in made
        if stat.S_IMODE(one.stat().st_mode) & 0o077 and one.name != ".gitignore"
    ]
    assert open_to_others == []
    subprocess.run(["git", "add", "-A"], check=True)
    staged = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout
    assert "held-out.json" in staged
    assert ".memleak/" not in staged


@pytest.fixture
def spoilt(pytester, online, server):
    """A run of two pairs whose ledger is spoilt after one of them."""

    def run(what, *, after):
        online(*TWO_BOOKS, ('base_model = "base"', 'endpoint = "base"'))
        pytester.makeconftest(SPOILT.format(what=what, after=f"test_memorization[tuned/{after}]"))
        return pytester.runpytest("-m", "copyright", "--memleak-evidence=evidence.json")

    return run


GONE = "*The ledger file was deleted, moved, or replaced during the run*"
EMPTIED = "*The file was emptied during the run*"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("ledger.unlink()", GONE),
        ("ledger.rename('elsewhere.db')", GONE),
        ("copy = ledger.read_bytes(); ledger.unlink(); ledger.write_bytes(copy)", GONE),
        ("import shutil; shutil.rmtree('.memleak')", GONE),
    ],
)
def test_a_ledger_that_goes_in_the_middle_of_a_run_is_missed(spoilt, what, told):
    result = spoilt(what, after="held-out")
    result.stdout.fnmatch_lines(["*INCONCLUSIVE: *", told])
    assert result.ret != 0


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("ledger.unlink()", GONE),
        ("os.truncate(ledger, 0)", "*ledger.db: The file *"),
        ("os.truncate(ledger, ledger.stat().st_size // 2)", "*ledger.db: The file *"),
    ],
)
def test_a_ledger_that_is_spoilt_at_the_end_fails_the_run(spoilt, pytester, what, told):
    wal = "[one.unlink() for one in pathlib.Path('.memleak').glob('ledger.db-[ws]*')]"
    result = spoilt(f"{what}; {wal}" if "truncate" in what else what, after="training")
    (result.stdout if "Exit" in result.stdout.str() else result.stderr).fnmatch_lines([told])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not (pytester.path / "evidence.json").exists()


def test_a_ledger_that_goes_while_the_run_ends_fails_it(pytester, online):
    online(*TWO_BOOKS, ('base_model = "base"', 'endpoint = "base"'))
    pytester.makeconftest("import shutil\ndef pytest_sessionfinish(): shutil.rmtree('.memleak')")
    result = pytester.runpytest("-m", "copyright")
    (result.stdout if "Exit" in result.stdout.str() else result.stderr).fnmatch_lines([GONE])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
