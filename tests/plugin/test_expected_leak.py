"""expected = "leak": a strict xfail."""

import pytest
from ferry import CLEAN

LEAK = ('id = "leaky"', 'id = "leaky"\nexpected = "leak"')


def test_a_leak_that_was_expected_leaves_the_run_green(pytester, suite):
    suite(LEAK)
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*leaky/ferry*FAIL (expected)*"])


def test_one_that_stops_leaking_fails_the_run(pytester, suite):
    suite(LEAK, leaky=CLEAN)
    result = pytester.runpytest("-k", "leaky")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "*XPASS(strict)*leaky is expected to leak ferry*",
            "leaky/ferry *6/6*PASS (a leak was expected)*",
            "leaky/ferry: PASS (a leak was expected)",
            "  This pair must leak, but all limits hold, so its test fails.",
        ]
    )


def test_one_without_evidence_is_still_an_error(pytester, suite):
    suite(LEAK, leaky=CLEAN[:1])
    result = pytester.runpytest("-k", "leaky")
    result.assert_outcomes(errors=1, deselected=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_pair_overrides_its_model(pytester, suite):
    suite(
        ("[[model]]\nid = \"clean\"", '[[pair]]\nmodel = "leaky"\nbook = "ferry"\n'
         'expected = "leak"\n\n[[model]]\nid = "clean"')
    )  # fmt: skip
    pytester.runpytest().assert_outcomes(passed=1, xfailed=1)
