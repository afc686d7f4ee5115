"""A pass must be earned: every case of earned_cases.md, through the front door."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import unearned
import unearned_servers
from own_plugin import OWN_PLUGIN
from report_readers import HTML_WORDS, READERS, in_evidence, plain, read_reports
from suite_files import model_table

NOTHING_TO_ASK = re.compile(r"\b(server|draw|resample|run again|rerun)\b")
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


def check(*arguments):
    assert differing(*arguments) == {}


def pattern(message):
    return ".*".join(map(re.escape, message.split("…")))


def test_the_table_has_enough_cases_and_no_name_twice():
    names = [case for case, *_ in table()]
    assert len(set(names)) == len(names) >= 75
    assert {how for _, how, *_ in table()} == {
        "recorded",
        "server",
        "second run",
        "own test",
    }
    assert not [
        case
        for case, _, verdict, message in table()
        if bool(message) == ("PASS" in verdict)
    ]


def test_the_table_names_every_case_and_server():
    assert documented("recorded").keys() == unearned.CASES.keys()
    assert documented("server").keys() == unearned_servers.SERVED.keys()


def test_recorded_answers_end_as_the_table_of_cases_says(pytester, monkeypatch):
    folder, wrong = pytester.path, {}
    book, generations = unearned.plays()
    write_book(folder, book)
    suite = SUITE.format(samples=unearned.SAMPLES, keys="")
    for name, number in model_ids(unearned.CASES).items():
        case = unearned.CASES[name]
        answers = unearned.records(book, case.generations(book, generations))
        (folder / f"{number}.json").write_text(
            json.dumps(case.records(book, answers)), "utf-8"
        )
        suite += model_table(number, "recorded", f'path = "{number}.json"', case.keys)
    (folder / "cases.memleak.toml").write_text(suite, "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "step.md")
    monkeypatch.setenv("COLUMNS", "120")
    result = pytester.runpytest("-vv", "-m", "copyright", *REPORTS)
    reports = read_reports(folder, result.stdout.str())
    for name, number in model_ids(unearned.CASES).items():
        shown = differing(reports, f"{number}/b", *documented("recorded")[name])
        # Who hands in a file has no server to look at, and nothing to draw.
        offered = NOTHING_TO_ASK.search(
            in_evidence(reports["evidence"], f"{number}/b")[1]
        )
        if shown or offered:
            wrong[name] = shown, offered
    assert not wrong


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """By the case's name, the reports of the run that it is in: of all that are asked alike."""
    folder = tmp_path_factory.mktemp("served")
    book = unearned_servers.book_of_servers()
    write_book(folder, book)
    cases, numbers = unearned_servers.SERVED, model_ids(unearned_servers.SERVED)
    reports = {}
    with unearned_servers.serving(cases, book, folder) as servers:
        for keys in sorted({case.suite for case in cases.values()}):
            suite = SUITE.format(samples=unearned_servers.SAMPLES, keys=keys)
            chosen = [name for name in cases if cases[name].suite == keys]
            for name in chosen:
                options = f'base_url = "{servers[name].base_url}"'
                named = f'base_model = "base"\n{cases[name].keys}'
                suite += model_table(numbers[name], "openai", options, named)
            (folder / "served.memleak.toml").write_text(suite, "utf-8")
            reports |= dict.fromkeys(chosen, run_here(folder))
    return reports


@pytest.mark.full
@pytest.mark.parametrize("name", unearned_servers.SERVED)
def test_a_server_ends_as_the_table_of_cases_says(name, served):
    number = model_ids(unearned_servers.SERVED)[name]
    check(served[name], f"{number}/b", *documented("server")[name])
