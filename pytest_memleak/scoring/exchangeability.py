"""Exchangeability of rounds, the condition of their sampling error (METRICS section 6).

If recall varies in phases, or the endpoint changes during the run, generations of a round rise
and fall together. In exchangeable rounds, any of an excerpt's generations could belong to any
round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.int64]


def random_orders(rng: np.random.Generator, *, rows: int, n: int) -> NDArray[np.int64]:
    """Return independent random orders of 0..n-1; shape (rows, n).

    Sorts random numbers that hold the index in their lowest bits: four times as fast as sorting
    indices by random numbers.
    """
    lowest = np.uint64((1 << n.bit_length()) - 1)
    keys = rng.integers(1 << 64, size=(rows, n), dtype=np.uint64)
    keys &= ~lowest
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort(axis=1)
    keys &= lowest
    return keys.view(np.int64)


_PERMUTATIONS = 999
_LEVEL = 0.01

# More excerpts than this are pooled, every 32nd into one, and each pool is permuted like an
# excerpt. The test stays exact; it loses a 32nd of what rounds have in common, and its cost
# doesn't grow with the book.
_POOLS = 32


@dataclass(frozen=True, slots=True)
class Exchangeability:
    """Two p-values of a permutation test against exchangeable rounds.

    clumped:  one-sided, of the variance over rounds of covered words
    drifting: two-sided, of the rank correlation of covered words with the sampling order
    """

    clumped: float
    drifting: float

    @property
    def alike(self) -> bool:
        """Return whether neither test rejects, at 1% over both."""
        return 2 * min(self.clumped, self.drifting) > _LEVEL


def exchangeability(
    by_excerpt: Words, *, permutations: int = _PERMUTATIONS, seed: int = 0
) -> Exchangeability:
    """Test exchangeability by permuting each excerpt's generations between rounds.

    by_excerpt: covered words per excerpt and round, shape (E, n). One excerpt alone cannot show
    clumps. Cost: 20 ms for 100 rounds, however many excerpts; proportional to the rounds.
    """
    pools = _pooled(by_excerpt)
    n = pools.shape[1]
    rng = np.random.default_rng(seed)
    covered = np.zeros((permutations + 1, n), dtype=np.int64)
    covered[0] = pools.sum(axis=0)
    for pool in pools:
        covered[1:] += pool.take(random_orders(rng, rows=permutations, n=n))
    # Permutation keeps the sum, so the sum of squares replaces the variance.
    return Exchangeability(
        clumped=_p((covered**2).sum(axis=1)), drifting=_p(np.abs(_correlation_with_order(covered)))
    )


def _pooled(by_excerpt: Words) -> Words:
    """Sum the rows that cover anything into at most 32 pools."""
    rows = by_excerpt[by_excerpt.any(axis=1)]
    pools = np.zeros((min(len(rows), _POOLS), rows.shape[1]), dtype=np.int64)
    np.add.at(pools, np.arange(len(rows)) % _POOLS, rows)
    return pools


def _p(statistics: Words | NDArray[np.float64]) -> float:
    """Return the share of the statistics that are at least the first, the observed one."""
    return float(np.mean(statistics >= statistics[0]))


def _correlation_with_order(covered: Words) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of each row with 0..n-1; 0 for a constant row.

    Values are sorted with their positions in the lowest bits; equals share their mean rank.
    """
    n = covered.shape[1]
    bits = n.bit_length()
    ascending = np.sort((covered << bits) | np.arange(n))
    place, values = ascending & ((1 << bits) - 1), ascending >> bits
    begins = np.ones((len(covered), n + 1), dtype=np.bool_)
    begins[:, 1:-1] = np.diff(values) > 0
    at = np.arange(n)
    first = np.maximum.accumulate(np.where(begins[:, :-1], at, 0), axis=1)
    last = np.minimum.accumulate(np.where(begins[:, 1:], at, n)[:, ::-1], axis=1)[:, ::-1]
    ranks = (first + last) / 2 - (n - 1) / 2
    spread = np.sqrt((ranks**2).sum(axis=1) * ((at - (n - 1) / 2) ** 2).sum())
    with_place = (ranks * (place - (n - 1) / 2)).sum(axis=1)
    correlation = np.divide(with_place, spread, out=np.zeros(len(covered)), where=spread > 0)
    return np.asarray(correlation.round(12))  # ties must stay ties
