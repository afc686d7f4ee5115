"""The bundle is of a release: each pair of the run stands in it, whatever became of its test."""

import json

import pytest
from ferry import CLEAN
from marks import full

EVIDENCE = "--memleak-evidence=evidence.json"
WIDE = ("longest_span = 10", "longest_block = 30")
DIES = "if 'leaky' in item.nodeid: __import__('os')._exit(3)"
OF_LEAKY = """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item):
        {}
"""


@pytest.fixture
def bundle(pytester):
    def read():
        return json.loads((pytester.path / "evidence.json").read_text(encoding="utf-8"))

    return read


def told(made):
    """Verdict and reasons of each pair, in order."""
    return [(one["pair"], one["verdict"], one["reasons"]) for one in made["pairs"]]


def not_run(made, reason):
    """Whether the clean pair passed, and the other one was not run for that reason."""
    assert [one[:2] for one in told(made)] == [("clean/ferry", "PASS"), ("leaky/ferry", "NOT RUN")]
    assert made["pairs"][1]["reasons"] == [reason]
    assert made["result"] == "INCONCLUSIVE"
    return True


def test_a_whole_release(pytester, suite, bundle):
    suite(WIDE)
    result = pytester.runpytest(EVIDENCE, "--memleak-release=ferry 2.1")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["evidence: PASS (2 PASS), *evidence.json"])
    made = bundle()
    assert (made["result"], made["release"], made["uncollected"]) == ("PASS", "ferry 2.1", [])
    nothing = {"keyword": "", "markers": "", "deselected": []}
    assert made["selection"] == nothing | {"arguments": ["."]}
    [clean, _] = made["pairs"]
    assert clean["book"]["title"] == "The Ferry"
    assert clean["book"]["author"] == "Nobody"
    assert len(clean["book"]["file_sha256"]) == 64
    assert clean["tests"] == [
        {"test": "test.memleak.toml::test_memorization", "outcome": "passed", "reason": ""}
    ]


@pytest.mark.parametrize(
    ("selected", "reason"),
    [
        (("-k", "clean"), "deselected"),
        full(("-n", "2", "-k", "clean"), "deselected"),
        (("--deselect", "test.memleak.toml::test_memorization[leaky/ferry]"), "deselected"),
        (("test.memleak.toml::test_memorization[clean/ferry]",), "none of its tests was selected"),
    ],
    ids=["-k", "-n 2 -k", "--deselect", "node id"],
)
def test_what_was_not_selected(pytester, suite, bundle, selected, reason):
    suite()
    result = pytester.runpytest(EVIDENCE, *selected)
    assert result.parseoutcomes()["passed"] == 1
    made = bundle()
    assert not_run(made, reason)
    assert selected[-1] in str(made["selection"])


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("if 'leaky' in item.nodeid: pytest.skip('counted nine lanterns')", "skipped"),
        (
            "if 'leaky' in item.nodeid: raise ValueError",
            "an error occurred before the evaluation",
        ),
        ("if 'leaky' in item.nodeid: raise KeyboardInterrupt", "the run was interrupted before it"),
        ("if 'leaky' in item.nodeid: pytest.exit('enough')", "the run was interrupted before it"),
    ],
    ids=["skipped", "error", "Ctrl-C", "exit"],
)
def test_what_did_not_get_that_far(pytester, suite, bundle, what, reason):
    suite()
    pytester.makeconftest(OF_LEAKY.format(what))
    pytester.runpytest(EVIDENCE, no_reraise_ctrlc=True)
    assert not_run(bundle(), reason)


def test_a_mark_s_reason_is_told(pytester, suite, bundle):
    suite()
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                if "leaky" in item.nodeid:
                    item.add_marker(pytest.mark.skip(reason="waits for the new weights"))
        """
    )
    pytester.runpytest(EVIDENCE).assert_outcomes(passed=1, skipped=1)
    assert not_run(bundle(), "skipped: waits for the new weights")


BY_THE_BOOK = """
import json, pathlib, pytest

TEXT = json.loads(pathlib.Path("ferry.json").read_text())[0]["excerpt_text"]

@pytest.mark.skipif(True, reason=TEXT)
@pytest.mark.copyright(suite="test.memleak.toml")
def test_skipped(memleak_evaluation):
    pass

@pytest.mark.parametrize("line", [TEXT, "a short one"])
@pytest.mark.copyright(suite="test.memleak.toml")
def test_by_line(memleak_pair, line):
    pass
"""
FIRST_WORDS = "The ferryman counted nine lanterns along the quay and did not like"
WRITTEN = ("evidence.json", "h.html", "j.xml")


@pytest.mark.parametrize("workers", [(), full(("-n", "1"))])
def test_neither_a_reason_nor_a_name_holds_a_line_of_a_book(pytester, suite, workers):
    suite()
    (pytester.path / "test_own.py").write_text(BY_THE_BOOK, encoding="utf-8")
    reports = ("--memleak-html=h.html", "--junitxml=j.xml", "-rA", "-v", *workers)
    result = pytester.runpytest("test_own.py", EVIDENCE, *reports)
    result.assert_outcomes(passed=4, skipped=2)
    written = {name: (pytester.path / name).read_text("utf-8") for name in WRITTEN}
    for told in (result.stdout.str(), written["j.xml"]):
        assert f"test_by_line[clean/ferry-{FIRST_WORDS}]" in told
        assert "test_by_line[clean/ferry-a short one]" in told
    # A test that reads no text of the plugin's is reported in full, but not in our own documents.
    for name in ("evidence.json", "h.html"):
        assert f"skipped: {FIRST_WORDS} …" in written[name].replace("\\u2026", "…")
        assert f"{FIRST_WORDS} the" not in written[name]


def test_pairs_that_wait_for_money(pytester, online, server, bundle):
    online()
    pytester.runpytest(EVIDENCE).assert_outcomes(skipped=1)
    [pair] = bundle()["pairs"]
    assert pair["reasons"] == [
        "skipped: calls openai: run it with -m copyright or --memleak-allow-paid"
    ]


@pytest.mark.parametrize(
    "workers", [full(("-n", "2")), ("-n", "1", "--max-worker-restart=0")], ids=" ".join
)
def test_a_worker_that_dies(pytester, suite, bundle, workers):
    suite()
    pytester.makeconftest(OF_LEAKY.format(DIES))
    result = pytester.runpytest(EVIDENCE, *workers)
    assert result.ret != 0
    assert not_run(bundle(), "its process died")


@pytest.mark.parametrize("workers", [(), full(("-n", "1"))], ids=["", "-n 1"])
def test_an_exception_inside_reporting(pytester, suite, bundle, workers):
    suite()
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item):
            report = yield
            if "leaky" in item.nodeid:
                raise ValueError("a reporter's own fault")
            return report
        """
    )
    result = pytester.runpytest(EVIDENCE, *workers)
    assert result.ret != 0
    assert not_run(bundle(), "an internal error ended the run before its report")


def test_a_report_sink_that_fails_takes_no_evidence_with_it(pytester, suite, bundle):
    suite(WIDE)
    pytester.makeconftest(
        """
        from pytest_memleak import hookimpl

        @hookimpl
        def memleak_report(run):
            raise ValueError("a sink's own fault")
        """
    )
    pytester.runpytest_subprocess(EVIDENCE)
    assert bundle()["result"] == "PASS"


def test_a_run_that_stops_at_the_first_failure(pytester, suite, bundle):
    suite(
        clean=("The ferryman counted nine lanterns along the quay and did not like it.", *CLEAN[:2])
    )
    pytester.runpytest(EVIDENCE, "-x").assert_outcomes(failed=1)
    made = bundle()
    assert told(made)[1] == ("leaky/ferry", "NOT RUN", ["the run ended before it"])
    assert made["result"] == "FAIL"


def test_an_expected_leak_is_a_pass_and_none_a_failure(pytester, suite, bundle):
    leak = ('id = "leaky"', 'id = "leaky"\nexpected = "leak"')
    suite(leak)
    pytester.runpytest(EVIDENCE).assert_outcomes(passed=1, xfailed=1)
    assert bundle()["result"] == "PASS"
    suite(leak, leaky=CLEAN)
    result = pytester.runpytest(EVIDENCE)
    result.assert_outcomes(passed=1, failed=1)
    assert bundle()["result"] == "FAIL"
    result.stdout.fnmatch_lines(["evidence: FAIL (1 PASS, 1 PASS (a leak was expected)), *"])


@pytest.mark.parametrize("workers", [(), full(("-n", "1"))], ids=["", "-n 1"])
def test_a_suite_that_cannot_be_read_hides_its_pairs(pytester, suite, bundle, workers):
    suite(WIDE)
    (pytester.path / "other.memleak.toml").write_text("[suite]\nsample = 3\n", encoding="utf-8")
    pytester.runpytest(EVIDENCE, "--continue-on-collection-errors", *workers)
    made = bundle()
    assert [one["verdict"] for one in made["pairs"]] == ["PASS", "PASS"]
    assert (made["uncollected"], made["result"]) == (["other.memleak.toml"], "INCONCLUSIVE")


def test_a_test_of_one_s_own_that_fails_is_no_pass(pytester, suite, bundle):
    suite(WIDE)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.copyright(suite="test.memleak.toml")
        def test_own(memorization):
            assert memorization.longest_span <= 5

        @pytest.mark.copyright(suite="test.memleak.toml")
        def test_of_the_book_alone(memleak_book):
            assert len(memleak_book.excerpts) == 2
        """
    )
    pytester.runpytest(EVIDENCE).assert_outcomes(passed=5, failed=1)
    made = bundle()
    assert [one["verdict"] for one in made["pairs"]] == ["PASS", "PASS"]
    assert made["result"] == "FAIL"
    outcomes = [sorted(one["outcome"] for one in pair["tests"]) for pair in made["pairs"]]
    assert outcomes == [["passed"] * 2, ["failed", "passed"]]


def test_tests_that_evaluate_nothing(pytester, suite, bundle):
    suite(WIDE)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.copyright(suite="test.memleak.toml")
        def test_of_the_book_alone(memleak_book):
            assert len(memleak_book.excerpts) == 2
        """
    )
    pytester.runpytest(EVIDENCE, "test_tests_that_evaluate_nothing.py").assert_outcomes(passed=2)
    assert {one[1] for one in told(bundle())} == {"NOT RUN"}
    assert {one[2][0] for one in told(bundle())} == {"its tests evaluate nothing"}


def test_a_run_that_only_sets_up_evaluates_nothing(pytester, suite, bundle):
    suite()
    assert pytester.runpytest(EVIDENCE, "--setup-only").ret == pytest.ExitCode.TESTS_FAILED
    assert {one[1] for one in told(bundle())} == {"NOT RUN"}


@pytest.mark.parametrize("option", ["--memleak-dry-run", "--collect-only"])
def test_nothing_is_written_where_nothing_was_to_run(pytester, suite, option):
    suite()
    pytester.runpytest(EVIDENCE, option)
    assert not (pytester.path / "evidence.json").exists()


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 101])
def test_a_release_s_name_is_one_line(pytester, suite, name):
    suite()
    result = pytester.runpytest(EVIDENCE, f"--memleak-release={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memleak-release: expected a name of at most 100 characters*"])


def test_a_release_s_name_is_for_the_evidence(pytester, suite):
    suite()
    result = pytester.runpytest("--memleak-release=2.1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memleak-release needs --memleak-evidence*"])
