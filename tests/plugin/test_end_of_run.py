"""Evidence says PASS only where pytest ended so, whatever another plugin or a conftest does."""

import json

import pytest
from test_verify import EVIDENCE, WIDE

ENDS = {
    "exit in a test": """
def pytest_runtest_logfinish(nodeid):
    if "leaky" in nodeid:
        pytest.exit("enough", returncode=0)
""",
    "exit at the end": """
def pytest_sessionfinish():
    pytest.exit("enough", returncode=4)
""",
    "exit at the end with 0": """
def pytest_sessionfinish():
    pytest.exit("enough", returncode=0)
""",
    "another status": """
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    session.exitstatus = 1
""",
    "an error at the end": """
def pytest_sessionfinish():
    raise OSError("the disk is full")
""",
    "an error when the run is torn down": """
def pytest_unconfigure():
    raise OSError("the disk is full")
""",
    "a sink that fails once the bundle is written": """
import pytest_memleak

@pytest_memleak.hookimpl
def memleak_report(run):
    raise OSError("the disk is full")
""",
    "an error in the summary": """
def pytest_terminal_summary():
    raise OSError("the disk is full")
""",
}


def result_in(pytester):
    return json.loads((pytester.path / "evidence.json").read_text())["result"]


@pytest.mark.parametrize("end", ENDS)
def test_a_run_that_ends_otherwise_is_no_pass(pytester, suite, end, verify):
    suite(WIDE)
    pytester.makeconftest("import pytest\n" + ENDS[end])
    result = pytester.runpytest(EVIDENCE, "--memleak-html=report.html")
    assert result_in(pytester) == "INCONCLUSIVE"
    code, text = verify()
    assert code == 1
    assert text.startswith("evidence.json: INCONCLUSIVE (2 PASS)")
    assert "pytest ended with exit code" in (pytester.path / "report.html").read_text().lower()
    if end != "exit at the end with 0":
        assert result.ret != 0


def test_a_hook_around_ours_has_no_last_word(pytester, suite):
    """A conftest that is loaded during collection wraps what was registered before."""
    suite(WIDE)
    pytester.mkdir("sub").joinpath("conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
        "def pytest_sessionfinish(session):\n"
        "    result = yield\n"
        "    session.exitstatus = 1\n"
        "    return result\n"
    )
    result = pytester.runpytest(EVIDENCE, ".")
    assert result.ret == 1
    assert result_in(pytester) == "INCONCLUSIVE"
    assert "evidence: INCONCLUSIVE (2 PASS; pytest ended with exit code 1)" in result.stdout.str()


def test_a_failing_test_beside_the_pairs_is_no_pass(pytester, suite):
    suite(WIDE)
    pytester.makepyfile("def test_other(): assert False")
    result = pytester.runpytest(EVIDENCE, ".")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["evidence: INCONCLUSIVE (2 PASS; pytest ended with exit code 1), evidence.json"]
    )
    assert result_in(pytester) == "INCONCLUSIVE"


def test_a_hook_that_makes_a_fail_exit_with_0_leaves_it_a_fail(pytester, suite):
    suite()
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(session):
            session.exitstatus = 0
        """
    )
    pytester.runpytest(EVIDENCE)
    assert result_in(pytester) == "FAIL"
