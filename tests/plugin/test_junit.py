"""--junitxml: a report with properties and verdicts, and not a word of the book."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from marks import full
from report_readers import properties
from suite_files import model_table

TEXTS = (
    "lanterns along the quay",
    "grandmother had warned",
    "crossed at night",
    "boatman",
)


@pytest.fixture(params=[(), full(("-n", "2"))], ids=["", "-n 2"])
def report(suite, gate, request):
    """The report on a pass, a fail, an error and an expected leak."""
    leaky = '\n[[model]]\nid = "leaky"'
    path = 'path = "leaky.json"'
    more = model_table("expected", "recorded", path, 'expected = "leak"')
    more += model_table("missing", "recorded", 'path = "missing.json"')
    few = '\n[[pair]]\nmodel = "expected"\nbook = "ferry"\nsamples = 2\n'
    suite((leaky, f"\n{more}{few}{leaky}"))
    outcomes = {"passed": 1, "failed": 1, "errors": 1, "xfailed": 1}
    gate("--junitxml=out.xml", *request.param, **outcomes)
    return ElementTree.parse("out.xml")


def cases_by_model(report):
    return {
        case.get("name").partition("[")[2].partition("/")[0]: case
        for case in report.iterfind(".//testcase")
    }


def test_junit_holds_no_word_of_the_book(report):
    text = Path("out.xml").read_text("utf-8").lower()
    assert [words for words in TEXTS if words in text] == []


def test_junit_holds_facts_of_the_run_once(report):
    run = properties(report.getroot().find("testsuite/properties"))
    assert len(run["memleak.suite.test.memleak.toml.sha256"]) == 64
    assert run["memleak.version"]
    assert not [name for name in run if name.startswith("memleak.book")]


def test_junit_holds_verdict_and_settings_of_every_pair(report):
    cases = cases_by_model(report)
    assert all(len(case.findall("properties")) == 1 for case in cases.values())
    entries = {name: properties(case) for name, case in cases.items()}
    verdicts = {name: entry["memleak.verdict"] for name, entry in entries.items()}
    failed = {"leaky": "FAIL", "expected": "FAIL"}
    assert verdicts == {"clean": "PASS", **failed, "missing": "INCONCLUSIVE"}
    samples = {
        name: entry["memleak.setting.samples"] for name, entry in entries.items()
    }
    assert samples == {"clean": "3", "leaky": "3", "expected": "2", "missing": "3"}
    for entry in entries.values():
        assert entry["memleak.provider"] == "recorded"
        assert entry["memleak.setting.probe.kind"] == "instruction"
        assert len(entry["memleak.suite_sha256"]) == 64


def test_junit_marks_fails_and_errors_with_their_measures(report):
    cases = cases_by_model(report)
    leaky = properties(cases["leaky"])
    assert leaky["memleak.longest_span"] == "16"
    assert leaky["memleak.limit.longest_span"] == "10"
    assert leaky["memleak.generations_received"] == "6"
    assert cases["leaky"].find("failure") is not None
    assert cases["missing"].find("error") is not None
