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


@pytest.mark.parametrize("workers", [(), full(("-n", "2"))])
def test_a_pass_a_fail_an_error_and_an_expected_leak(suite, gate, workers):
    leaky = '\n[[model]]\nid = "leaky"'
    more = model_table(
        "expected", "recorded", 'path = "leaky.json"', 'expected = "leak"'
    )
    more += model_table("missing", "recorded", 'path = "missing.json"')
    few = '\n[[pair]]\nmodel = "expected"\nbook = "ferry"\nsamples = 2\n'
    suite((leaky, f"\n{more}{few}{leaky}"))
    gate("--junitxml=out.xml", *workers, passed=1, failed=1, errors=1, xfailed=1)
    report = ElementTree.parse("out.xml")
    text = Path("out.xml").read_text("utf-8").lower()
    assert [words for words in TEXTS if words in text] == []
    # What the run used stands once, what differs from pair to pair with each.
    run = properties(report.getroot().find("testsuite/properties"))
    assert len(run["memleak.suite.test.memleak.toml.sha256"]) == 64
    assert run["memleak.version"]
    assert not [name for name in run if name.startswith("memleak.book")]
    results = {
        case.get("name").partition("[")[2].partition("/")[0]: case
        for case in report.iterfind(".//testcase")
    }
    assert all(len(case.findall("properties")) == 1 for case in results.values())
    entries = {name: properties(case) for name, case in results.items()}
    assert {name: one["memleak.verdict"] for name, one in entries.items()} == {
        "clean": "PASS", "leaky": "FAIL", "expected": "FAIL", "missing": "INCONCLUSIVE",
    }  # fmt: skip
    samples = {name: one["memleak.setting.samples"] for name, one in entries.items()}
    assert samples == {"clean": "3", "leaky": "3", "expected": "2", "missing": "3"}
    for one in entries.values():
        assert one["memleak.provider"] == "recorded"
        assert one["memleak.setting.probe.kind"] == "instruction"
        assert len(one["memleak.suite_sha256"]) == 64
    assert entries["leaky"]["memleak.longest_span"] == "16"
    assert entries["leaky"]["memleak.limit.longest_span"] == "10"
    assert entries["leaky"]["memleak.generations_received"] == "6"
    assert results["leaky"].find("failure") is not None
    assert results["missing"].find("error") is not None
