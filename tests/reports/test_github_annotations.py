"""Annotations of GitHub's CI, and the first screen as JSON."""

import dataclasses
import json

import pytest
from screen_runs import RUNS, eighty_pairs, leak

from pytest_memleak.records.pair_result import RunReport
from pytest_memleak.reports.first_screen import first_screen
from pytest_memleak.reports.github_annotations import annotation_lines
from pytest_memleak.reports.screen_json import write_json

SUITE = """\
[suite]
samples = 3
[[book]]
id = "tuned-a"
[[model]]
provider = "openai"
id = "tuned-a"
[[model]]
id = 'merge-a'
"""


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """A run of a suite in this folder, and GitHub's variables."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "suites" / "s.memleak.toml"
    path.parent.mkdir()
    path.write_text(SUITE)

    def place(run):
        results = []
        for result in run.results:
            facts = dataclasses.replace(result.suite, path=str(path))
            results.append(dataclasses.replace(result, suite=facts))
        return dataclasses.replace(run, results=tuple(results))

    return place


def lines_of(run, **environment):
    return list(annotation_lines(run, first_screen(run), environment))


def test_nothing_is_annotated_outside_of_github(placed):
    assert lines_of(placed(eighty_pairs())) == []


def test_each_cause_is_an_error_at_its_model(placed, tmp_path):
    workspace = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path)}
    lines = lines_of(placed(eighty_pairs()), **workspace)
    assert lines[0] == (
        "::error file=suites/s.memleak.toml,line=7,title=memleak%3A FAIL%2C 33 pairs::"
        "longest_passage > 38 (worst 509: tuned-a/gatsby-2)"
    )
    assert lines[-1] == (
        "::error file=suites/s.memleak.toml,line=9,"
        "title=memleak%3A INCONCLUSIVE%2C 1 pair::"
        "bmc: too close to the limit to decide (merge-a/gatsby-2). "
        "Fix: about 1 more sample would settle it (likely over)"
    )
    assert len(lines) == 4


def test_a_name_starts_no_command_of_its_own():
    run = RunReport("9", (leak("m\n::error::x", "b%0A", 60), leak("n", "b", 50)))
    lines = lines_of(run, GITHUB_ACTIONS="true")
    assert [line.count("\n") for line in lines] == [0]
    assert "b%250A" in lines[0]


@pytest.mark.parametrize("name", RUNS)
def test_the_json_is_the_view(name, tmp_path):
    run = RUNS[name]()
    path = tmp_path / "new" / "screen.json"
    write_json(run, path)
    written = json.loads(path.read_text())
    view = first_screen(run)
    assert written["schema"] == "pytest-memleak first screen 1"
    assert written["verdict"] == view.verdict
    assert written["headline"] == view.headline
    assert [cause["pairs"] for cause in written["causes"]] == [
        cause.pairs for cause in view.causes
    ]
    assert written["next"]["command"] == view.next.command
