"""Longest span, block and passage of other draws of rounds (METRICS section 6).

Each rests on the one luckiest answer, so that its spread over rounds tells little; ranges come
from random halves of the rounds instead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.intervals import cut
from pytest_memleak.scoring.random_orders import random_orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from pytest_memleak.scoring.distinct import Positions
    from pytest_memleak.scoring.rounds import Rounds

_HALVES = 200
_LOW = 0.025


class Range(NamedTuple):
    """Where the measure of another draw of n rounds is likely to lie, in words."""

    low: int
    high: int


def expected_maximum(values: ArrayLike) -> NDArray[np.float64]:
    """The mean maximum over m of the n `values`, over all choices of m, for m = 1..n; exact.

    values: one per round, as the longest span of each; shape (n,).
    """
    ascending = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ascending)
    steps = np.diff(ascending)
    at_most = np.arange(1, n)  # how many of the values lie below each step
    means = [float(ascending[-1] - steps @ below) for below in all_within(at_most, n)]
    return np.array(means)


def all_within(sizes: NDArray[np.intp], n: int) -> Iterator[NDArray[np.float64]]:
    """For m = 1..n, how likely m of n all fall into a set of each of `sizes`: C(s,m)/C(n,m)."""
    likely = np.ones(len(sizes))
    for drawn in range(n):
        likely = likely * (np.maximum(sizes - drawn, 0) / (n - drawn))
        yield likely


def maximum_range(values: ArrayLike, *, typical: float, most: int, seed: int = 0) -> Range:
    """The range of a measure that is the largest of the n `values`, one per round.

    typical: length of a typical span, in words (`SamplingError.typical` times N); most: what the
    measure cannot exceed.
    """
    per_round = np.asarray(values)
    halves = _halves(len(per_round), seed)
    of_halves = np.where(halves, per_round, 0).max(axis=1, initial=0)
    return _range(of_halves, int(per_round.max(initial=0)), typical, most)


def block_range(
    rounds: Rounds, *, n: int, borders: Positions, typical: float, words: int, seed: int = 0
) -> Range:
    """The range of the longest block that n rounds cover together.

    borders: positions that no block lies across, ascending; typical: as in `maximum_range`;
    words: N. Cost: 80 ms where 100 rounds cover 20,000 runs.
    """
    halves = np.concatenate((np.ones((1, n), dtype=np.bool_), _halves(n, seed)))
    observed, *of_halves = _longest_blocks(rounds, halves, borders)
    return _range(np.array(of_halves), observed, typical, words)


def _halves(n: int, seed: int) -> NDArray[np.bool_]:
    """Random halves of n rounds, n / 2 of them, rounded down; shape (200, n)."""
    return random_orders(np.random.default_rng(seed), rows=_HALVES, n=n) < n // 2


def _range(of_halves: NDArray[np.integer], observed: int, typical: float, most: int) -> Range:
    low = math.floor(np.quantile(of_halves, _LOW))
    return Range(low, min(observed + max(observed - low, math.ceil(2 * typical)), most))


def _longest_blocks(rounds: Rounds, chosen: NDArray[np.bool_], borders: Positions) -> list[int]:
    """The longest block of each of the sets of rounds, `chosen` of shape (sets, n)."""
    marks, place = np.unique(np.concatenate((rounds.start, rounds.end)), return_inverse=True)
    first, last = np.split(place, 2)
    return [
        _longest(marks, first[sampled], last[sampled], borders)
        for sampled in (chosen_rounds[rounds.round] for chosen_rounds in chosen)
    ]


def _longest(marks: Positions, first: Positions, last: Positions, borders: Positions) -> int:
    """The longest run covered by any of the intervals from mark `first` to mark `last`."""
    steps = np.bincount(first, minlength=len(marks)) - np.bincount(last, minlength=len(marks))
    covered = np.concatenate(([0], steps.cumsum() > 0)).astype(np.int8)  # the last is 0, too
    edges = np.flatnonzero(np.diff(covered))
    _, start, end = cut(marks[edges[::2]], marks[edges[1::2]], borders)
    return int((end - start).max(initial=0))
