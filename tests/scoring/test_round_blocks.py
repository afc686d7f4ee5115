"""Blocks of rounds and the variance over them, against sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_books import INTERVALS, WORDS, counts_of, covered

from pytest_memleak.scoring.round_blocks import (
    blocks_of,
    larger_bmc_variance_over_blocks,
)

SIZES = {1: [1], 2: [1, 1], 3: [2, 1], 5: [3, 2], 10: [4, 3, 3], 100: [10] * 10}


@pytest.mark.parametrize(("n", "sizes"), SIZES.items())
def test_blocks_are_of_the_square_root_of_the_rounds_in_order(n, sizes):
    blocks = blocks_of(n)
    assert np.bincount(blocks).tolist() == sizes
    assert blocks.tolist() == sorted(blocks.tolist())


def covered_by_blocks(rounds):
    sets = [set() for _ in range(max(blocks_of(len(rounds))) + 1)]
    for number, intervals in zip(blocks_of(len(rounds)), rounds, strict=True):
        sets[number] |= covered(intervals)
    return sets


def variances_of_sets(of_model, of_baseline=None):
    """The jackknife over the sets, and twice the bootstrap with the draws of the seed 0."""
    empty = [set()] * len(of_model)

    def bmc(chosen):
        mine = set().union(*(of_model[number] for number in chosen))
        theirs = set().union(*((of_baseline or empty)[number] for number in chosen))
        return (len(mine) - len(theirs)) / WORDS

    blocks = range(len(of_model))
    without = [
        bmc([block for block in blocks if block != left_out]) for left_out in blocks
    ]
    jackknife = (len(blocks) - 1) * np.var(without)
    resampled = np.random.default_rng(0).integers(len(blocks), size=(200, len(blocks)))
    return jackknife, 2 * np.var([bmc(chosen) for chosen in resampled.tolist()], ddof=1)


@given(st.lists(st.tuples(INTERVALS, INTERVALS), min_size=2, max_size=20))
def test_the_variance_is_the_larger_of_jackknife_and_twice_the_bootstrap(both):
    model, baseline = zip(*both, strict=True)
    mine, theirs = map(covered_by_blocks, (model, baseline))
    # That of a difference takes blocks in pairs.
    for of_baseline, counts in ((None, None), (theirs, counts_of(baseline))):
        expected = max(variances_of_sets(mine, of_baseline))
        variance = larger_bmc_variance_over_blocks(counts_of(model), baseline=counts)
        assert variance == pytest.approx(expected, abs=1e-12)


def test_recall_in_phases_widens_the_variance():
    counts = counts_of([[]] * 10 + [[(0, 30)]] * 10 + [[]] * 80)  # one block of ten
    assert counts.alone.sum() == 0  # so that the jackknife over rounds would be 0
    assert math.sqrt(larger_bmc_variance_over_blocks(counts)) > 0.2
