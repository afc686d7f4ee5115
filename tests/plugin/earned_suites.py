"""Suites of the cases in earned_cases.md, run, and held against its tables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from own_plugin import OWN_PLUGIN
from report_readers import HTML_WORDS, READERS, plain, read_reports

CASES = Path(__file__).with_name("earned_cases.md")
REPORTS = (
    "--junitxml=junit.xml",
    "--memleak-html=report.html",
    "--memleak-evidence=evidence.json",
)
KEY = "sk-test-0123456789abcdefghij"
SUITE = """
[suite]
samples = {samples}
{keys}
[limits]
bmc = 0.2
longest_span = 38
[[book]]
id = "b"
source = "b.json"
"""
# A conftest that expects every test to fail.
XFAILS_ALL = """
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xfail(reason="flaky"))
"""


def table():
    """The rows of the table: case, how it comes about, verdict, message."""
    section = CASES.read_text("utf-8").partition("\n## A pass that is not earned\n")[2]
    section = section.partition("\n#")[0]
    rows = [
        line.strip("|").split(" | ")
        for line in section.splitlines()
        if line.startswith("|")
    ]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def documented(how):
    """Verdict and message of each case that comes about so."""
    return {
        case: (verdict, message.strip("`"))
        for case, its, verdict, message in table()
        if its == how
    }


def run_here(folder, *options):
    """Run the suite in a folder; what each report says."""
    (folder / "step.md").unlink(missing_ok=True)
    environment = {
        "OPENAI_API_KEY": KEY,
        "GITHUB_STEP_SUMMARY": "step.md",
        "COLUMNS": "120",
    }
    options = ("-vv", "-m", "copyright", *REPORTS, *options, "-p", "no:cacheprovider")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=folder,
        env={**os.environ, **OWN_PLUGIN, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode in (0, 1), result.stdout[-3000:]
    return read_reports(folder, result.stdout)


def write_book(folder, book):
    named = {"author_name": book.author, "book_name": book.title}
    texts = [
        {
            "excerpt_id": part.id,
            "excerpt_text": part.text,
            "instruction": part.instruction,
            **named,
        }
        for part in book.excerpts
    ]
    (folder / "b.json").write_text(json.dumps(texts), "utf-8")


def model_ids(names):
    return {name: f"c{number}" for number, name in enumerate(names)}


def differing(reports, pair, verdict, message):
    """What every report shows that doesn't show the verdict and the message."""
    shown = {name: read(reports[name], pair) for name, read in READERS.items()}
    return {
        name: (its, details)
        for name, (its, details) in shown.items()
        if HTML_WORDS.get(its, its) != verdict
        or (message and not re.search(pattern(message), plain(details)))
    }


def pattern(message):
    return ".*".join(map(re.escape, message.split("…")))
