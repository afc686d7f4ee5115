"""A suite of one model and one book, written and run, for the tests of the probes."""

import json
from pathlib import Path

from pytest_memleak.books.build_book import make_book, paper_records
from pytest_memleak.books.epub import read_epub

STORIES = Path(__file__).parents[2] / "fixtures" / "books"


def replace_all(text, replacements):
    """The text with each replacement made, of which every one must be possible."""
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return text


def write_suite(pytester, stories, text, *replacements):
    """Write the suite with some text replaced, and its books beside it."""
    text = replace_all(text, replacements)
    for name, records in stories.items():
        (pytester.path / f"{name}.json").write_text(json.dumps(records), encoding="utf-8")
    (pytester.path / "it.memleak.toml").write_text(text, encoding="utf-8")


def evidence(pytester, *options, run="runpytest", **outcomes):
    """Run the suite, whose test ends so; the result, and the one pair of its evidence."""
    path = pytester.path / "evidence.json"
    result = getattr(pytester, run)("-m", "copyright", f"--memleak-evidence={path}", *options)
    if outcomes:
        result.assert_outcomes(**outcomes)
    (pair,) = json.loads(path.read_text())["pairs"]
    return result, pair


def read_story(name):
    """One of our stories, as the paper's records."""
    summaries = STORIES / f"{name}.summaries.json"
    return paper_records(make_book(name, read_epub(STORIES / f"{name}.epub"), summaries=summaries))
