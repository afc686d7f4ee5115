"""Sampling error, METRICS section 6: exact parts against brute force, the rest by its formulas."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Scoring
from pytest_memleak.scoring.rounds import RoundCounts, Rounds, round_counts
from pytest_memleak.scoring.sampling_error import (
    SamplingError,
    Settling,
    bmc_bounds,
    difference_bounds,
    expected_maximum,
    extrapolation,
    rarefaction,
    samples_to_settle,
    sampling_error,
    typical_span,
)

WORDS = 40
INTERVALS = st.sets(
    st.tuples(st.integers(0, WORDS - 1), st.integers(1, 12)).map(
        lambda at: (at[0], min(WORDS, at[0] + at[1]))
    ),
    max_size=3,
)
ROUNDS = st.lists(INTERVALS, min_size=1, max_size=7)


def counts_of(rounds, words=WORDS):
    return round_counts(dict(enumerate(rounds)), words=words, n=len(rounds))


def covered(intervals):
    return {place for start, end in intervals for place in range(start, end)}


# --- rarefaction and maxima ----------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(ROUNDS)
def test_rarefaction_is_the_mean_over_all_subsets(rounds):
    sets = [covered(intervals) for intervals in rounds]
    for m, mean in enumerate(rarefaction(counts_of(rounds)).tolist(), start=1):
        subsets = [set().union(*chosen) for chosen in itertools.combinations(sets, m)]
        expected = sum(map(len, subsets)) / len(subsets) / WORDS
        assert mean == pytest.approx(expected, abs=1e-9)


def test_rarefaction_of_many_rounds_is_stable():
    # With one word for every number of rounds from 0 to n, m rounds leave 1 in m + 1 uncovered.
    n = 5_000
    counts = RoundCounts(
        n + 1, n, np.arange(n + 1, dtype=np.intc), np.zeros(n, dtype=np.int64), np.zeros(0, np.intp)
    )
    m = np.arange(1, n + 1)
    assert np.abs(rarefaction(counts) - m / (m + 1)).max() < 1e-12


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_expected_maximum_is_the_mean_over_all_subsets(values):
    for m, mean in enumerate(expected_maximum(values).tolist(), start=1):
        maxima = [max(chosen) for chosen in itertools.combinations(values, m)]
        assert mean == pytest.approx(sum(maxima) / len(maxima), abs=1e-9)


# --- extrapolation -------------------------------------------------------------------------


def counts_with(*, once, twice, often=0, words=1_000, n=10):
    times = np.zeros(words, dtype=np.intc)
    times[: once + twice + often] = [1] * once + [2] * twice + [n] * often
    alone = np.zeros(n, dtype=np.int64)
    alone[0] = once
    return RoundCounts(words, n, times, alone, np.ones(once + twice + often, dtype=np.intp))


def test_extrapolation_is_chao2():
    curve = extrapolation(counts_with(once=40, twice=20, often=100))
    unseen = 9 / 10 * 40**2 / (2 * 20)
    rate = 40 / (10 * unseen + 40)
    expected = [(160 + unseen * (1 - (1 - rate) ** t)) / 1_000 for t in range(1, 11)]
    assert curve.tolist() == pytest.approx(expected, abs=1e-12)


def test_extrapolation_without_words_covered_twice():
    curve = extrapolation(counts_with(once=10, twice=0))
    unseen = 9 / 10 * 10 * 9 / 2
    expected = (10 + unseen * (1 - (1 - 10 / (10 * unseen + 10)) ** 10)) / 1_000
    assert curve[-1] == pytest.approx(expected, abs=1e-12)


def test_extrapolation_ends_with_the_book():
    assert extrapolation(counts_with(once=60, twice=1, words=61, often=0))[-1] == 1
    assert extrapolation(counts_with(once=60, twice=1, words=70))[-1] <= 1
    assert extrapolation(counts_with(once=0, twice=5, often=5)).tolist() == [0.01] * 10
    assert extrapolation(counts_with(once=0, twice=0)).tolist() == [0.0] * 10


# --- intervals -----------------------------------------------------------------------------

SCORING = Scoring(k=5, span_threshold=20)


def test_the_normal_interval_is_the_jackknifes_and_two_spans():
    counts = counts_of([{(0, 10), (20, 26)}, {(0, 10)}, {(5, 12)}, set()])
    bmc = [18, 12, 16, 18]  # without each round
    jackknife = 3 / 4 * sum((one - 16) ** 2 for one in bmc) / WORDS**2
    run = (12**2 + 6**2) / 2 / WORDS**2
    half = 1.959963984540054 * math.sqrt(jackknife + 2 * run)
    low, high = bmc_bounds(counts, scoring=SCORING, confidence=0.95, shape="normal")
    assert (low, high) == pytest.approx((max(0, 18 / 40 - half), min(1, 18 / 40 + half)))


def test_where_nothing_is_covered():
    counts = round_counts({}, words=1_000, n=4)
    z = 1.959963984540054
    normal = bmc_bounds(counts, scoring=SCORING, confidence=0.95, shape="normal")
    assert normal == pytest.approx((0, z * math.sqrt(2) * 5 / 1_000))
    skewed = bmc_bounds(counts, scoring=SCORING, confidence=0.95)
    assert skewed == pytest.approx((0, z * z * 20 / 1_000))


@given(ROUNDS.filter(lambda rounds: len(rounds) > 1), st.floats(0, 0.999))
def test_both_intervals_hold_the_value_and_where_spans_stand_apart_the_skewed_the_normal(
    rounds, confidence
):
    counts = counts_of(rounds)
    normal = bmc_bounds(counts, scoring=SCORING, confidence=confidence, shape="normal")
    skewed = bmc_bounds(counts, scoring=SCORING, confidence=confidence)
    assert 0 <= skewed.low <= counts.bmc <= skewed.high <= 1
    assert 0 <= normal.low <= counts.bmc <= normal.high <= 1
    edges = np.diff(counts.times > 0, prepend=False, append=False)
    if edges.sum() == 2 * len(counts.spans):  # no two spans make one run of covered words
        assert skewed.low <= normal.low
        assert normal.high <= skewed.high


def test_no_confidence_is_the_value_itself():
    counts = counts_of([{(0, 10)}, {(0, 10)}])
    assert bmc_bounds(counts, scoring=SCORING, confidence=0) == (0.25, 0.25)
    assert difference_bounds(0.1, None, 0.1, 0.1, confidence=0) == (0.1, 0.1)


def test_one_round_says_nothing_of_its_error():
    counts = counts_of([{(0, 10)}])
    assert bmc_bounds(counts, scoring=SCORING, confidence=0.95) == (0, 1)
    assert difference_bounds(0.1, None, 0.1, 0.1, confidence=0.95) == (-1, 1)


@pytest.mark.parametrize("confidence", [-0.1, 1, 95, math.nan])
def test_a_confidence_out_of_range_is_refused(confidence):
    with pytest.raises(SettingsError, match="confidence"):
        bmc_bounds(counts_of([set()]), scoring=SCORING, confidence=confidence)


def test_the_typical_span_is_of_one_round_and_counted_once():
    counts = counts_of([{(0, 4), (10, 12)}, {(4, 6), (10, 12), (1, 3)}])
    assert typical_span(counts, where_none=9) == pytest.approx(math.sqrt((16 + 4 + 4) / 3) / WORDS)
    assert typical_span(counts_of([set()]), where_none=9) == 9 / WORDS


def test_a_book_that_is_recited_whole_is_known_to_be():
    recited = Rounds.of({number: {(0, 1_000)} for number in range(10)})
    counts = recited.counts(words=1_000, n=10, borders=range(0, 1_000, 50))
    assert counts.spans.tolist() == [50] * 20
    low, high = bmc_bounds(counts, scoring=SCORING, confidence=0.95)
    assert (round(low, 3), high) == (0.861, 1.0)
    assert bmc_bounds(counts, scoring=SCORING, confidence=0.95, shape="normal").low == 0.0


# --- all of it -----------------------------------------------------------------------------


@given(ROUNDS)
def test_the_curve_ends_at_the_value_and_goes_on_from_there(rounds):
    error = sampling_error(counts_of(rounds))
    assert len(error.curve) == len(error.guess) == error.rounds == len(rounds)
    assert error.curve[-1] == pytest.approx(error.bmc, abs=1e-12)
    curve = [0, *error.curve, *error.guess]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(curve))
    assert error.low <= error.bmc <= error.high
    assert curve[-1] <= 1


def error_with(**changes):
    steady = {
        "bmc": 0.10, "rounds": 100, "confidence": 0.95, "low": 0.09, "high": 0.12,
        "curve": (), "variance": 0.01**2, "typical": 0.0001,
        "guess": tuple(0.10 + 0.0004 * t for t in range(1, 101)), "discovery": (1.0,) * 100,
    }  # fmt: skip
    return SamplingError(**(steady | changes))


def test_what_is_settled_needs_no_samples():
    assert samples_to_settle(error_with(), 0.09) == Settling(0, over=True)
    assert samples_to_settle(error_with(), 0.12) == Settling(0, over=False)


def test_a_growing_curve_settles_that_it_is_over():
    settling = samples_to_settle(error_with(), 0.11)
    assert settling.over
    assert 25 < settling.samples < 40  # the curve is there after 25


def test_a_flat_curve_settles_that_it_is_within():
    flat = {"guess": (0.10,) * 100, "discovery": tuple(0.95**t for t in range(1, 101))}
    settling = samples_to_settle(error_with(**flat), 0.11)
    assert not settling.over
    assert 0 < settling.samples < 60


def test_a_curve_that_ends_before_the_limit_says_nothing():
    assert samples_to_settle(error_with(guess=(0.10,) * 100), 0.11) is None
    assert samples_to_settle(error_with(guess=(0.10,) * 100, variance=None), 0.11) is None
