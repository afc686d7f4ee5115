"""The permutation test of rounds, against all permutations and known models."""

import itertools
from collections import Counter

import numpy as np
import pytest

from pytest_memleak.scoring.exchangeability import (
    Exchangeability,
    exchangeability,
    random_orders,
)


def covered_words(rng, likely):
    """Of generations that recall 12 words with the probability `likely`."""
    return 12 * (rng.random(likely.shape) < likely)


def test_the_p_of_clumps_is_that_of_all_permutations():
    rows = np.array([[9, 0, 0, 4], [7, 1, 0, 0], [0, 0, 2, 3]])
    observed = (rows.sum(axis=0) ** 2).sum()
    squares = [
        ((np.array(a) + b + c) ** 2).sum()
        for a, b, c in itertools.product(
            *(itertools.permutations(row) for row in rows.tolist())
        )
    ]
    expected = np.mean(np.array(squares) >= observed)
    results = [exchangeability(rows, seed=seed).clumped for seed in range(20)]
    assert np.mean(results) == pytest.approx(expected, abs=0.01)


def test_the_p_of_drift_is_that_of_all_orders():
    row = np.array([[1, 3, 3, 4, 2, 6]])

    def correlation(values):
        below = [
            sum(b < a for b in values) + sum(b == a for b in values) / 2 for a in values
        ]
        return abs(np.corrcoef(below, range(6))[0, 1])

    every = [correlation(order) for order in itertools.permutations(row[0].tolist())]
    expected = np.mean(np.array(every) >= correlation(row[0].tolist()) - 1e-12)
    results = [exchangeability(row, seed=seed).drifting for seed in range(20)]
    assert np.mean(results) == pytest.approx(expected, abs=0.01)
    # It is of ranks.
    # Whatever the values are, their order is the same: 2 of 720 orders go as far either
    # way.
    for row in ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 600]):
        results = [
            exchangeability(np.array([row]), seed=seed).drifting for seed in range(20)
        ]
        assert np.mean(results) == pytest.approx(2 / 720 + 1 / 1000, abs=0.001)


@pytest.mark.full
def test_exchangeable_rounds_are_seldom_rejected():
    rng = np.random.default_rng(1)
    likely = 10 ** rng.uniform(-3.5, 0, (60, 1))
    rows = (covered_words(rng, np.tile(likely, 40)) for _ in range(200))
    assert (
        np.mean(
            [exchangeability(row, seed=seed).alike for seed, row in enumerate(rows)]
        )
        >= 0.97
    )


def test_clumped_rounds_are_not_exchangeable():
    rng = np.random.default_rng(2)
    clumps = np.where(rng.random(100) < 0.1, 0.8, 0.05)
    result = exchangeability(covered_words(rng, np.tile(clumps, (50, 1))))
    assert (result.clumped, result.alike) == (0.001, False)
    # Of more excerpts than pools, all are counted.
    rows = covered_words(rng, np.full((100, 30), 0.3))
    rows[:, 4] = 12
    assert exchangeability(rows, seed=7) == exchangeability(rows, seed=7)
    assert exchangeability(rows).clumped == 0.001


def test_drift_is_seen_even_in_one_excerpt():
    rising = np.arange(0, 100)[None] // 5
    result = exchangeability(rising)
    assert (result.clumped, result.drifting, result.alike) == (1, 0.001, False)
    assert exchangeability(rising[:, ::-1]) == result


def test_one_excerpt_and_no_coverage_show_no_clumps():
    for shape in ((3, 1), (5, 100)):
        assert exchangeability(np.zeros(shape, dtype=np.int64)) == Exchangeability(1, 1)
    assert exchangeability(np.array([[50] * 3 + [0] * 97])).clumped == 1
    # The two are taken together at one per cent.
    pairs = ((0.006, 1), (0.005, 1), (1, 0.005))
    assert [Exchangeability(*pair).alike for pair in pairs] == [True, False, False]


def test_random_orders_are_uniform_and_seeded():
    for n in (1, 2, 7, 64, 1_000):
        orders = random_orders(np.random.default_rng(0), rows=50, n=n)
        assert (np.sort(orders, axis=1) == [[*range(n)]] * 50).all()
    orders, again = (
        random_orders(np.random.default_rng(1), rows=24_000, n=4) for _ in range(2)
    )
    assert (orders == again).all()
    seen = Counter(map(tuple, orders.tolist()))
    assert len(seen) == 24
    assert all(850 < times < 1_150 for times in seen.values())
