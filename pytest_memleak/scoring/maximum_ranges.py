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
    from pytest_memleak.scoring.rounds import Rounds
    from pytest_memleak.scoring.word_ranges import Positions

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
    in_half = _random_halves(len(per_round), seed)
    values_in_half = np.where(in_half, per_round, 0)
    of_halves = values_in_half.max(axis=1, initial=0)
    return _range_from_halves(of_halves, observed, typical, most)


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
    halves = _random_halves(n, seed)
    sets = np.concatenate((all_rounds, halves))
    observed, *of_halves = _longest_blocks(rounds, sets, borders, words)
    return _range_from_halves(
        of_halves=np.array(of_halves),
        observed=observed,
        typical=typical,
        most=words,
    )


def _random_halves(n: int, seed: int) -> Sets:
    """Return random halves of n rounds, n / 2 of them, rounded down; shape (200, n)."""
    rng = np.random.default_rng(seed)
    order = random_orders(rng, rows=_HALVES, n=n)
    return order < n // 2


def _range_from_halves(
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
    marks = _places_of_change(rounds, borders, words)
    words_to_next = np.diff(marks, append=words + 1)
    at_border = words_to_next == 0
    parts = []
    n = sets.shape[1]
    for first in range(0, n, _BITS):
        behind = first + _BITS
        covering_word = _covering_rounds(rounds, first, words)
        covering = covering_word[marks]
        covering[at_border] = 0
        in_sets = _rounds_as_bits(sets[:, first:behind])
        parts.append(_SixtyFourRounds(covering, in_sets))
    return [_longest_block(marks, parts, number) for number in range(len(sets))]


def _places_of_change(
    rounds: Rounds,
    borders: Positions,
    words: int,
) -> Positions:
    """Return the positions where coverage can change, ascending; borders twice.

    Between each border and itself is a stretch of no words, which no set covers.
    """
    is_mark = np.zeros(words + 1, dtype=np.bool_)
    is_mark[rounds.start] = True
    is_mark[rounds.end] = True
    is_mark[borders] = True
    distinct_marks = np.flatnonzero(is_mark)
    marks = np.concatenate((distinct_marks, borders))
    marks.sort()
    return marks


def _covering_rounds(
    rounds: Rounds,
    first: int,
    words: int,
) -> Bits:
    """Return, per word, the set of the 64 rounds from `first` on that cover it.

    No round covers a word twice, so the sum of bits is the set. Shape (N + 1,).
    """
    bounds = [first, first + _BITS]
    first_run, behind = rounds.round.searchsorted(bounds)
    runs = slice(first_run, behind)
    place_of_run = rounds.round[runs] - first
    bit_of_run = _BIT << place_of_run.astype(np.uint64)
    steps = np.zeros(words + 1, dtype=np.uint64)
    np.add.at(steps, rounds.start[runs], bit_of_run)
    np.subtract.at(steps, rounds.end[runs], bit_of_run)
    return np.cumsum(steps, out=steps)


def _rounds_as_bits(sets: Sets) -> Bits:
    """Return each set of up to 64 rounds as one number; shape (sets,)."""
    place_of_round = np.arange(sets.shape[1], dtype=np.uint64)
    bit_of_round = _BIT << place_of_round
    bits: Bits = sets @ bit_of_round
    return bits


class _SixtyFourRounds(NamedTuple):
    """The sets of up to 64 rounds, as bits.

    covering: those that cover the stretch from each mark to the next; shape (marks,)
    in_sets:  those in each set of rounds; shape (sets,)
    """

    covering: Bits
    in_sets: Bits


def _longest_block(
    marks: Positions,
    parts: Sequence[_SixtyFourRounds],
    number: int,
) -> int:
    """Return the longest block of one set, in words."""
    is_covered = np.zeros(len(marks) + 1, dtype=np.bool_)
    for part in parts:
        of_set = part.covering & part.in_sets[number]
        is_covered[1:] |= of_set > 0
    is_edge = is_covered[1:] != is_covered[:-1]
    edges = marks[np.flatnonzero(is_edge)]
    block_start = edges[::2]
    block_end = edges[1::2]
    lengths = block_end - block_start
    return int(lengths.max(initial=0))
