"""Rates of passages per round, and their exact intervals."""

from pytest_memleak.scoring.confidence_bounds import clopper_pearson
from pytest_memleak.scoring.passage_rates import passage_rates
from pytest_memleak.scoring.rounds import Rounds


def rates(passages, rounds, n, *, alike=True):
    return passage_rates(passages, Rounds.of(rounds), n=n, alike=alike, confidence=0.95)


def test_a_round_counts_where_its_matches_cover_the_passage_whole():
    # Just it; two matches together; a word short at either end; around it; all of it.
    rounds = {0: [(10, 40)], 1: [(0, 25), (20, 60)], 2: [(11, 40)], 4: [(10, 39)]}
    rounds |= {5: [(0, 10), (40, 80)], 7: [(0, 90)]}
    (rate,) = rates([(10, 40)], rounds, 10)
    assert (rate.start, rate.end, rate.hits, rate.tries) == (10, 40, 3, 10)
    assert (rate.low, rate.high) == clopper_pearson(3, 10, confidence=0.95)
    assert not rate.approximate
    # Several passages, and none.
    result = rates([(0, 5), (50, 80), (200, 230)], {1: [(0, 9)], 3: [(0, 90)]}, 4)
    assert [rate.hits for rate in result] == [2, 1, 0]
    assert [rate.hits for rate in rates([(0, 5)], {}, 3)] == [0]
    assert rates([], {0: [(0, 9)]}, 3) == ()


def test_rounds_that_are_not_exchangeable_count_for_fewer():
    rounds = {r: [(0, 30)] for r in range(20, 40)}
    (rate,) = rates([(0, 30)], rounds, 100, alike=False)
    # Ten blocks of ten, of which two are full: 2 * 8**2 + 8 * 2**2 = 160, times 10 / 9.
    effect = 160 * 10 / 9 / (100 * 0.2 * 0.8)
    assert (rate.hits, rate.tries, rate.approximate) == (20, 100, True)
    assert (rate.low, rate.high) == clopper_pearson(
        20 / effect, 100 / effect, confidence=0.95
    )
    (as_if_alike,) = rates([(0, 30)], rounds, 100)
    assert rate.low < as_if_alike.low < 0.2 < as_if_alike.high < rate.high
    # A design effect never makes more of the rounds.
    evenly = {r: [(0, 30)] for r in range(0, 100, 5)}
    (rate,) = rates([(0, 30)], evenly, 100, alike=False)
    assert (rate.low, rate.high) == clopper_pearson(20, 100, confidence=0.95)
    always = {r: [(0, 30)] for r in range(100)}
    (rate,) = rates([(0, 30)], always, 100, alike=False)
    assert rate.high == 1
