"""The plugin among pytest's own options, other plugins and tests of one's own."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_readers import properties
from suite_files import own_endpoint

CLEAN_ONE = "test.memleak.toml::test_memorization[clean/ferry]"


def test_pairs_are_selected_as_tests_are(pytester, suite, gate, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    suite()
    shown = "test.memleak.toml::test_memorization[[]{}/ferry[]]"
    result = gate(
        "--collect-only", "-q", lines=[shown.format("clean"), shown.format("leaky")]
    )
    assert "memorization =" not in result.stdout.str()
    pytester.makepyfile("def test_other(): pass")
    gate("-m", "copyright", passed=1, failed=1, deselected=1)
    gate("--lf", failed=1)
    gate("-m", "not copyright", passed=1, deselected=2)
    gate(CLEAN_ONE, passed=1)
    gate("-p", "no:memleak", passed=1)
    assert not [
        *Path().glob("**/*.html"),
        *Path().glob("*.md"),
    ]  # but by option and variable


OTHERS = (
    "import pytest\ndef test_other(): pass\n@pytest.mark.skip\ndef test_skipped(): ..."
)


def test_a_run_of_other_tests_mentions_no_pairs(pytester, gate, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "step.md")
    pytester.makepyfile(OTHERS)
    result = gate("-v", "--memleak-html=report.html", passed=1, skipped=1)
    assert "memleak" not in result.stdout.str().replace("memleak-0", "")
    assert not Path("report.html").exists()
    assert not Path("step.md").exists()


TELL = """
import json, sys
from pathlib import Path
def pytest_sessionfinish():
    Path("modules.json").write_text(json.dumps(sorted(sys.modules)))
"""
PLUGIN = ["errors", "plugin", "reports", "reports.line_breaks", "reports.output_table"]
NAMES = ("collect_suites", "end_of_run", "fixtures", "hooks", "options")
PLUGIN += [f"plugin.{name}" for name in NAMES]
HEAVY = {"numpy", "sqlalchemy", "rich", "ebooklib", "lxml", "openai", "torch"}


@pytest.mark.parametrize(
    "options", [("--collect-only",), ("-p", "no:xdist", "test_other.py")]
)
def test_collection_imports_no_heavy_package(pytester, suite, options):
    suite()
    pytester.makepyfile(test_other="def test_it(): pass")
    pytester.makeconftest(TELL)
    assert pytester.runpytest_subprocess(*options).ret == 0
    modules = set(json.loads(Path("modules.json").read_text()))
    assert not modules & {*HEAVY, "pytest_memleak.pipeline.evaluate_pair"}
    # A suite beside other tests is not read with them.
    ours = {name for name in modules if name.partition(".")[0] == "pytest_memleak"}
    plugin = {"pytest_memleak", *(f"pytest_memleak.{name}" for name in PLUGIN)}
    if "test_other.py" in options:
        assert ours == {*plugin, "pytest_memleak.plugin.run_record"}
        assert "pydantic" not in modules
    else:
        assert ours > {*plugin, "pytest_memleak.suite.schema"}


OWN = """
seen = {}
def test_spans(memorization, memleak_pair, memleak_book):
    assert memleak_book.id == memleak_pair.book.id
    assert memorization.words == 31
    assert memorization.longest_span <= 12
def test_before(memorization, memleak_pair):
    seen[memleak_pair.id] = memorization
def test_after(memorization, memleak_pair):
    assert memorization.coverage is seen[memleak_pair.id].coverage
"""


def test_tests_of_ones_own_share_one_evaluation_a_pair(suite, gate, own_tests):
    suite()
    own_tests(OWN)
    lines = ["*longest span of 16 words <= 12", "*leaky/ferry: p_id1, words 0-16*"]
    gate("--junitxml=j.xml", lines=lines, passed=6, failed=2)
    cases = {
        case.get("name"): properties(case)
        for case in ElementTree.parse("j.xml").iter("testcase")
    }
    suites, own = (
        cases["test_memorization[leaky/ferry]"],
        cases["test_before[leaky/ferry]"],
    )
    # By its limits the suite judges; the test passes by its own assertions.
    assert suites["memleak.verdict"] == own["memleak.suite_verdict"] == "FAIL"
    assert own["memleak.suite_verdict.meaning"] == (
        "the verdict on leaky/ferry under the limits of test.memleak.toml is FAIL; "
        "this test passes or fails by its own assertions"
    )
    assert "memleak.verdict" not in own
    assert "memleak.suite_verdict" not in suites


def test_a_fixture_without_a_suite_says_what_is_missing(pytester, gate):
    pytester.makepyfile("def test_it(memorization): pass")
    gate(lines=["*this test needs a suite:*"], errors=1)


def test_an_endpoint_that_breaks_is_inconclusive_without_its_locals(
    pytester, suite, gate
):
    suite()
    pytester.makeconftest(own_endpoint("1 / (instruction == 0)"))
    lines = ["*ZeroDivisionError*"]
    result = gate("-l", "--full-trace", lines=lines, errors=2)
    result.stdout.no_fnmatch_line("*superstition*")


@pytest.mark.skipif(sys.platform == "win32", reason="terminals differ")
def test_control_characters_of_models_and_books_are_escaped(suite, gate):
    evil = "\x1b[31mred\x07 \u202e desrever \x00 <script>alert(1)</script>"
    passage = (
        "The ferryman counted nine lanterns along the quay and did not \x1b[2J like"
    )
    titled = ('id = "ferry"\nsource', 'id = "ferry"\ntitle = "\\u202eyrref"\nsource')
    suite(titled, leaky=(evil, passage, "B"))
    result = gate("--junitxml=out.xml", passed=1, failed=1)
    text = result.stdout.str() + Path("out.xml").read_text(encoding="utf-8")
    assert not set(text) & {"\x1b", "\x07", "\x00", "\u202e"}


def test_suites_and_books_of_one_name_in_two_folders_are_told_apart(
    pytester, suite, gate
):
    for folder in map(pytester.mkdir, "ab"):
        suite()
        book = json.loads(Path("ferry.json").read_text())
        book[0]["excerpt_text"] += f" And so he went home to {folder.name}."
        Path("ferry.json").write_text(json.dumps(book))
        for name in ("test.memleak.toml", "ferry.json", "clean.json", "leaky.json"):
            Path(name).rename(folder / name)
    lines = [f"{folder}/test.memleak.toml *leaky/ferry*FAIL*" for folder in "ab"]
    gate("--junitxml=junit.xml", lines=lines, passed=2, failed=2)
    junit = {
        (entry.get("name"), entry.get("value"))
        for entry in ElementTree.parse("junit.xml").iter("property")
    }
    names = {name for name, _ in junit}
    assert {
        f"memleak.suite.{folder}/test.memleak.toml.sha256" for folder in "ab"
    } < names
    assert len({value for name, value in junit if name == "memleak.book_sha256"}) == 2
