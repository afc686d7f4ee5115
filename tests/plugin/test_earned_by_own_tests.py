"""A pass must be earned by tests of one's own, too: none passes over INCONCLUSIVE."""

import re
from pathlib import Path

import pytest
from earned_suites import REPORTS, XFAILS_ALL, documented, pattern
from marks import full
from report_readers import READERS as EVERY_READER
from report_readers import properties, read_reports
from suite_files import write_answers, write_book

WORDS = ("ka", "lo", "mi", "nu", "pe", "ra", "so", "tu")
TEXT = " ".join(f"{a}{b}{c}" for a in WORDS for b in WORDS for c in WORDS)
ASKED = "Write the next part of the story, in which everybody goes home again"
SUITE = """
suite = { samples = 2 }
limits = { longest_span = 38 }
book = [{ id = "b", source = "b.json" }]
model = [{ id = "m", provider = "recorded", options = { path = "m.json" } }]
"""
ASKS, CATCHES = (
    "a test of one's own that asks in its body",
    "a test of one's own that catches it",
)
ASKING = 'def test_it(request, memleak_pair): request.getfixturevalue("FIXTURE")\n'
CATCHING = """
def test_it(request, memleak_pair):
    try:
        request.getfixturevalue("FIXTURE")
    except BaseException:
        {}
"""
TESTS = {
    ASKS: ASKING,
    CATCHES: CATCHING.format("pass"),
    "a test of one's own that skips when it is told": CATCHING.format(
        'pytest.skip("not today")'
    ),
    "a test of one's own that calls xfail when it is told": CATCHING.format(
        'pytest.xfail("not today")'
    ),
    "a test of one's own that lets a fixture catch it": "@pytest.fixture"
    + CATCHING.format("pass").replace("test_it", "quiet")
    + "\ndef test_it(quiet): pass\n",
    "a test of one's own that is expected to fail": (
        "@pytest.mark.xfail\ndef test_it(FIXTURE): pass\n"
    ),
    "a test of one's own that is expected to fail, and asks in its body": (
        f"@pytest.mark.xfail(strict=False)\n{ASKING}"
    ),
}
SUITE_VERDICT = "memleak.suite_verdict"
EVALUATION = "memleak_evaluation"
READERS = {name: read for name, read in EVERY_READER.items() if name != "junit"}


@pytest.fixture
def suite(pytester, monkeypatch):
    """Write a suite whose model has so many answers of two."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))

    def write(*, answers):
        write_book("b.json", {"p_id1": TEXT}, lambda _: ASKED)
        texts = [" ".join(reversed(TEXT.split())), TEXT]
        write_answers("m.json", {"p_id1": texts[:answers]})
        Path("s.memleak.toml").write_text(SUITE)

    return write


@pytest.mark.parametrize(
    ("names", "fixture", "workers"),
    [
        ([*TESTS], EVALUATION, ()),
        ([CATCHES], "memorization", ()),
        *(full([name], EVALUATION, ()) for name in TESTS),
        full([CATCHES], EVALUATION, ("-n", "1")),
    ],
)
def test_tests_of_ones_own_never_pass_over_inconclusive(
    gate, suite, own_tests, names, fixture, workers
):
    suite(answers=1)
    tests = [
        TESTS[name].replace("test_it", f"test_{at}") for at, name in enumerate(names)
    ]
    own_tests("".join(tests).replace("FIXTURE", fixture), suite="s.memleak.toml")
    result = gate("test_own.py", *REPORTS, *workers, "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == len(names)
    assert set(outcomes) <= {"failed", "errors", "error"}
    ((verdict, message),) = documented("own test").values()
    reports = read_reports(Path(), result.stdout.str())
    for report, read in READERS.items():
        shown, details = read(reports[report], "m/b")
        assert shown == verdict, report
        assert re.search(pattern(message), details), report
    junit = reports["junit"]
    assert SUITE_VERDICT in properties(junit)
    assert re.search(pattern(message), "".join(junit.itertext()))


def test_a_mark_of_a_conftest_turns_no_suite_green(pytester, gate, suite):
    suite(answers=1)
    pytester.makeconftest(XFAILS_ALL)
    result = gate(*REPORTS, "-p", "no:cacheprovider", errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    reports = read_reports(Path(), result.stdout.str())
    for report, read in READERS.items():
        assert read(reports[report], "m/b")[0] == "INCONCLUSIVE"


@pytest.mark.parametrize("outcome", ["skip", "xfail"])
def test_an_endpoint_whose_calls_end_the_test_is_inconclusive(
    pytester, gate, suite, outcome
):
    suite(answers=2)
    asked = "Two sisters row across the harbor at night, lose an oar, and find a lantern burning."
    write_book("b.json", {"p_id1": TEXT}, lambda _: asked)
    pytester.makeconftest(LEAVING.format(outcome))
    lines = ["INCONCLUSIVE: *ed (its message may quote a book), at *"]
    gate("-p", "no:cacheprovider", lines=lines, errors=1)


LEAVING = """
import pytest
class Leaving:
    id = "leaving"
    def sample(self, *args, **options):
        pytest.{}("not today")
@pytest.fixture(scope="session")
def memleak_endpoint():
    return Leaving()
"""
A_MOCK = """
import pytest
from unittest.mock import MagicMock
@pytest.fixture
def memleak_evaluation():
    return MagicMock()
"""
ANOTHER_PAIR = """
import dataclasses
import pytest
@pytest.fixture(scope="session")
def memleak_pair(request):
    return dataclasses.replace(request.param, limits={"bmc": 1.0})
"""


@pytest.mark.parametrize(
    ("conftest", "outcome"),
    [(A_MOCK, "failed"), (ANOTHER_PAIR, "errors")],
    ids=["mock", "pair"],
)
def test_a_fixture_in_the_place_of_ours_passes_for_none(
    pytester, gate, suite, conftest, outcome
):
    suite(answers=2)
    pytester.makeconftest(conftest)
    lines = ["INCONCLUSIVE: the pair wasn't evaluated, since your fixture*"]
    gate("-p", "no:cacheprovider", lines=lines, **{outcome: 1})


def test_an_evaluation_requested_in_a_test_s_body_is_reported(gate, suite, own_tests):
    suite(answers=2)
    tests = f"{ASKING}def test_too(FIXTURE): pass\n"
    own_tests(tests.replace("FIXTURE", EVALUATION), suite="s.memleak.toml")
    result = gate("test_own.py", *REPORTS, "-p", "no:cacheprovider", passed=2)
    assert result.ret == pytest.ExitCode.OK
    reports = read_reports(Path(), result.stdout.str())
    for report, read in READERS.items():
        shown, details = read(reports[report], "m/b")
        assert shown.upper() in {"FAIL", "FAILED"}
        assert "longest_span 512" in details
    assert 'name="memleak.suite_verdict" value="FAIL"' in Path("junit.xml").read_text(
        "utf-8"
    )
