"""Evidence says PASS only where pytest ended so, whatever another plugin or a conftest does."""

import pytest
from earned_suites import XFAILS_ALL
from evidence_files import EVIDENCE, LEAK, WIDE
from ferry import CLEAN
from marks import full
from suite_files import read_bundle

ENDS = {
    "exit in a test": """
def pytest_runtest_logfinish(nodeid):
    if "leaky" in nodeid:
        pytest.exit("enough", returncode=0)
""",
    "exit at the end": 'def pytest_sessionfinish(): pytest.exit("enough", returncode=4)',
    "exit at the end with 0": 'def pytest_sessionfinish(): pytest.exit("enough", returncode=0)',
    "another status": """
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    session.exitstatus = 1
""",
    "an error at the end": 'def pytest_sessionfinish(): raise OSError("the disk is full")',
    "an error at its teardown": 'def pytest_unconfigure(): raise OSError("the disk is full")',
    "a sink that fails once the bundle is written": """
import pytest_memleak

@pytest_memleak.hookimpl
def memleak_report(run):
    raise OSError("the disk is full")
""",
    "an error in the summary": 'def pytest_terminal_summary(): raise OSError("the disk is full")',
}


@pytest.mark.parametrize("end", ENDS)
def test_a_run_that_ends_otherwise_is_no_pass(pytester, suite, end, verify):
    suite(WIDE)
    pytester.makeconftest("import pytest\n" + ENDS[end])
    result = pytester.runpytest(EVIDENCE, "--memleak-html=report.html")
    assert read_bundle()["result"] == "INCONCLUSIVE"
    code, text = verify()
    assert code == 1
    assert text.startswith("evidence.json: INCONCLUSIVE (2 PASS)")
    assert (
        "pytest ended with exit code"
        in (pytester.path / "report.html").read_text().lower()
    )
    if end != "exit at the end with 0":
        assert result.ret != 0


def test_a_hook_around_ours_has_no_last_word(pytester, suite, gate):
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
    lines = ["evidence: INCONCLUSIVE (2 PASS; pytest ended with exit code 1), *"]
    assert gate(EVIDENCE, ".", lines=lines).ret == 1
    assert read_bundle()["result"] == "INCONCLUSIVE"


def test_a_failing_test_beside_the_pairs_is_no_pass(pytester, suite, gate):
    suite(WIDE)
    pytester.makepyfile("def test_other(): assert False")
    shown = (
        "evidence: INCONCLUSIVE (2 PASS; pytest ended with exit code 1), evidence.json"
    )
    gate(EVIDENCE, ".", lines=[shown], passed=2, failed=1)
    assert read_bundle()["result"] == "INCONCLUSIVE"


SKIPPING = """
import pytest
@pytest.fixture(autouse=True)
def quiet({}):
    pytest.skip("not today")
"""
NO_TEST, NO_LEAK = (
    "def pytest_runtest_protocol(): return True",
    "PASS (a leak was expected)",
)
# A conftest, options, and the verdict on the leaky pair, which no failed test tells.
UNEARNED = {
    "skip": (SKIPPING.format("memleak_evaluation"), (), "FAIL"),
    "skipif": (
        XFAILS_ALL.replace("xfail(", "skipif('0', ") + SKIPPING.format(""),
        (),
        "NOT RUN",
    ),
    "xfail": (XFAILS_ALL, (), "FAIL"),
    "call": ("def pytest_pyfunc_call(): return True", (), "FAIL"),
    "protocol": (NO_TEST, (), "NOT RUN"),
    "protocol, -n": (NO_TEST, ("-n", "1"), "NOT RUN"),
    "plan": ("", ("--setup-plan",), "NOT RUN"),
    "no:skipping": ("", ("-p", "no:skipping"), NO_LEAK),
}


@pytest.mark.parametrize("how", [full(how) if "-n" in how else how for how in UNEARNED])
def test_exit_code_0_takes_results_that_pass(pytester, suite, gate, own_tests, how):
    conftest, options, verdict = UNEARNED[how]
    own = how != "call" and verdict != NO_LEAK  # one's own test is what is called
    suite(
        *[LEAK] * (verdict == NO_LEAK), **{"leaky": CLEAN} if verdict == NO_LEAK else {}
    )
    pytester.makeconftest(conftest)
    own_tests("def test_it(memorization): assert memorization.longest_span <= 10")
    for test in ("test.memleak.toml::test_memorization", "test_own.py::test_it")[
        : 1 + own
    ]:
        line = f"*since 1 test neither passed *: {test}[[]leaky/ferry[]] ({verdict}). Look for *"
        assert (
            gate(test.partition(":")[0], "-k", "leaky", *options, lines=[line]).ret == 1
        )
    plans = "--memleak-dry-run", "--collect-only", "--fixtures-per-test"
    for plan in plans if how == "skip" else ():
        assert gate("-k", "leaky", plan).ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    "part",
    [
        "memleak-end-of-run",
        "memleak-redaction",
        "memleak-run-record",
        "pytest_memleak.plugin.end_of_run",
        "pytest_memleak.plugin.fixtures",
    ],
)
def test_a_part_of_the_plugin_cannot_be_disabled(pytester, suite, gate, part):
    suite()
    pytester.makeconftest(XFAILS_ALL)
    gate(
        "-p", f"no:{part}", usage=[f"*-p no:{part} disables a part of pytest-memleak*"]
    )


def test_a_part_of_a_test_accepts_none(suite, gate, own_tests):
    suite()
    part = "    with subtests.test(): pass\n    __import__('pytest').skip()"
    asks = "    request.getfixturevalue('memleak_evaluation')\n"
    own_tests(
        f"def test_it(memorization, subtests):\n{part}\n"
        f"def test_asks(memleak_pair, request, subtests):\n{asks}{part}"
    )
    for test in ("test_it", "test_asks"):
        assert gate("test_own.py", "-k", f"leaky and {test}").ret == 1
    assert gate("test_own.py", "-k", "clean and test_asks").ret == 0


def test_ctrl_c_at_the_end_is_a_sentence(pytester, suite):
    suite(WIDE)
    pytester.makeconftest("def pytest_sessionfinish(): raise KeyboardInterrupt")
    result = pytester.runpytest_subprocess(EVIDENCE)
    bundle = read_bundle()
    assert (result.ret, len(result.errlines), bundle["result"]) == (
        2,
        1,
        "INCONCLUSIVE",
    )
    assert bundle["exit_status"] == 2


def test_a_hook_cannot_make_a_fail_exit_with_0(pytester, suite):
    suite()
    pytester.makeconftest(
        "import pytest" + ENDS["another status"].replace("= 1", "= 0")
    )
    assert pytester.runpytest(EVIDENCE).ret == 1
    assert read_bundle()["result"] == "FAIL"
