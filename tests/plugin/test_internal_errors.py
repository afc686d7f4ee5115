"""An exception inside an evaluation: a sentence on the screen, all of it in a file of one's own."""

import errno
import stat
from pathlib import Path

import pytest

SECRET = "counted nine lanterns along the quay and did not like the number at all"
DENIED = "PermissionError(13, 'Permission denied', 'weights.bin')"
DATABASE = "sqlalchemy.exc.DatabaseError(text, {'text': text}, sqlite3.Error('disk is malformed'))"
MISHAPS = {
    "KeyError(text)": "KeyError (its message may quote a book), at *",
    "MemoryError()": "MemoryError: not enough memory, at *",
    DENIED: "PermissionError: [[]Errno 13] Permission denied: 'weights.bin', at *",
    DATABASE: "DatabaseError: disk is malformed, at *",
    "ImportError('No module named x')": "ImportError: No module named x, at *",
    "OSError(text)": "OSError: *",
    'RuntimeError("can\'t start new thread")': "RuntimeError: can't start new thread, at *",
}
EXTENSION = """
import json
import sqlite3
import sqlalchemy.exc
from pytest_memleak.interfaces.hookspecs import hookimpl
def broken(book, generations):
    text = "SECRET"
    raise ERROR
@hookimpl
def memleak_measures():
    return {"broken": broken}
"""


@pytest.fixture
def crash(pytester, suite, gate):
    def run(error, *options, lines):
        suite(("longest_span = 10", "longest_span = 10\n[limits.measures]\nbroken = 1"))
        pytester.makeconftest(
            EXTENSION.replace("ERROR", error).replace("SECRET", SECRET)
        )
        return gate(
            "-k", "clean", *options, lines=lines, errors=1, deselected=1
        ).stdout.str()

    return run


@pytest.mark.parametrize("error", MISHAPS)
def test_the_message_is_kept_where_it_can_hold_no_text(crash, error):
    text = crash(error, lines=[f"INCONCLUSIVE: {MISHAPS[error]}", "*-v shows its name"])
    shown = " ".join(text.split())
    assert SECRET not in shown
    assert "Traceback" not in shown
    assert shown.count(".py") <= 2


@pytest.mark.parametrize("step", ["attach_result", "run_report", "exiting"])
def test_too_many_open_files_at_the_end_are_one_plain_error(
    suite, gate, monkeypatch, step
):
    def fail(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    suite()
    with (
        monkeypatch.context() as patch
    ):  # no longer than this run, or it ends the tests' own
        patch.setattr(f"pytest_memleak.plugin.run_reports.{step}", fail)
        done = gate("-k", "clean")
    text = done.stdout.str() + done.stderr.str()
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR
    assert "ulimit -n" in text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text


def test_the_full_account_is_in_a_file_that_is_named_with_v(crash):
    message = "the traceback, which may quote books, is in"
    crash("KeyError(text)", "-v", lines=[f"*{message} *.memleak/error-*.txt"])
    (account,) = Path(".memleak").glob("error-*.txt")
    assert stat.S_IMODE(account.stat().st_mode) == 0o600
    text = account.read_text("utf-8")
    for shown in (SECRET, "Traceback", "in broken"):
        assert shown in text
