"""A pass must be earned: every case of earned_cases.md, through the front door."""

import json
import re

import pytest
import unearned
import unearned_servers
from earned_suites import (
    REPORTS,
    SUITE,
    differing,
    documented,
    model_ids,
    run_here,
    table,
    write_book,
)
from report_readers import in_evidence, read_reports
from suite_files import model_table

NOTHING_TO_ASK = re.compile(r"\b(server|draw|resample|run again|rerun)\b")


def test_the_table_has_at_least_75_cases_and_no_name_twice():
    names = [case for case, *_ in table()]
    assert len(set(names)) == len(names) >= 75


def test_the_table_knows_four_ways_to_a_verdict():
    ways = {how for _, how, *_ in table()}
    assert ways == {"recorded", "server", "second run", "own test"}


def test_the_table_gives_a_message_for_all_but_a_pass():
    for case, _, verdict, message in table():
        assert bool(message) != ("PASS" in verdict), case


def test_the_table_names_every_case_and_server():
    assert documented("recorded").keys() == unearned.CASES.keys()
    assert documented("server").keys() == unearned_servers.SERVED.keys()


def write_recorded_suite(folder):
    """Write the recorded answers of every case, and one suite of all."""
    book, generations = unearned.plays()
    write_book(folder, book)
    suite = SUITE.format(samples=unearned.SAMPLES, keys="")
    for name, number in model_ids(unearned.CASES).items():
        case = unearned.CASES[name]
        answers = unearned.records(book, case.generations(book, generations))
        records = json.dumps(case.records(book, answers))
        (folder / f"{number}.json").write_text(records, "utf-8")
        suite += model_table(number, "recorded", f'path = "{number}.json"', case.keys)
    (folder / "cases.memleak.toml").write_text(suite, "utf-8")


def test_recorded_answers_end_as_the_table_of_cases_says(pytester, monkeypatch):
    write_recorded_suite(pytester.path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "step.md")
    monkeypatch.setenv("COLUMNS", "120")
    result = pytester.runpytest("-vv", "-m", "copyright", *REPORTS)
    reports, wrong = read_reports(pytester.path, result.stdout.str()), {}
    for name, number in model_ids(unearned.CASES).items():
        pair = f"{number}/b"
        shown = differing(reports, pair, *documented("recorded")[name])
        # Who hands in a file has no server to look at, and nothing to draw.
        _, reasons = in_evidence(reports["evidence"], pair)
        offered = NOTHING_TO_ASK.search(reasons)
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
    assert differing(served[name], f"{number}/b", *documented("server")[name]) == {}
