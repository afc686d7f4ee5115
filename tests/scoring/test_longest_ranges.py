"""Ranges of longest span, block and passage, METRICS section 6."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.scoring.exchangeability import random_orders
from pytest_memleak.scoring.rounds import Rounds
from pytest_memleak.scoring.sampling_error import (
    Range,
    block_range,
    maximum_range,
)

NO_BORDERS = np.empty(0, dtype=np.intp)
WORDS = 40
INTERVALS = st.sets(
    st.tuples(st.integers(0, WORDS - 1), st.integers(1, 12)).map(
        lambda at: (at[0], min(WORDS, at[0] + at[1]))
    ),
    max_size=3,
)


def test_the_low_end_is_what_nearly_every_half_has():
    # Of 8 rounds 5 have 30 words or more, so that every half has.
    assert maximum_range([30, 30, 40, 40, 90, 0, 0, 0], typical=5, most=500) == Range(30, 150)
    # The one lucky round is in half of the halves, the next in three of four.
    low = maximum_range([90, 60, *[8] * 98], typical=5, most=500).low
    assert low == 8


def test_the_high_end_is_two_typical_spans_away_at_least():
    assert maximum_range([50] * 10, typical=12.3, most=500) == Range(50, 75)
    assert maximum_range([50] * 10, typical=12.3, most=60) == Range(50, 60)


def test_nothing_seen_and_a_single_round():
    assert maximum_range([0] * 100, typical=20, most=500) == Range(0, 40)
    assert maximum_range([33], typical=33, most=500) == Range(0, 99)
    nothing = Rounds.of({})
    expected = Range(0, 40)
    assert block_range(nothing, n=10, borders=NO_BORDERS, typical=20, words=500) == expected


def test_it_is_seeded():
    values = np.random.default_rng(0).integers(0, 99, 20)
    ranges = {maximum_range(values, typical=1, most=500, seed=seed) for seed in (5, 5)}
    assert len(ranges) == 1


def longest_run(places, borders):
    longest = 0
    for first in sorted(places):
        length = 1
        while first + length in places and first + length not in borders:
            length += 1
        longest = max(longest, length)
    return longest


@given(st.lists(INTERVALS, min_size=1, max_size=6), st.sets(st.integers(1, WORDS - 1), max_size=3))
def test_blocks_of_halves_are_those_of_sets(rounds, borders):
    n = len(rounds)
    sets = [{at for start, end in one for at in range(start, end)} for one in rounds]
    halves = random_orders(np.random.default_rng(0), rows=200, n=n) < n // 2
    of_halves = [
        longest_run(set().union(*itertools.compress(sets, half)), borders) for half in halves
    ]
    observed = longest_run(set().union(*sets), borders)
    low = math.floor(np.quantile(of_halves, 0.025))
    found = block_range(
        Rounds.of(dict(enumerate(rounds))),
        n=n,
        borders=np.array(sorted(borders), dtype=np.intp),
        typical=1.2,
        words=WORDS,
    )
    assert found == Range(low, min(WORDS, observed + max(observed - low, 3)))
