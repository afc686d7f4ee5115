"""The verdict over a table of situations."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from situations import (
    BOOK,
    DRAWN,
    FAIL,
    INCONCLUSIVE,
    PASS,
    SITUATIONS,
    WHOLE,
    analysis,
    completeness,
    says,
)

from pytest_memleak.records import Generation, Issue, Limits, Scoring
from pytest_memleak.scoring.analysis import analyze
from pytest_memleak.verdict.judge import check_limits, judge


@pytest.mark.parametrize(
    ("found", "evidence", "limits", "verdict", "reasons"), SITUATIONS
)
def test_the_verdict_and_its_reasons(found, evidence, limits, verdict, reasons):
    verdict_result = judge(found, evidence, limits)
    assert verdict_result.verdict is verdict
    assert says(verdict_result.reasons, reasons), verdict_result.reasons


def test_a_limit_in_doubt_says_how_sure_it_is_and_what_would_settle_it():
    verdict_result = judge(analysis(bmc=0.1234, high=0.2345), WHOLE, Limits(bmc=0.1567))
    assert verdict_result.reasons[0] == (
        "bmc 0.1234 is within its limit 0.1567, but its 95% upper bound is 0.2345 (10 "
        "samples); "
        "test more of the book, add samples, or raise the limit"
    )
    # An issue is told with what to do about it.
    issue = Issue("short", "6 are short", "raise max_short")
    evidence = dataclasses.replace(WHOLE, issues=(issue,))
    reasons = judge(analysis(), evidence, Limits(bmc=0.1)).reasons
    assert reasons == ("6 are short; raise max_short",)


def test_with_confidence_zero_only_the_observed_value_counts():
    generations = [Generation("p1", 0, "a b c d e"), *DRAWN[1:]]
    for confidence, verdict in ((0.0, PASS), (0.95, INCONCLUSIVE)):
        result = analyze(BOOK, generations, Scoring(), confidence=confidence)
        verdict_result = judge(result, WHOLE, Limits(bmc=result.measurement.bmc))
        assert verdict_result.verdict is verdict


def test_a_limit_stands_beside_its_measure():
    result = judge(
        analysis(bmc=0.1, high=0.12, block=7), WHOLE, Limits(bmc=0.15, longest_block=9)
    )
    checks = [
        (check.measure, check.value, check.limit, check.high) for check in result.checks
    ]
    assert checks == [("bmc", 0.1, 0.15, 0.12), ("longest_block", 7, 9, 7)]
    assert check_limits({}, Limits(bmc=0.1)) == ()


VALUES = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])


@given(VALUES, VALUES, VALUES, st.integers(99, 100), st.lists(st.text(), max_size=2))
def test_a_pass_needs_all_evidence_within_all_limits(bmc, more, limit, got, issues):
    high = min(1.0, bmc + more)
    evidence = completeness(received=got, issues=issues)
    verdict = judge(analysis(bmc=bmc, high=high), evidence, Limits(bmc=limit)).verdict
    if bmc > limit:
        assert verdict is FAIL
    elif high > limit or got < 100 or issues:
        assert verdict is INCONCLUSIVE
    else:
        assert verdict is PASS
