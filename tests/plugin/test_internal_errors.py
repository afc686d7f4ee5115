"""An exception inside an evaluation: a sentence on the screen, all of it in a file of one's own."""

import stat

import pytest

SECRET = "counted nine lanterns along the quay and did not like the number at all"
MISHAPS = [
    ("KeyError(text)", "INCONCLUSIVE: KeyError (its message may quote a book), at *"),
    ("MemoryError()", "INCONCLUSIVE: MemoryError: not enough memory, at *"),
    (
        "PermissionError(13, 'Permission denied', 'weights.bin')",
        "INCONCLUSIVE: PermissionError: [[]Errno 13] Permission denied: 'weights.bin', at *",
    ),
    (
        "sqlalchemy.exc.DatabaseError(text, {'text': text}, sqlite3.Error('disk is malformed'))",
        "INCONCLUSIVE: DatabaseError: disk is malformed, at *",
    ),
    ("ImportError('No module named x')", "INCONCLUSIVE: ImportError: No module named x, at *"),
    ("OSError(text)", "INCONCLUSIVE: OSError: *"),
]


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
def crash(pytester, suite):
    def run(error, *options):
        suite(("longest_span = 10", "longest_span = 10\n[limits.measures]\nbroken = 1"))
        pytester.makeconftest(EXTENSION.replace("ERROR", error).replace("SECRET", SECRET))
        return pytester.runpytest("-k", "clean", *options)

    return run


@pytest.mark.parametrize(("error", "said"), MISHAPS, ids=[error for error, _ in MISHAPS])
def test_the_message_is_kept_where_it_can_hold_no_text(pytester, crash, error, said):
    result = crash(error)
    result.assert_outcomes(errors=1, deselected=1)
    result.stdout.fnmatch_lines([said, "*-v shows its name"])
    told = " ".join(result.stdout.str().split())
    assert SECRET not in told
    assert "Traceback" not in told
    assert told.count(".py") <= 2


def test_the_full_account_is_in_a_file_that_is_named_with_v(pytester, crash):
    result = crash("KeyError(text)", "-v")
    (account,) = (pytester.path / ".memleak").glob("error-*.txt")
    result.stdout.fnmatch_lines([f"*the traceback, which may quote books, is in {account}"])
    assert stat.S_IMODE(account.stat().st_mode) == 0o600
    text = account.read_text("utf-8")
    assert SECRET in text
    assert "Traceback" in text
    assert "in broken" in text
