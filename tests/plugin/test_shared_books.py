"""Suites of one run share the books that they read alike."""

from pathlib import Path

import pytest

READER = """
from pathlib import Path
from pytest_memleak import hookimpl
from pytest_memleak.errors import BookError
@hookimpl
def memleak_read_book(path):
    with Path("reads.txt").open("a") as file:
        print(path.name, file=file)
    if Path("refuses").exists():
        raise BookError("is damaged", location=path.name)
"""


@pytest.fixture
def reads(pytester):
    """Plans all suites in one run; returns the names of the books read."""
    pytester.makeconftest(READER)

    def plan():
        pytester.runpytest("--memleak-dry-run")
        return Path("reads.txt").read_text().splitlines()

    return plan


def test_suites_of_one_run_read_a_book_once(suite, reads):
    suite(name="one.memleak.toml")
    suite(name="two.memleak.toml")
    assert reads() == ["ferry.json"]


@pytest.mark.parametrize(
    "changed",
    [
        ('source = "ferry.json"', 'source = "ferry.json"\ntitle = "Another"'),
        ("samples = 3", 'samples = 3\nword_mode = "unicode"'),
    ],
)
def test_suites_that_read_a_book_differently_each_read_it(suite, reads, changed):
    suite(name="one.memleak.toml")
    suite(changed, name="two.memleak.toml")
    assert reads() == ["ferry.json"] * 2


def test_a_refused_book_is_read_once(suite, reads):
    Path("refuses").touch()
    suite(name="one.memleak.toml")
    suite(name="two.memleak.toml")
    assert reads() == ["ferry.json"]
