"""Variance over blocks of rounds, METRICS section 6, against sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.scoring.rounds import Rounds, block_variance, blocks_of

WORDS = 60
INTERVALS = st.sets(
    st.tuples(st.integers(0, WORDS - 1), st.integers(1, 12)).map(
        lambda at: (at[0], min(WORDS, at[0] + at[1]))
    ),
    max_size=4,
)
ROUNDS = st.lists(INTERVALS, min_size=2, max_size=20)


@pytest.mark.parametrize(
    ("n", "sizes"),
    [(1, [1]), (2, [1, 1]), (3, [2, 1]), (5, [3, 2]), (10, [4, 3, 3]), (100, [10] * 10)],
)
def test_blocks_are_of_the_square_root_of_the_rounds_in_order(n, sizes):
    blocks = blocks_of(n)
    assert np.bincount(blocks).tolist() == sizes
    assert blocks.tolist() == sorted(blocks.tolist())


def covered_by_blocks(rounds):
    sets = [set() for _ in range(max(blocks_of(len(rounds))) + 1)]
    for number, intervals in zip(blocks_of(len(rounds)), rounds, strict=True):
        sets[number] |= {place for start, end in intervals for place in range(start, end)}
    return sets


def variances_of_sets(of_model, of_baseline=None):
    """The jackknife over the sets, and twice the bootstrap with the draws of the seed 0."""
    empty = [set()] * len(of_model)

    def bmc(chosen):
        mine = set().union(*(of_model[one] for one in chosen))
        theirs = set().union(*((of_baseline or empty)[one] for one in chosen))
        return (len(mine) - len(theirs)) / WORDS

    blocks = range(len(of_model))
    without = [bmc([one for one in blocks if one != left_out]) for left_out in blocks]
    jackknife = (len(blocks) - 1) * np.var(without)
    drawn = np.random.default_rng(0).integers(len(blocks), size=(200, len(blocks)))
    return jackknife, 2 * np.var([bmc(chosen) for chosen in drawn.tolist()], ddof=1)


def counts_of(rounds):
    return Rounds.of(dict(enumerate(rounds))).counts(words=WORDS, n=len(rounds))


@given(ROUNDS)
def test_the_variance_is_the_larger_of_jackknife_and_twice_the_bootstrap(rounds):
    expected = max(variances_of_sets(covered_by_blocks(rounds)))
    assert block_variance(counts_of(rounds)) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(INTERVALS, INTERVALS), min_size=2, max_size=20))
def test_that_of_a_difference_takes_blocks_in_pairs(both):
    model, baseline = zip(*both, strict=True)
    expected = max(variances_of_sets(covered_by_blocks(model), covered_by_blocks(baseline)))
    found = block_variance(counts_of(model), baseline=counts_of(baseline))
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_model_that_recites_now_and_then_is_known_less_than_rounds_alone_would_say():
    spoken = {r: [(0, 40)] for r in range(10, 20)}  # one block of ten
    counts = Rounds.of(spoken).counts(words=WORDS, n=100)
    assert counts.alone.sum() == 0  # so that the jackknife over rounds would be 0
    assert math.sqrt(block_variance(counts)) > 0.2
