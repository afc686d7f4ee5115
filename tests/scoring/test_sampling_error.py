"""Sampling error and detection limit, docs/method.md: against brute force, or by formulas."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_books import ROUNDS, WORDS, counts_of, covered, rounds_of

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Scoring
from pytest_memleak.scoring.bmc_interval import (
    Spread,
    bmc_bounds,
    difference_bounds,
    spread,
    typical_span,
)
from pytest_memleak.scoring.detection_limit import (
    answers_to_detect,
    detection_limit,
    independent_answers_to_detect,
)
from pytest_memleak.scoring.exchangeability import Exchangeability, random_orders
from pytest_memleak.scoring.maximum_ranges import (
    Range,
    block_range,
    maximum_range,
)
from pytest_memleak.scoring.rarefaction import extrapolation, rarefaction
from pytest_memleak.scoring.round_blocks import (
    blocks_of,
    larger_bmc_variance_over_blocks,
)
from pytest_memleak.scoring.rounds import Rounds
from pytest_memleak.scoring.sampling_error import (
    SamplingError,
    Settling,
    samples_to_settle,
    sampling_error,
)


@settings(max_examples=examples(300))
@given(ROUNDS)
def test_rarefaction_is_the_mean_over_all_subsets(rounds):
    sets = [covered(intervals) for intervals in rounds]
    for m, mean in enumerate(rarefaction(counts_of(rounds)).tolist(), start=1):
        subsets = [set().union(*chosen) for chosen in itertools.combinations(sets, m)]
        expected = sum(map(len, subsets)) / len(subsets) / WORDS
        assert mean == pytest.approx(expected, abs=1e-9)


def test_rarefaction_of_many_rounds_is_stable():
    # With one word for every number of rounds from 0 to n, m rounds leave 1 in m + 1
    # uncovered.
    n = 5_000
    nothing = Rounds.of({}).counts(words=n + 1, n=n)
    counts = dataclasses.replace(nothing, times=np.arange(n + 1, dtype=np.intc))
    m = np.arange(1, n + 1)
    assert np.abs(rarefaction(counts) - m / (m + 1)).max() < 1e-12


def counts_with(*, once, twice, often=0, words=1_000, n=10):
    first = {(0, once), (once, once + twice)}
    ever = {(once + twice, once + twice + often)}
    rounds = {
        0: first | ever,
        1: {(once, once + twice)} | ever,
        **dict.fromkeys(range(2, n), ever),
    }
    return Rounds.of(rounds).counts(words=words, n=n)


def test_extrapolation_is_chao2():
    curve = extrapolation(counts_with(once=40, twice=20, often=100)).bmc
    unseen = 9 / 10 * 40**2 / (2 * 20)
    rate = 40 / (10 * unseen + 40)
    expected = [(160 + unseen * (1 - (1 - rate) ** t)) / 1_000 for t in range(1, 11)]
    assert curve.tolist() == pytest.approx(expected, abs=1e-12)
    # Without words covered twice:
    curve = extrapolation(counts_with(once=10, twice=0)).bmc
    unseen = 9 / 10 * 10 * 9 / 2
    expected = (10 + unseen * (1 - (1 - 10 / (10 * unseen + 10)) ** 10)) / 1_000
    assert curve[-1] == pytest.approx(expected, abs=1e-12)
    # It ends with the book.
    assert extrapolation(counts_with(once=60, twice=1, words=61, often=0)).bmc[-1] == 1
    assert extrapolation(counts_with(once=60, twice=1, words=70)).bmc[-1] <= 1
    assert (
        extrapolation(counts_with(once=0, twice=5, often=5)).bmc.tolist() == [0.01] * 10
    )
    assert extrapolation(counts_with(once=0, twice=0)).bmc.tolist() == [0.0] * 10


SCORING = Scoring(k=5, span_threshold=20)
Z = 1.959963984540054
NO_BORDERS = np.empty(0, dtype=np.intp)


def bounds_of(counts, *, confidence=0.95, alike=True):
    return bmc_bounds(
        counts.bmc, spread(counts, scoring=SCORING, alike=alike), confidence=confidence
    )


def test_the_interval_is_the_jackknifes_with_students_t_and_two_spans():
    counts = counts_of([{(0, 10), (20, 26)}, {(0, 10)}, {(5, 12)}, set()])
    bmc = [18, 12, 16, 18]  # without each round
    jackknife = 3 / 4 * sum((value - 16) ** 2 for value in bmc) / WORDS**2
    typical = math.sqrt((10**2 + 7**2 + 6**2) / 3) / WORDS
    t = 3.182446305284263  # three degrees of freedom
    down = math.sqrt(t * t * jackknife + 2 * Z * Z * typical**2)
    up = Z * Z / 2 * typical + math.sqrt(t * t * jackknife + Z**4 / 4 * typical**2)
    assert down < up
    assert spread(counts, scoring=SCORING) == pytest.approx((jackknife, 4, typical))
    small = Spread(jackknife / 400, 4, typical / 20)  # so that nothing is clipped
    low, high = bmc_bounds(0.45, small, confidence=0.95)
    assert (low, high) == pytest.approx((0.45 - down / 20, 0.45 + up / 20))
    assert bounds_of(counts) == pytest.approx(
        (max(0, 18 / 40 - down), min(1, 18 / 40 + up))
    )


@pytest.mark.parametrize("threshold", [8, 20, 200])
def test_the_span_threshold_does_not_change_the_interval_of_no_coverage(threshold):
    scoring = Scoring(k=5, span_threshold=threshold)
    for n in (2, 4, 100):
        error = sampling_error(Rounds.of({}).counts(words=1_000, n=n), scoring=scoring)
        assert (error.low, error.high) == pytest.approx((0, Z * Z * 20 / 1_000))
    assert spread(counts_of([set()]), scoring=Scoring(k=30)).typical == 30 / WORDS


@given(
    ROUNDS.filter(lambda rounds: len(rounds) > 1), st.floats(0, 0.999), st.booleans()
)
def test_the_interval_holds_the_value(rounds, confidence, alike):
    counts = counts_of(rounds)
    low, high = bounds_of(counts, confidence=confidence, alike=alike)
    assert 0 <= low <= counts.bmc <= high <= 1


def test_confidence_0_gives_the_value_and_one_round_no_bounds():
    assert bounds_of(counts_of([{(0, 10)}, {(0, 10)}]), confidence=0) == (0.25, 0.25)
    assert bounds_of(counts_of([{(0, 10)}])) == (0, 1)
    for confidence, bounds in ((0, (0.1, 0.1)), (0.95, (-1, 1))):
        unknown = Spread(None, 1, 0.1)
        assert (
            difference_bounds(0.1, unknown, typical_less=0.1, confidence=confidence)
            == bounds
        )


def test_the_typical_span_is_of_one_round_and_counted_once():
    counts = counts_of([{(0, 4), (10, 12)}, {(4, 6), (10, 12), (1, 3)}])
    assert typical_span(counts, scoring=SCORING) == pytest.approx(
        math.sqrt((16 + 4 + 4) / 3) / WORDS
    )


def test_a_book_reproduced_whole_has_a_narrow_interval():
    recited = Rounds.of({number: {(0, 1_000)} for number in range(10)})
    counts = recited.counts(words=1_000, n=10, excerpt_starts=range(0, 1_000, 50))
    assert counts.spans.tolist() == [50] * 20
    low, high = bounds_of(counts)
    assert (round(low, 3), high) == (0.861, 1.0)


def in_moods(*, rounds=100, excerpts=20, likely=0.3, mood=10, seed=0):
    """Runs of `mood` rounds in which every excerpt's passage comes, or none does."""
    rng = np.random.default_rng(seed)
    recites = np.repeat(rng.random(rounds // mood) < likely, mood)
    places = [(50 * number, 50 * number + 30) for number in range(excerpts)]
    covered = Rounds.of(dict.fromkeys(np.flatnonzero(recites).tolist(), places))
    by_excerpt = np.tile(np.where(recites, 30, 0), (excerpts, 1))
    return covered.counts(words=5_000, n=rounds, by_excerpt=by_excerpt)


def test_rounds_in_phases_are_replaced_by_blocks():
    error = sampling_error(in_moods())
    assert not error.likeness.alike
    assert error.blocks == 10
    assert error.detection == pytest.approx(1 - 0.05 ** (1 / 10))
    as_if_alike = bounds_of(in_moods())
    assert error.low <= as_if_alike.low
    assert error.high >= as_if_alike.high


def test_the_variance_of_rounds_in_phases_is_the_largest_of_three():
    few_blocks = in_moods()
    over_blocks = larger_bmc_variance_over_blocks(few_blocks)
    assert over_blocks > spread(few_blocks, scoring=SCORING).variance
    not_alike = spread(few_blocks, scoring=SCORING, alike=False)
    assert (not_alike.variance, not_alike.units) == (over_blocks, 10)
    one_word_a_round = counts_of([{(r, r + 1)} for r in (0, 0, 1)])
    over_rounds = spread(one_word_a_round, scoring=SCORING).variance
    not_alike = spread(one_word_a_round, scoring=SCORING, alike=False)
    assert not_alike.variance == max(
        over_rounds, larger_bmc_variance_over_blocks(one_word_a_round)
    )


def test_detection_is_that_of_the_excerpt_with_fewest_answers():
    error = sampling_error(Rounds.of({}).counts(words=1_000, n=100))
    assert error.detection == pytest.approx(0.0295, abs=5e-5)
    assert error.with_answers(59).detection == pytest.approx(0.0495, abs=5e-5)
    assert error.with_answers(0).detection == 1
    few = sampling_error(in_moods()).with_answers(4)
    assert few.detection == pytest.approx(1 - 0.05 ** (1 / 4))
    # Point values are as sensitive as any.
    counts = Rounds.of({}).counts(words=1_000, n=59)
    assert sampling_error(counts, confidence=0).detection == pytest.approx(
        0.0495, abs=5e-5
    )


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
        "likeness": Exchangeability(1.0, 1.0), "blocks": None, "detection": 0.03,
        "curve": (), "variance": 0.01**2, "typical": 0.0001,
        "guess": tuple(0.10 + 0.0004 * t for t in range(1, 101)), "discovery": (1.0,) * 100,
    }  # fmt: skip
    return SamplingError(**(steady | changes))


def test_samples_to_settle_follow_the_extrapolation():
    assert samples_to_settle(error_with(), 0.09) == Settling(0, over=True)
    assert samples_to_settle(error_with(), 0.12) == Settling(0, over=False)
    growing = samples_to_settle(error_with(), 0.11)
    assert growing.over
    assert 25 < growing.samples < 40  # the curve is there after 25
    level = {"guess": (0.10,) * 100}
    flat = samples_to_settle(
        error_with(**level, discovery=tuple(0.95**t for t in range(1, 101))), 0.11
    )
    assert not flat.over
    assert 0 < flat.samples < 60
    # A curve that ends before the limit says nothing.
    assert samples_to_settle(error_with(**level), 0.11) is None
    assert samples_to_settle(error_with(**level, variance=None), 0.11) is None


def test_the_low_end_is_what_nearly_every_half_has_and_the_high_two_typical_spans_away():
    # Of 8 rounds 5 have 30 words or more, so that every half has.
    assert maximum_range([30, 30, 40, 40, 90, 0, 0, 0], typical=5, most=500) == Range(
        30, 150
    )
    # The one lucky round is in half of the halves, the next in three of four.
    assert maximum_range([90, 60, *[8] * 98], typical=5, most=500).low == 8
    assert maximum_range([50] * 10, typical=12.3, most=500) == Range(50, 75)
    assert maximum_range([50] * 10, typical=12.3, most=60) == Range(50, 60)
    # Nothing seen, and a single round.
    assert maximum_range([0] * 100, typical=20, most=500) == Range(0, 40)
    assert maximum_range([33], typical=33, most=500) == Range(0, 99)
    nothing = block_range(
        Rounds.of({}), n=10, borders=NO_BORDERS, typical=20, words=500
    )
    assert nothing == Range(0, 40)
    values = np.random.default_rng(0).integers(0, 99, 20)
    assert (
        len({maximum_range(values, typical=1, most=500, seed=seed) for seed in (5, 5)})
        == 1
    )


def longest_run(places, borders):
    longest = 0
    for first in sorted(places):
        length = 1
        while first + length in places and first + length not in borders:
            length += 1
        longest = max(longest, length)
    return longest


@given(ROUNDS, st.sets(st.integers(1, WORDS - 1), max_size=3))
def test_blocks_of_halves_are_those_of_sets(rounds, borders):
    n = len(rounds)
    sets = list(map(covered, rounds))
    halves = random_orders(np.random.default_rng(0), rows=200, n=n) < n // 2
    of_halves = [
        longest_run(set().union(*itertools.compress(sets, half)), borders)
        for half in halves
    ]
    observed = longest_run(set().union(*sets), borders)
    low = math.floor(np.quantile(of_halves, 0.025))
    places = np.array(sorted(borders), dtype=np.intp)
    result = block_range(
        rounds_of(rounds), n=n, borders=places, typical=1.2, words=WORDS
    )
    assert result == Range(low, min(WORDS, observed + max(observed - low, 3)))


@pytest.mark.parametrize(("answers", "expected"), [(1, 0.95), (59, 0.05), (299, 0.010)])
def test_the_detection_limit_is_the_rate_seen_at_that_confidence(answers, expected):
    d = detection_limit(answers, confidence=0.95)
    assert d == pytest.approx(expected, rel=0.02)
    assert 1 - (1 - d) ** answers == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("probability", "answers"),
    [(1, 1), (0.95, 1), (0.26, 10), (0.05, 59), (0.03, 99), (0.01, 299)],
)
def test_answers_to_detect_invert_the_detection_limit(probability, answers):
    assert independent_answers_to_detect(probability, confidence=0.95) == answers
    assert detection_limit(answers, confidence=0.95) <= probability
    if answers > 1:
        assert detection_limit(answers - 1, confidence=0.95) > probability


def test_as_many_answers_as_a_probability_came_from_detect_it():
    for answers in range(1, 400):
        limit = detection_limit(answers, confidence=0.9)
        assert independent_answers_to_detect(limit, confidence=0.9) == answers
    # No answer sees nothing, and no confidence asks for none.
    assert detection_limit(0, confidence=0.95) == 1
    assert detection_limit(10, confidence=0) == 0


def test_settings_out_of_range_raise_an_error():
    for probability in (0, 5e-324, -0.1, 1.1, math.nan, math.inf):
        with pytest.raises(SettingsError, match="detection_limit"):
            independent_answers_to_detect(probability, confidence=0.95)
    for confidence in (-0.1, 1, math.nan):
        for limit in (detection_limit, independent_answers_to_detect):
            with pytest.raises(SettingsError, match="confidence"):
                limit(1, confidence=confidence)


def test_rounds_that_are_not_exchangeable_need_as_many_blocks():
    assert answers_to_detect(0.05, confidence=0.95, exchangeable=True) == 59
    for probability in (0.9, 0.5, 0.26, 0.1, 0.05):
        rounds = answers_to_detect(probability, confidence=0.95, exchangeable=False)
        blocks = [int(blocks_of(n)[-1]) + 1 for n in range(1, rounds + 1)]
        wanted = independent_answers_to_detect(probability, confidence=0.95)
        assert blocks[-1] >= wanted
        assert all(block < wanted for block in blocks[:-1])
