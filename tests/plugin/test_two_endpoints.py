"""A suite file and a test that brings its own endpoint, in one process: two results, told apart."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from marks import full
from report_readers import properties
from suite_files import own_endpoint, read_bundle

TEXT = "The ferryman counted nine lanterns along the quay and did not like the number."
PARROT = own_endpoint(
    f'[f"{{seed}} {{one}} {TEXT}" for one in range(n)]', 'id = "parrot-1"'
)
PARROT += '@pytest.mark.copyright(suite="../test.memleak.toml")\n'
OWN = f"""{PARROT}
def test_own(memleak_evaluation):
    assert memleak_evaluation.verdict == "FAIL"
    assert memleak_evaluation.endpoint == "parrot-1"
"""
SUITE, TEST = "test.memleak.toml", "own/test_endpoint.py"


@pytest.fixture
def both(suite):
    suite()
    Path("own").mkdir()
    Path(TEST).write_text(OWN, encoding="utf-8")


@pytest.mark.parametrize(
    "paths",
    [(SUITE, TEST), (TEST, SUITE), (TEST,), full((SUITE, TEST, "-n", "2"))],
    ids=" ".join,
)
def test_evidence_holds_a_result_of_every_endpoint(pytester, both, paths):
    result = pytester.runpytest(
        *paths, "-k", "clean", "--memleak-evidence=evidence.json"
    )
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes.get("failed")) == (1 + (SUITE in paths), None)
    verdicts = [
        (pair["model"]["endpoint"], pair["verdict"]) for pair in read_bundle()["pairs"]
    ]
    clean = [(None, "PASS")] * (SUITE in paths)
    assert Counter(verdicts) == Counter(
        [*clean, ("parrot-1", "FAIL"), (None, "NOT RUN")]
    )


AGAIN = """
def test_again(memleak_evaluation):
    assert memleak_evaluation.verdict == "PASS"
"""


def test_reports_show_the_requested_endpoint_not_the_newest(gate, both, own_tests):
    own_tests(AGAIN)
    options = ("-k", "clean", "--junitxml=junit.xml")
    gate(SUITE, TEST, "test_own.py", *options, passed=3, deselected=3)
    cases = ElementTree.parse("junit.xml").iter("testcase")
    spans = {
        case.get("name"): properties(case)["memleak.longest_span"] for case in cases
    }
    assert spans == {
        "test_memorization[clean/ferry]": "0",
        "test_own[clean/ferry]": "14",
        "test_again[clean/ferry]": "0",
    }


def test_a_failed_comparison_quotes_the_requested_endpoint(gate, both):
    own = "def test_own(memorization):\n    assert memorization.longest_span <= 5\n"
    Path(TEST).write_text(PARROT + own)
    # Of a test that evaluates with an endpoint of its own, reports say no more without
    # it.
    lines = ["*longest span of 14 words <= 5"]
    options = ("-k", "clean", "--memleak-quote=full")
    gate(TEST, SUITE, *options, lines=lines, passed=1, failed=1, deselected=2)
