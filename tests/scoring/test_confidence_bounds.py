"""Quantiles against printed tables, and against what they are defined by."""

import math

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.confidence_bounds import (
    clopper_pearson,
    normal_quantile,
    student_quantile,
    student_tail,
)
from pytest_memleak.scoring.detection_limit import detection_confidence

# Student's t, two-sided, as any table prints it.
TABLE = {
    (0.95, 1): 12.706, (0.95, 2): 4.303, (0.95, 4): 2.776, (0.95, 9): 2.262, (0.95, 99): 1.984,
    (0.99, 1): 63.657, (0.99, 3): 5.841, (0.99, 10): 3.169, (0.90, 5): 2.015, (0.50, 1): 1.0,
}  # fmt: skip


@pytest.mark.parametrize(("confidence", "freedom"), TABLE)
def test_students_quantiles_equal_the_tables(confidence, freedom):
    expected = TABLE[confidence, freedom]
    assert student_quantile(confidence, freedom) == pytest.approx(expected, abs=5e-4)


def test_quantiles_and_tails_hold_at_their_ends():
    assert normal_quantile(0.95) == pytest.approx(1.959963984540054)
    assert student_quantile(0.95, 1e7) == pytest.approx(normal_quantile(0.95), rel=1e-6)
    assert student_tail(0, 3) == pytest.approx(0.5)
    assert (student_tail(math.inf, 3), student_tail(-math.inf, 3)) == (0, 1)
    assert student_quantile(0, 4) == 0
    assert clopper_pearson(0, 0, confidence=0.95) == (0, 1)
    assert clopper_pearson(1, 4, confidence=0) == (0.25, 0.25)


@settings(max_examples=examples(200))
@given(st.floats(0.001, 0.9999), st.floats(1, 2_000))
def test_the_tail_is_the_rest_beyond_the_quantile(confidence, freedom):
    t = student_quantile(confidence, freedom)
    assert 2 * student_tail(t, freedom) == pytest.approx(1 - confidence, rel=1e-7)
    assert student_tail(-t, freedom) == pytest.approx(1 - (1 - confidence) / 2)


def binomial_at_least(hits, tries, p):
    return sum(
        math.comb(tries, k) * p**k * (1 - p) ** (tries - k)
        for k in range(hits, tries + 1)
    )


@settings(max_examples=examples(200))
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_where_the_binomial_tails_are(seen):
    hits, tries = seen
    low, high = clopper_pearson(hits, tries, confidence=0.95)
    if hits:
        assert binomial_at_least(hits, tries, low) == pytest.approx(0.025, rel=1e-6)
    else:
        assert low == 0
    if hits < tries:
        assert 1 - binomial_at_least(hits + 1, tries, high) == pytest.approx(
            0.025, rel=1e-6
        )
    else:
        assert high == 1


# Of a hundred tries, of a hundred thousand, and of parts of one.
INTERVALS = {
    (0, 100): (0, 0.0362), (1, 100): (0.0003, 0.0545), (50, 100): (0.3983, 0.6017),
    (50_000, 100_000): (0.4969, 0.5031), (0.4, 7.7): (0.0000, 0.4508), (3.3, 10): (0.0819, 0.6791),
}  # fmt: skip


@pytest.mark.parametrize(("hits", "tries"), INTERVALS)
def test_clopper_pearson_is_the_tables(hits, tries):
    result = clopper_pearson(hits, tries, confidence=0.95)
    assert result == pytest.approx(INTERVALS[hits, tries], abs=5e-5)


@pytest.mark.parametrize("confidence", [-0.1, 1, 95, math.nan])
def test_a_confidence_out_of_range_raises_an_error(confidence):
    with pytest.raises(SettingsError, match="confidence"):
        normal_quantile(confidence)
    with pytest.raises(SettingsError, match="confidence"):
        student_quantile(confidence, 3)
    with pytest.raises(SettingsError, match="confidence"):
        clopper_pearson(1, 2, confidence=confidence)


def test_detection_limits_keep_a_confidence_where_values_alone_gate():
    assert detection_confidence(0.99) == 0.99
    assert detection_confidence(0) == 0.95
