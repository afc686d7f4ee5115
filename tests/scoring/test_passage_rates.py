"""How often a passage comes back, METRICS section 6."""

import numpy as np
import pytest

from pytest_memleak.scoring.quantiles import clopper_pearson
from pytest_memleak.scoring.rounds import Rounds, passage_rates


def rates(passages, rounds, n, *, alike=True):
    return passage_rates(passages, Rounds.of(rounds), n=n, alike=alike, confidence=0.95)


def test_a_round_counts_where_its_matches_cover_the_passage_whole():
    rounds = {
        0: [(10, 40)],  # just it
        1: [(0, 25), (20, 60)],  # two matches together
        2: [(11, 40)],  # a word short
        4: [(10, 39)],
        5: [(0, 10), (40, 80)],
        7: [(0, 90)],
    }
    (rate,) = rates([(10, 40)], rounds, 10)
    assert (rate.start, rate.end, rate.hits, rate.tries) == (10, 40, 3, 10)
    assert (rate.low, rate.high) == clopper_pearson(3, 10, confidence=0.95)
    assert not rate.approximate


def test_several_passages_and_none():
    found = rates([(0, 5), (50, 80), (200, 230)], {1: [(0, 9)], 3: [(0, 90)]}, 4)
    assert [rate.hits for rate in found] == [2, 1, 0]
    assert [rate.hits for rate in rates([(0, 5)], {}, 3)] == [0]
    assert rates([], {0: [(0, 9)]}, 3) == ()


def test_rounds_that_are_not_alike_count_for_fewer():
    rounds = {r: [(0, 30)] for r in range(20, 40)}
    (rate,) = rates([(0, 30)], rounds, 100, alike=False)
    # Ten blocks of ten, of which two are full: 2 * 8**2 + 8 * 2**2 = 160, times 10 / 9.
    effect = 160 * 10 / 9 / (100 * 0.2 * 0.8)
    assert (rate.hits, rate.tries, rate.approximate) == (20, 100, True)
    assert (rate.low, rate.high) == clopper_pearson(20 / effect, 100 / effect, confidence=0.95)
    (as_if_alike,) = rates([(0, 30)], rounds, 100)
    assert rate.low < as_if_alike.low < 0.2 < as_if_alike.high < rate.high


def test_a_design_effect_never_makes_more_of_the_rounds():
    evenly = {r: [(0, 30)] for r in range(0, 100, 5)}
    (rate,) = rates([(0, 30)], evenly, 100, alike=False)
    assert (rate.low, rate.high) == clopper_pearson(20, 100, confidence=0.95)
    always = {r: [(0, 30)] for r in range(100)}
    (rate,) = rates([(0, 30)], always, 100, alike=False)
    assert rate.high == 1


@pytest.mark.parametrize("likely", [0.02, 0.3, 0.97])
def test_the_interval_holds_the_probability(likely):
    rng = np.random.default_rng(int(100 * likely))
    held = []
    for _ in range(400):
        rounds = {r: [(5, 50)] for r in np.flatnonzero(rng.random(60) < likely).tolist()}
        (rate,) = rates([(5, 50)], rounds, 60)
        held.append(rate.low <= likely <= rate.high)
    assert np.mean(held) >= 0.95
