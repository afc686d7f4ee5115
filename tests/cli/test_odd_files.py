"""Names of files that lead nowhere, in a circle, or to what is no file: one plain error."""

import json
import os
import resource
import subprocess
import sys

import pytest

STORY = "Every word of it was true, and they all knew it well enough by then. " * 120


@pytest.fixture
def odd(tmp_path):
    """Of each kind one, under any ending that a command asks for."""
    (tmp_path / "story.txt").write_text(STORY)
    (tmp_path / "taken").write_text("a file")
    for ending in ("", ".db", ".json", ".memleak.toml"):
        (tmp_path / f"circle{ending}").symlink_to(f"circle{ending}")
        os.mkfifo(tmp_path / f"pipe{ending}")
    with (tmp_path / "vast.memleak.toml").open("wb") as file:
        file.truncate(1 << 30)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("power circle.memleak.toml", "cannot be read: Too many levels of symbolic links"),
        ("power circle/x.memleak.toml", "cannot be read: Too many levels of symbolic links"),
        ("power pipe.memleak.toml", "not a regular file"),
        ("power vast.memleak.toml", "has 1,073,741,824 bytes"),
        ("ledger list --ledger circle.db", "No ledger exists here"),
        ("ledger verify --ledger circle/x.db", "No ledger exists here"),
        ("prepare story.txt -o o.json --summaries pipe.json", "is a directory or a device"),
        ("prepare story.txt -o circle", "cannot be written: Too many levels"),
        ("demo taken", "taken: File exists"),
    ],
)
def test_one_plain_error_and_what_to_type(memleak, odd, arguments, said):
    done = memleak(*arguments.split())
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("  ")


@pytest.mark.parametrize("suite", ["circle.memleak.toml", "pipe.memleak.toml"])
def test_the_doctor_goes_on_behind_it(memleak, last_line, odd, suite):
    done = memleak("doctor", suite)
    assert done.returncode == 1
    assert last_line(done)


def test_a_name_that_is_no_text(memleak, tmp_path, odd):
    arguments = ("init", "--book", "story.txt", "--model", "openai/base", "-o")
    done = memleak(*arguments, os.fsdecode(b"\xff.memleak.toml"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "  rename the file whose name is not UTF-8"
    assert "Traceback" not in done.stderr
    assert not [name for name in tmp_path.iterdir() if name.name.startswith("\udcff")]


def test_half_a_book_never_takes_the_place_of_a_whole_one(memleak, program, tmp_path, odd):
    assert memleak("prepare", "story.txt", "-o", "story.json").returncode == 0
    whole = (tmp_path / "story.json").read_bytes()
    there = {*tmp_path.iterdir()}
    done = subprocess.run(
        [sys.executable, *program, "prepare", "story.txt", "--author", "A", "-o", "story.json"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.returncode == 2
    assert "story.json: cannot be written: File too large" in done.stderr
    assert (tmp_path / "story.json").read_bytes() == whole
    assert {*tmp_path.iterdir()} == there
    assert json.loads(whole)
