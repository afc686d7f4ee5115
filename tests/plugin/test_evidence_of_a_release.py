"""The bundle is of a release: each pair of the run stands in it, whatever became of its test."""

from pathlib import Path

import pytest
from evidence_files import EVIDENCE, LEAK, WIDE
from ferry import CLEAN
from marks import full
from suite_files import read_bundle

NODE = "test.memleak.toml::test_memorization"


def test_evidence_of_a_whole_release_says_pass(suite, gate):
    suite(WIDE)
    lines = ["evidence: PASS (2 PASS), *evidence.json"]
    gate(EVIDENCE, "--memleak-release=ferry 2.1", lines=lines, passed=2)
    bundle = read_bundle()
    assert (bundle["result"], bundle["release"], bundle["uncollected"]) == (
        "PASS",
        "ferry 2.1",
        [],
    )
    nothing = {"keyword": "", "markers": "", "deselected": []}
    assert bundle["selection"] == nothing | {"arguments": ["."]}
    [clean, _] = bundle["pairs"]
    assert (clean["book"]["title"], clean["book"]["author"]) == ("The Ferry", "Nobody")
    assert len(clean["book"]["file_sha256"]) == 64
    assert clean["tests"] == [{"test": NODE, "outcome": "passed", "reason": ""}]


OF_LEAKY = """
import pytest
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if "leaky" in item.nodeid:
        {}
"""
MARKS = """
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        if "leaky" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason="waits for the new weights"))
"""
IN_ITS_REPORT = """
import pytest
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    report = yield
    if "leaky" in item.nodeid:
        raise ValueError("a reporter's own fault")
    return report
"""
DIES = OF_LEAKY.format("__import__('os')._exit(3)")
INTERRUPTED = "the run was interrupted before its test"
INTERNAL = "an internal error ended the run before its report"
# Options, a conftest, the run's exit status, and why the leaky pair was not run.
NOT_RUN = {
    "-k": (("-k", "clean"), "", 0, "deselected"),
    "-n 2 -k": (("-n", "2", "-k", "clean"), "", 0, "deselected"),
    "--deselect": (("--deselect", f"{NODE}[leaky/ferry]"), "", 0, "deselected"),
    "node id": ((f"{NODE}[clean/ferry]",), "", 0, "none of its tests was selected"),
    "skipped": (
        (),
        OF_LEAKY.format("pytest.skip('counted nine lanterns')"),
        1,
        "skipped",
    ),
    "by mark": ((), MARKS, 0, "skipped: waits for the new weights"),
    "error": (
        (),
        OF_LEAKY.format("raise ValueError"),
        1,
        "an error occurred before the evaluation",
    ),
    "Ctrl-C": ((), OF_LEAKY.format("raise KeyboardInterrupt"), 2, INTERRUPTED),
    "exit": ((), OF_LEAKY.format("pytest.exit('enough')"), 2, INTERRUPTED),
    "dies": (("-n", "1", "--max-worker-restart=0"), DIES, 1, "its test's process died"),
    "dies, -n 2": (("-n", "2"), DIES, 1, "its test's process died"),
    "in its report": ((), IN_ITS_REPORT, 3, INTERNAL),
    "in its report, -n 1": (("-n", "1"), IN_ITS_REPORT, 3, INTERNAL),
}


@pytest.mark.parametrize("how", [full(how) if "-n " in how else how for how in NOT_RUN])
def test_a_pair_that_was_not_run_leaves_the_release_inconclusive(pytester, suite, how):
    options, conftest, status, reason = NOT_RUN[how]
    suite()
    pytester.makeconftest(conftest)
    result = pytester.runpytest(EVIDENCE, *options, no_reraise_ctrlc=True)
    assert result.ret == status
    bundle = read_bundle()
    assert bundle["result"] == "INCONCLUSIVE"
    [clean, leaky] = bundle["pairs"]
    assert (clean["pair"], clean["verdict"]) == ("clean/ferry", "PASS")
    assert (leaky["pair"], leaky["verdict"]) == ("leaky/ferry", "NOT RUN")
    assert leaky["reasons"] == [reason]
    if not conftest:
        assert options[-1] in str(bundle["selection"])


BY_THE_BOOK = """
import json, pathlib
TEXT = json.loads(pathlib.Path("ferry.json").read_text())[0]["excerpt_text"]
@pytest.mark.skipif(True, reason=TEXT)
def test_skipped(memleak_evaluation):
    pass
@pytest.mark.parametrize("line", [TEXT, "a short one"])
def test_by_line(memleak_pair, line):
    pass
"""
FIRST_WORDS = "The ferryman counted nine lanterns along the quay and did not like"
WRITTEN = ("evidence.json", "h.html", "j.xml")


@pytest.mark.parametrize("workers", [(), full(("-n", "1"))])
def test_reasons_and_names_hold_no_line_of_a_book(suite, gate, own_tests, workers):
    suite()
    own_tests(BY_THE_BOOK)
    reports = ("--memleak-html=h.html", "--junitxml=j.xml", "-rA", "-v", *workers)
    result = gate("test_own.py", EVIDENCE, *reports, passed=4, skipped=2)
    written = {name: Path(name).read_text("utf-8") for name in WRITTEN}
    for text in (result.stdout.str(), written["j.xml"]):
        assert f"test_by_line[clean/ferry-{FIRST_WORDS}]" in text
        assert "test_by_line[clean/ferry-a short one]" in text
    # A test that reads no text of the plugin's is reported in full, but not in our own
    # documents.
    for name in ("evidence.json", "h.html"):
        assert f"skipped: {FIRST_WORDS} …" in written[name].replace("\\u2026", "…")
        assert f"{FIRST_WORDS} the" not in written[name]


def test_a_run_that_stops_at_the_first_failure_lists_the_other_pairs_as_not_run(
    suite, gate
):
    passage = "The ferryman counted nine lanterns along the quay and did not like it."
    suite(clean=(passage, *CLEAN[:2]))
    gate(EVIDENCE, "-x", failed=1)
    bundle = read_bundle()
    assert (bundle["result"], bundle["pairs"][1]["verdict"]) == ("FAIL", "NOT RUN")
    assert bundle["pairs"][1]["reasons"] == ["the run ended before its test"]


def test_an_expected_leak_that_is_none_is_a_failure(suite, gate):
    suite(LEAK, leaky=CLEAN)
    shown = "evidence: FAIL (1 PASS, 1 PASS (a leak was expected)), *"
    gate(EVIDENCE, lines=[shown], passed=1, failed=1)
    assert read_bundle()["result"] == "FAIL"


@pytest.mark.parametrize("workers", [(), full(("-n", "1"))], ids=["", "-n 1"])
def test_an_unreadable_suite_or_a_skipped_module_leaves_the_release_inconclusive(
    suite, gate, own_tests, workers
):
    suite(WIDE)
    own_tests("pytest.importorskip('nonesuch')")
    Path("test_unit.py").write_text("__import__('pytest').importorskip('nonesuch')")
    Path("other.memleak.toml").write_text("[suite]\nsample = 3\n", encoding="utf-8")
    gate(EVIDENCE, "--continue-on-collection-errors", *workers)
    bundle = read_bundle()
    assert [pair["verdict"] for pair in bundle["pairs"]] == ["PASS", "PASS"]
    hiding = ["other.memleak.toml", "test_own.py"]
    assert (bundle["uncollected"], bundle["result"]) == (hiding, "INCONCLUSIVE")


def test_a_test_of_one_s_own_that_fails_is_no_pass_and_of_the_book_alone_none(
    suite, gate, own_tests
):
    suite(WIDE)
    own_tests(
        """
        def test_own(memorization):
            assert memorization.longest_span <= 5
        def test_of_the_book_alone(memleak_book):
            assert len(memleak_book.excerpts) == 2
        """
    )
    gate(EVIDENCE, passed=5, failed=1)
    bundle = read_bundle()
    assert [pair["verdict"] for pair in bundle["pairs"]] == ["PASS", "PASS"]
    assert bundle["result"] == "FAIL"
    outcomes = [
        sorted(test["outcome"] for test in pair["tests"]) for pair in bundle["pairs"]
    ]
    assert outcomes == [["passed"] * 2, ["failed", "passed"]]
    gate(EVIDENCE, "test_own.py::test_of_the_book_alone", passed=2)
    not_run = {(pair["verdict"], *pair["reasons"]) for pair in read_bundle()["pairs"]}
    assert not_run == {("NOT RUN", "its tests didn't evaluate it")}
    assert gate(EVIDENCE, "--setup-only").ret == pytest.ExitCode.TESTS_FAILED
    assert {pair["verdict"] for pair in read_bundle()["pairs"]} == {"NOT RUN"}


@pytest.mark.parametrize("option", ["--memleak-dry-run", "--collect-only"])
def test_a_dry_run_or_collection_writes_no_evidence(suite, gate, option):
    suite()
    assert (
        gate(EVIDENCE, "--memleak-html=new/deep/report.html", option).ret
        == pytest.ExitCode.OK
    )
    assert not Path("evidence.json").exists()
    assert not Path("new").exists()
