"""Random orders are orders, and every one is as likely."""

from collections import Counter

import numpy as np
import pytest

from pytest_memleak.scoring.exchangeability import random_orders


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1_000])
def test_each_row_is_an_order(n):
    orders = random_orders(np.random.default_rng(0), rows=50, n=n)
    assert orders.shape == (50, n)
    assert (np.sort(orders, axis=1) == np.arange(n)).all()


def test_every_order_is_as_likely():
    orders = random_orders(np.random.default_rng(1), rows=24_000, n=4)
    seen = Counter(map(tuple, orders.tolist()))
    assert len(seen) == 24
    assert all(850 < times < 1_150 for times in seen.values())


def test_they_are_seeded():
    first, second = (random_orders(np.random.default_rng(5), rows=3, n=9) for _ in range(2))
    assert first.tolist() == second.tolist()
