"""The command as it is typed: in a process of its own, in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = ("-c", "import sys; from pytest_memleak.cli.main import main; sys.exit(main())")
BOOKS = Path(__file__).parents[2] / "fixtures" / "books"


@pytest.fixture
def program():
    """What Python runs for `memleak`."""
    return PROGRAM


@pytest.fixture
def memleak(tmp_path):
    """Runs `memleak` with these arguments in tmp_path, without keys; nobody types."""
    kept = {name: one for name, one in os.environ.items() if not name.endswith(("_KEY", "_URL"))}

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, *PROGRAM, *map(str, arguments)],
            cwd=tmp_path,
            env={**kept, "COLUMNS": "100", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
        )

    return run


@pytest.fixture
def last_line():
    """The last line of the output, which says what to type next."""

    def check(done):
        assert "Traceback" not in done.stderr
        line = done.stdout.splitlines()[-1]
        assert line.startswith("next: ")
        return line.removeprefix("next: ").partition("   #")[0]

    return check


@pytest.fixture
def lamplighter():
    return BOOKS / "the-lamplighter.epub"
