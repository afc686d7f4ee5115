"""A pass must be earned by tests of one's own, too: none passes over INCONCLUSIVE."""

import json
import re
import xml.etree.ElementTree as ET
from textwrap import dedent

import pytest
from test_earned import REPORTS, documented, pattern
from test_situations import HTML_WORDS, in_evidence, in_html, in_markdown, in_the_terminal

WORDS = ("ka", "lo", "mi", "nu", "pe", "ra", "so", "tu")
TEXT = " ".join(f"{a}{b}{c}" for a in WORDS for b in WORDS for c in WORDS)
ASKED = "Write the next part of the story, in which everybody goes home again"
SUITE = """
[suite]
samples = 2
[limits]
longest_span = 38
[[book]]
id = "b"
source = "b.json"
[[model]]
id = "m"
provider = "recorded"
options = { path = "m.json" }
"""
MARKED = 'import pytest\npytestmark = pytest.mark.copyright(suite="s.memleak.toml")\n'
ASKS, CATCHES = "a test of one's own that asks in its body", "a test of one's own that catches it"
TESTS = {
    "a test of one's own that asks in its body": """
        def test_it(request, memleak_pair): request.getfixturevalue("FIXTURE")
        """,
    "a test of one's own that catches it": """
        def test_it(request, memleak_pair):
            try:
                request.getfixturevalue("FIXTURE")
            except BaseException:
                pass
        """,
    "a test of one's own that skips when it is told": """
        def test_it(request, memleak_pair):
            try:
                request.getfixturevalue("FIXTURE")
            except BaseException:
                pytest.skip("not today")
        """,
    "a test of one's own that calls xfail when it is told": """
        def test_it(request, memleak_pair):
            try:
                request.getfixturevalue("FIXTURE")
            except BaseException:
                pytest.xfail("not today")
        """,
    "a test of one's own that lets a fixture catch it": """
        @pytest.fixture
        def quiet(request, memleak_pair):
            try:
                request.getfixturevalue("FIXTURE")
            except BaseException:
                pass

        def test_it(quiet): pass
        """,
    "a test of one's own that is expected to fail": """
        @pytest.mark.xfail
        def test_it(FIXTURE): pass
        """,
    "a test of one's own that is expected to fail, and asks in its body": """
        @pytest.mark.xfail(strict=False)
        def test_it(request, memleak_pair): request.getfixturevalue("FIXTURE")
        """,
}
SUITE_VERDICT = "memleak.suite_verdict"
XFAILS_ALL = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xfail(reason="flaky"))
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Write a suite whose model has so many answers of two."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))

    def write(*, answers):
        record = {"excerpt_id": "p_id1", "excerpt_text": TEXT, "instruction": ASKED}
        (pytester.path / "b.json").write_text(json.dumps([record]))
        given = [{"generated_text": " ".join(reversed(TEXT.split()))}, {"generated_text": TEXT}]
        records = [{"excerpt_id": "p_id1", "generations": given[:answers]}]
        (pytester.path / "m.json").write_text(json.dumps(records))
        (pytester.path / "s.memleak.toml").write_text(SUITE)

    return write


def written(pytester, result):
    return {
        "terminal": result.stdout.str().partition(" memorization ")[2],
        "html": (pytester.path / "report.html").read_text("utf-8"),
        "markdown": (pytester.path / "step.md").read_text("utf-8"),
        "evidence": json.loads((pytester.path / "evidence.json").read_text("utf-8")),
    }


READERS = {
    "terminal": in_the_terminal,
    "html": in_html,
    "markdown": in_markdown,
    "evidence": in_evidence,
}


def test_the_table_names_every_test():
    assert documented("own test").keys() == TESTS.keys()


@pytest.mark.parametrize(
    ("name", "fixture"),
    [*((name, "memleak_evaluation") for name in TESTS), (CATCHES, "memorization")],
)
def test_none_passes_over_it(pytester, suite, name, fixture):
    suite(answers=1)
    body = pytester.makepyfile("")
    body.write_text(MARKED + dedent(TESTS[name]).replace("FIXTURE", fixture))
    result = pytester.runpytest(body, *REPORTS, "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 1
    assert set(outcomes) <= {"failed", "errors", "error"}
    verdict, message = documented("own test")[name]
    reports = written(pytester, result)
    for report, read in READERS.items():
        shown, told = read(reports[report], "m/b")
        assert shown == verdict, report
        assert re.search(pattern(message), told), report
    junit = ET.parse(pytester.path / "junit.xml").getroot()
    assert [one.get("value") for one in junit.iter("property") if one.get("name") == SUITE_VERDICT]
    assert re.search(pattern(message), "".join(junit.itertext()))


@pytest.mark.parametrize(
    ("answers", "outcome", "verdict"),
    [(1, "errors", "INCONCLUSIVE"), (2, "failed", "FAIL")],
    ids=["inconclusive", "fail"],
)
def test_a_mark_of_a_conftest_turns_no_suite_green(pytester, suite, answers, outcome, verdict):
    suite(answers=answers)
    pytester.makeconftest(XFAILS_ALL)
    result = pytester.runpytest(*REPORTS, "-p", "no:cacheprovider")
    result.assert_outcomes(**{outcome: 1})
    reports = written(pytester, result)
    for report, read in READERS.items():
        shown = read(reports[report], "m/b")[0]
        assert HTML_WORDS.get(shown, shown) == verdict


def test_a_fixture_of_the_same_name_is_no_evaluation(pytester, suite):
    suite(answers=2)
    pytester.makeconftest(
        """
        import pytest
        from unittest.mock import MagicMock

        @pytest.fixture
        def memleak_evaluation():
            return MagicMock()
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE: the pair wasn't evaluated, since your fixture*"])


def test_a_fixture_that_gives_another_pair_passes_for_none(pytester, suite):
    suite(answers=2)
    pytester.makeconftest(
        """
        import dataclasses
        import pytest

        @pytest.fixture(scope="session")
        def memleak_pair(request):
            return dataclasses.replace(request.param, limits={"bmc": 1.0})
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE: the pair wasn't evaluated, since your fixture*"])


@pytest.mark.full
def test_on_workers(pytester, suite):
    suite(answers=1)
    pytester.makepyfile(MARKED + dedent(TESTS[CATCHES]).replace("FIXTURE", "memleak_evaluation"))
    result = pytester.runpytest("test_on_workers.py", "-n", "1", *REPORTS, "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    assert in_evidence(written(pytester, result)["evidence"], "m/b")[0] == "INCONCLUSIVE"


def test_what_a_test_asks_for_in_its_body_is_reported(pytester, suite):
    suite(answers=2)
    body = pytester.makepyfile("")
    body.write_text(MARKED + dedent(TESTS[ASKS]).replace("FIXTURE", "memleak_evaluation"))
    result = pytester.runpytest(body, *REPORTS, "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    for report, read in READERS.items():
        shown, told = read(written(pytester, result)[report], "m/b")
        assert (shown.upper(), "longest_span 512" in told) in [("FAIL", True), ("FAILED", True)]
    assert 'name="memleak.suite_verdict" value="FAIL"' in (pytester.path / "junit.xml").read_text(
        "utf-8"
    )
