"""Exchangeability: a permutation test that rounds are alike (docs/method.md).

Within each excerpt, generations are permuted between rounds. If rounds aren't alike,
their covered words vary more, or follow the sampling order more, than if permuted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest_memleak.scoring.array_types import Counts, Floats

_PERMUTATIONS = 999
_LEVEL = 0.01

# More excerpts than this are pooled, every 32nd into one, and each pool is permuted
# like an excerpt. The test stays exact; it loses a 32nd of what rounds have in common,
# and its cost doesn't grow with the book.
_POOLS = 32

_NUMBERS_TOGETHER = 1 << 20  # bounds memory where rounds are many


@dataclass(frozen=True, slots=True)
class Exchangeability:
    """Two p-values of a permutation test against exchangeable rounds.

    clumped:  one-sided, of the variance over rounds of covered words
    drifting: two-sided, of the rank correlation of covered words with sampling order
    """

    clumped: float
    drifting: float

    @property
    def alike(self) -> bool:
        """Return whether neither test rejects, at 1% over both."""
        smaller = min(self.clumped, self.drifting)
        return 2 * smaller > _LEVEL


def exchangeability(
    by_excerpt: Counts,
    *,
    permutations: int = _PERMUTATIONS,
    seed: int = 0,
) -> Exchangeability:
    """Test exchangeability by permuting each excerpt's generations between rounds.

    by_excerpt: covered words per excerpt and round, shape (E, n). One excerpt alone
    cannot show clumps. Cost: 20 ms for 100 rounds, however many excerpts; proportional
    to the rounds.
    """
    covered = _permuted_rounds(by_excerpt, permutations, seed)
    # Permutation keeps the sum, so the sum of squares replaces the variance.
    variance = np.einsum("ij,ij->i", covered, covered)
    parts = np.array_split(covered, _number_of_batches(covered))
    correlations = [_correlation_with_order(part) for part in parts]
    strength = np.abs(np.concatenate(correlations))
    return Exchangeability(clumped=_p_value(variance), drifting=_p_value(strength))


def random_orders(
    rng: np.random.Generator,
    *,
    rows: int,
    n: int,
) -> Counts:
    """Return independent random orders of 0..n-1; shape (rows, n).

    Sorts random numbers that hold the index in their lowest bits: four times as fast as
    sorting indices by random numbers.
    """
    index_bits = np.uint64((1 << n.bit_length()) - 1)
    indices = np.arange(n, dtype=np.uint64)
    keys = rng.integers(1 << 64, size=(rows, n), dtype=np.uint64)
    keys &= ~index_bits
    keys |= indices
    keys.sort(axis=1)
    keys &= index_bits
    return keys.view(np.int64)


def _permuted_rounds(
    by_excerpt: Counts,
    permutations: int,
    seed: int,
) -> Counts:
    """Return the words that each round covers, as observed and permuted.

    Shape (1 + permutations, n), the observed ones first.
    """
    pools = _summed_into_pools(by_excerpt)
    n = pools.shape[1]
    rng = np.random.default_rng(seed)
    covered = np.zeros((permutations + 1, n), dtype=np.int64)
    covered[0] = pools.sum(axis=0)
    parts = _number_of_batches(covered)
    for pool in pools:
        for part in np.array_split(covered[1:], parts):
            order = random_orders(rng, rows=len(part), n=n)
            np.add(part, pool.take(order), out=part)
    return covered


def _number_of_batches(covered: Counts) -> int:
    """Return the number of parts in which so many numbers are processed."""
    return 1 + covered.size // _NUMBERS_TOGETHER


def _summed_into_pools(by_excerpt: Counts) -> Counts:
    """Sum the rows that cover anything into at most 32 pools."""
    rows = by_excerpt[by_excerpt.any(axis=1)]
    excerpts, n = rows.shape
    shape = (min(excerpts, _POOLS), n)
    pools = np.zeros(shape, dtype=np.int64)
    pool_of_row = np.arange(excerpts) % _POOLS
    np.add.at(pools, pool_of_row, rows)
    return pools


def _p_value(statistics: Counts | Floats) -> float:
    """Return the share of the statistics that are at least the first, the observed."""
    is_as_high = statistics >= statistics[0]
    return float(np.mean(is_as_high))


def _correlation_with_order(covered: Counts) -> Floats:
    """Return Spearman's rank correlation of each row with 0..n-1; 0 for a constant row.

    covered: shape (rows, n).
    """
    n = covered.shape[1]
    rounds, ranks = _rounds_and_ranks(covered)
    mean = (n - 1) / 2
    ranks -= mean
    rounds_from_mean = np.arange(n) - mean
    rank_squares = (ranks**2).sum(axis=1)
    round_squares = (rounds_from_mean**2).sum()
    scale = np.sqrt(rank_squares * round_squares)
    products = ranks * (rounds - mean)
    product = products.sum(axis=1)
    correlation = np.zeros(len(covered))
    np.divide(product, scale, out=correlation, where=scale > 0)
    return np.asarray(correlation.round(12))  # ties must stay ties


def _rounds_and_ranks(covered: Counts) -> tuple[Counts, Floats]:
    """Sort each row; return the rounds of its values, and the values' ranks.

    Values are sorted with their rounds in the lowest bits. Equals share their mean
    rank, from 0.
    """
    rows, n = covered.shape
    place = np.arange(n)
    round_bits = n.bit_length()
    ascending = (covered << round_bits) | place
    ascending.sort()
    rounds = ascending & ((1 << round_bits) - 1)
    values = ascending >> round_bits
    # Whether a run of equals begins at each place, and behind the last.
    is_border = np.ones((rows, n + 1), dtype=np.bool_)
    is_border[:, 1:-1] = np.diff(values) > 0
    begins = is_border[:, :-1]
    ends = is_border[:, 1:]
    begin_or_0 = np.where(begins, place, 0)
    end_or_n = np.where(ends, place, n)
    first = np.maximum.accumulate(begin_or_0, axis=1)
    from_the_right = end_or_n[:, ::-1]
    last_from_the_right = np.minimum.accumulate(from_the_right, axis=1)
    last = last_from_the_right[:, ::-1]
    return rounds, (first + last) / 2
