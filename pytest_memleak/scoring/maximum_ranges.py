"""Ranges of the longest block, span and passage in another sample (docs/method.md).

They rest on the one luckiest generation, so their ranges come from random halves of the
rounds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.exchangeability import random_orders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from pytest_memleak.scoring.array_types import Flags
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.rounds import Rounds

    # Whether each round is in each set; shape (sets, n).
    Sets = Flags
    # A set of up to 64 rounds, a bit per round.
    Bits = NDArray[np.uint64]

_HALVES = 200
_LOW = 0.025

_BITS = 64
_BIT = np.uint64(1)


class Range(NamedTuple):
    """The likely range of a measure in another sample of n rounds, in words."""

    low: int
    high: int


def maximum_range(
    values: ArrayLike,
    *,
    typical: float,
    most: int,
    seed: int = 0,
) -> Range:
    """Return the range of a measure that is the largest of n rounds' `values`.

    typical: length of a typical span, in words (`SamplingError.typical` times N)
    most:    an upper bound of the measure
    """
    per_round = np.asarray(values)
    observed = int(per_round.max(initial=0))
    halves = _halves(len(per_round), seed)
    of_halves = np.where(halves, per_round, 0).max(axis=1, initial=0)
    return _range(of_halves, observed, typical, most)


def block_range(
    rounds: Rounds,
    *,
    n: int,
    borders: Positions,
    typical: float,
    words: int,
    seed: int = 0,
) -> Range:
    """Return the range of the longest block that n rounds cover together.

    borders: positions that no block crosses, ascending; typical: as in `maximum_range`;
    words: N. Cost: 80 ms where 100 rounds cover 20,000 runs.
    """
    all_rounds = np.ones((1, n), dtype=np.bool_)
    sets = np.concatenate((all_rounds, _halves(n, seed)))
    observed, *of_halves = _longest_blocks(rounds, sets, borders, words)
    return _range(np.array(of_halves), observed, typical, words)


def _halves(n: int, seed: int) -> Sets:
    """Return random halves of n rounds, n / 2 of them, rounded down; shape (200, n)."""
    rng = np.random.default_rng(seed)
    order = random_orders(rng, rows=_HALVES, n=n)
    return order < n // 2


def _range(
    of_halves: NDArray[np.integer],
    observed: int,
    typical: float,
    most: int,
) -> Range:
    low = math.floor(np.quantile(of_halves, _LOW))
    two_spans = math.ceil(2 * typical)
    high = observed + max(observed - low, two_spans)
    return Range(low, min(high, most))


def _longest_blocks(
    rounds: Rounds,
    sets: Sets,
    borders: Positions,
    words: int,
) -> list[int]:
    """Return the longest block that the rounds of each set cover, in words."""
    marks = _marks(rounds, borders, words)
    at_border = np.diff(marks, append=words + 1) == 0
    parts = []
    for first in range(0, sets.shape[1], _BITS):
        covering = _covering_rounds(rounds, first, words)[marks]
        covering[at_border] = 0
        parts.append((covering, _as_bits(sets[:, first : first + _BITS])))
    return [_longest_block(marks, parts, number) for number in range(len(sets))]


def _marks(rounds: Rounds, borders: Positions, words: int) -> Positions:
    """Return the positions where coverage can change, ascending; borders twice.

    Between each border and itself is a stretch of no words, which no set covers.
    """
    is_mark = np.zeros(words + 1, dtype=np.bool_)
    is_mark[rounds.start] = True
    is_mark[rounds.end] = True
    is_mark[borders] = True
    return np.sort(np.concatenate((np.flatnonzero(is_mark), borders)))


def _covering_rounds(rounds: Rounds, first: int, words: int) -> Bits:
    """Return, per word, the set of the 64 rounds from `first` on that cover it.

    No round covers a word twice, so the sum of bits is the set. Shape (N + 1,).
    """
    run = slice(*rounds.round.searchsorted([first, first + _BITS]))
    bit_of_run = _BIT << (rounds.round[run] - first).astype(np.uint64)
    steps = np.zeros(words + 1, dtype=np.uint64)
    np.add.at(steps, rounds.start[run], bit_of_run)
    np.subtract.at(steps, rounds.end[run], bit_of_run)
    return np.cumsum(steps, out=steps)


def _as_bits(sets: Sets) -> Bits:
    """Return each set of up to 64 rounds as one number; shape (sets,)."""
    bit_of_round = _BIT << np.arange(sets.shape[1], dtype=np.uint64)
    bits: Bits = sets @ bit_of_round
    return bits


def _longest_block(
    marks: Positions,
    parts: Sequence[tuple[Bits, Bits]],
    number: int,
) -> int:
    """Return the longest block of one set, in words.

    parts: per 64 rounds, those that cover the stretch from each mark to the next, and
    those of each set
    """
    is_covered = np.zeros(len(marks) + 1, dtype=np.bool_)
    for covering, sets in parts:
        is_covered[1:] |= (covering & sets[number]) > 0
    edges = np.flatnonzero(is_covered[1:] != is_covered[:-1])
    lengths = marks[edges[1::2]] - marks[edges[::2]]
    return int(lengths.max(initial=0))
