"""What a run leaves on the disk: for its owner alone, out of git, and missed if it goes."""

import os
import stat
import subprocess

import pytest
from marks import full

SPOILT = """
import os, pathlib, pytest
@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    ledger = pathlib.Path(".memleak/ledger.db")
    if item.name == {after!r} and ledger.exists():
        {what}
"""
TWO_BOOKS = (
    ('role = "train"', 'role = "test"'),
    ('\n[model.finetune]\nbooks = ["training"]', ""),
)
FEW = ("samples = 6", "samples = 2")


@pytest.fixture(autouse=True)
def _as_most_people_have_it():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_ledger_is_private_and_ignored_by_git(pytester, gate, online, server):
    online(FEW)
    subprocess.run(["git", "init", "-q"], check=True)
    gate("-m", "copyright", "--memleak-jobs=1", failed=1)
    kept = pytester.path / ".memleak"
    paths = [kept, *kept.rglob("*")]
    assert kept / "ledger.db" in paths
    assert kept / "ledger.db-leases" in paths
    private = [path for path in paths if path.name != ".gitignore"]
    assert [
        str(path) for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077
    ] == []
    subprocess.run(["git", "add", "-A"], check=True)
    staged = subprocess.run(
        ["git", "ls-files"], check=True, capture_output=True, text=True
    ).stdout
    assert "held-out.json" in staged
    assert ".memleak/" not in staged


GONE = "*The ledger file was deleted, moved, or replaced during the run*"
WAL = "[one.unlink() for one in pathlib.Path('.memleak').glob('ledger.db-[ws]*')]"
CUT = "*ledger.db: The file *"
# After which pair the ledger is spoilt, how, and what is said.
SPOILS = [
    full("held-out", "ledger.unlink()", GONE),
    full("held-out", "ledger.rename('elsewhere.db')", GONE),
    (
        "held-out",
        "copy = ledger.read_bytes(); ledger.unlink(); ledger.write_bytes(copy)",
        GONE,
    ),
    full("held-out", "import shutil; shutil.rmtree('.memleak')", GONE),
    ("training", "ledger.unlink()", GONE),
    full("training", f"os.truncate(ledger, 0); {WAL}", CUT),
    ("training", f"os.truncate(ledger, ledger.stat().st_size // 2); {WAL}", CUT),
]
WHILE_IT_ENDS = "import shutil\ndef pytest_sessionfinish(): shutil.rmtree('.memleak')"


@pytest.mark.parametrize(("after", "what", "shown"), [*SPOILS, ("the end", "", GONE)])
def test_a_spoilt_ledger_leaves_no_pass(gate, pytester, online, after, what, shown):
    online(*TWO_BOOKS, FEW, ('base_model = "base"', 'endpoint = "base"'))
    spoilt = SPOILT.format(what=what, after=f"test_memorization[tuned/{after}]")
    pytester.makeconftest(spoilt if what else WHILE_IT_ENDS)
    evidence = ("--memleak-evidence=evidence.json",) if what else ()
    result = gate("-m", "copyright", *evidence)
    assert result.ret != 0
    if after == "held-out":  # the first of the two
        result.stdout.fnmatch_lines(["INCONCLUSIVE: *", shown])
    else:
        stream = result.stdout if "Exit" in result.stdout.str() else result.stderr
        stream.fnmatch_lines([shown])
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert not (pytester.path / "evidence.json").exists()
