"""Rounds that are alike and that are not, METRICS section 6."""

import itertools
from collections import Counter

import numpy as np
import pytest

from pytest_memleak.scoring.rounds import Exchangeability, exchangeability, random_orders


def covered_words(rng, likely):
    """Of generations that recall 12 words with the probability `likely`."""
    return 12 * (rng.random(likely.shape) < likely)


def test_the_p_of_clumps_is_that_of_all_permutations():
    rows = np.array([[9, 0, 0, 4], [7, 1, 0, 0], [0, 0, 2, 3]])
    observed = (rows.sum(axis=0) ** 2).sum()
    squares = [
        ((np.array(a) + b + c) ** 2).sum()
        for a, b, c in itertools.product(*(itertools.permutations(row) for row in rows.tolist()))
    ]
    expected = np.mean(np.array(squares) >= observed)
    found = [exchangeability(rows, seed=seed).clumped for seed in range(20)]
    assert np.mean(found) == pytest.approx(expected, abs=0.01)


def test_the_p_of_drift_is_that_of_all_orders():
    row = np.array([[1, 3, 3, 4, 2, 6]])

    def correlation(values):
        below = [sum(b < a for b in values) + sum(b == a for b in values) / 2 for a in values]
        return abs(np.corrcoef(below, range(6))[0, 1])

    every = [correlation(order) for order in itertools.permutations(row[0].tolist())]
    expected = np.mean(np.array(every) >= correlation(row[0].tolist()) - 1e-12)
    found = [exchangeability(row, seed=seed).drifting for seed in range(20)]
    assert np.mean(found) == pytest.approx(expected, abs=0.01)


def test_the_p_of_drift_is_of_ranks():
    # Whatever the values are, their order is the same: 2 of 720 orders go as far either way.
    for row in ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 600]):
        found = [exchangeability(np.array([row]), seed=seed).drifting for seed in range(20)]
        assert np.mean(found) == pytest.approx(2 / 720 + 1 / 1000, abs=0.001)


@pytest.mark.full
def test_rounds_that_are_alike_are_seldom_said_not_to_be():
    rng = np.random.default_rng(1)
    likely = 10 ** rng.uniform(-3.5, 0, (60, 1))
    rows = (covered_words(rng, np.tile(likely, 40)) for _ in range(200))
    alike = [exchangeability(row, seed=seed).alike for seed, row in enumerate(rows)]
    assert np.mean(alike) >= 0.97


def test_clumps_are_seen():
    rng = np.random.default_rng(2)
    clumps = np.where(rng.random(100) < 0.1, 0.8, 0.05)
    found = exchangeability(covered_words(rng, np.tile(clumps, (50, 1))))
    assert (found.clumped, found.alike) == (0.001, False)
    # Of more excerpts than pools, all are counted.
    rows = covered_words(rng, np.full((100, 30), 0.3))
    rows[:, 4] = 12
    assert exchangeability(rows, seed=7) == exchangeability(rows, seed=7)
    assert exchangeability(rows).clumped == 0.001


def test_a_model_that_changes_on_the_way_is_seen_even_in_one_excerpt():
    rising = np.arange(0, 100)[None] // 5
    found = exchangeability(rising)
    assert (found.clumped, found.drifting, found.alike) == (1, 0.001, False)
    assert exchangeability(rising[:, ::-1]) == found


def test_where_nothing_is_covered_and_in_one_excerpt_no_clumps_show():
    for shape in ((3, 1), (5, 100)):
        assert exchangeability(np.zeros(shape, dtype=np.int64)) == Exchangeability(1, 1)
    assert exchangeability(np.array([[50] * 3 + [0] * 97])).clumped == 1


def test_the_two_are_taken_together_at_one_per_cent():
    pairs = ((0.006, 1), (0.005, 1), (1, 0.005))
    assert [Exchangeability(*pair).alike for pair in pairs] == [True, False, False]


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1_000])
def test_each_row_is_an_order(n):
    orders = random_orders(np.random.default_rng(0), rows=50, n=n)
    assert orders.shape == (50, n)
    assert (np.sort(orders, axis=1) == np.arange(n)).all()


def test_every_order_is_as_likely_and_seeded():
    orders, again = (random_orders(np.random.default_rng(1), rows=24_000, n=4) for _ in range(2))
    assert (orders == again).all()
    seen = Counter(map(tuple, orders.tolist()))
    assert len(seen) == 24
    assert all(850 < times < 1_150 for times in seen.values())
