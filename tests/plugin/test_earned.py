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

CASES = Path(__file__).with_name("earned_cases.md")
REPORTS = ("--junitxml=junit.xml", "--memleak-html=report.html", "--memleak-evidence=evidence.json")
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
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def documented(how):
    """Verdict and message of each case that comes about so."""
    return {
        case: (verdict, message.strip("`")) for case, its, verdict, message in table() if its == how
    }


def run_here(folder, *options):
    """Run the suite in a folder; what each report says."""
    (folder / "step.md").unlink(missing_ok=True)
    environment = {"OPENAI_API_KEY": KEY, "GITHUB_STEP_SUMMARY": "step.md", "COLUMNS": "120"}
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
        {"excerpt_id": part.id, "excerpt_text": part.text, "instruction": part.instruction, **named}
        for part in book.excerpts
    ]
    (folder / "b.json").write_text(json.dumps(texts), "utf-8")


def model_ids(names):
    return {name: f"c{number}" for number, name in enumerate(names)}


def check(reports, pair, verdict, message):
    """The verdict and the message in every report."""
    for name, read in READERS.items():
        shown, details = read(reports[name], pair)
        assert HTML_WORDS.get(shown, shown) == verdict, name
        if message:
            assert re.search(pattern(message), plain(details)), (name, details)


def pattern(message):
    return ".*".join(map(re.escape, message.split("…")))


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """What every report has of the run that all cases are in."""
    folder = tmp_path_factory.mktemp("recorded")
    book, generations = unearned.plays()
    write_book(folder, book)
    suite = SUITE.format(samples=unearned.SAMPLES, keys="")
    for name, number in model_ids(unearned.CASES).items():
        case = unearned.CASES[name]
        answers = unearned.records(book, case.generations(book, generations))
        (folder / f"{number}.json").write_text(json.dumps(case.records(book, answers)), "utf-8")
        suite += model_table(number, "recorded", f'path = "{number}.json"', case.keys)
    (folder / "cases.memleak.toml").write_text(suite, "utf-8")
    return run_here(folder)


def test_the_table_has_enough_cases_and_no_name_twice():
    names = [case for case, *_ in table()]
    assert len(set(names)) == len(names) >= 75
    assert {how for _, how, *_ in table()} == {"recorded", "server", "second run", "own test"}
    assert not [
        case for case, _, verdict, message in table() if bool(message) == ("PASS" in verdict)
    ]


def test_the_table_names_every_case_and_server():
    assert documented("recorded").keys() == unearned.CASES.keys()
    assert documented("server").keys() == unearned_servers.SERVED.keys()


@pytest.mark.parametrize("name", unearned.CASES)
def test_recorded_answers_end_as_the_table_of_cases_says(name, recorded):
    pair = f"{model_ids(unearned.CASES)[name]}/b"
    check(recorded, pair, *documented("recorded")[name])
    # Who hands in a file has no server to look at, and nothing to draw.
    assert not re.search(
        r"\b(server|draw|resample|run again|rerun)\b", in_evidence(recorded["evidence"], pair)[1]
    )


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
