"""The variance of BMC where rounds are not alike: rounds in order, in blocks (METRICS section 6).

Rounds that are drawn one after the other may be of one mood; blocks of them are more nearly
independent than they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.distinct import Positions
    from pytest_memleak.scoring.rounds import RoundCounts

_BOOTSTRAPS = 200
_TOGETHER = 25


def blocks_of(n: int) -> Positions:
    """The number of the block that each of n rounds is in: blocks of about √n, two at least."""
    blocks = max(n // round(math.sqrt(n)), min(n, 2))
    return np.arange(n) * blocks // n


def jackknife_variance(lost: NDArray[np.float64]) -> float | None:
    """The delete-one jackknife's variance of what is `lost[r]` less without round r.

    None for a single round. lost: shape (n,).
    """
    n = len(lost)
    return float((n - 1) * np.var(lost)) if n > 1 else None


def block_variance(
    counts: RoundCounts, *, baseline: RoundCounts | None = None, seed: int = 0
) -> float:
    """The larger of the jackknife over blocks and twice the bootstrap over them.

    Of BMC; with a `baseline` of the same book and rounds, of the difference of the two, block by
    block. The bootstrap draws the blocks anew 200 times.
    """
    group = blocks_of(counts.rounds)
    of_model = _BlockCover(counts, group)
    lost, redrawn = of_model.lost(), of_model.redrawn(seed)
    if baseline:
        of_baseline = _BlockCover(baseline, group)
        lost, redrawn = lost - of_baseline.lost(), redrawn - of_baseline.redrawn(seed)
    return max(jackknife_variance(lost) or 0.0, 2 * float(np.var(redrawn, ddof=1)))


class _BlockCover:
    """Which blocks of rounds cover how much of a book, as shares of it."""

    def __init__(self, counts: RoundCounts, group: Positions) -> None:
        self._blocks = int(group[-1]) + 1
        patterns = counts.runs.grouped(group).patterns(n=self._blocks)
        self._sets, self._share = patterns.rounds, patterns.words / counts.words

    def lost(self) -> NDArray[np.float64]:
        """Per block, what it alone covers."""
        alone = self._sets.sum(axis=1) == 1
        return np.asarray(self._share[alone] @ self._sets[alone])

    def redrawn(self, seed: int) -> NDArray[np.float64]:
        """BMC of as many blocks, drawn with replacement, 200 times."""
        drawn = np.random.default_rng(seed).integers(self._blocks, size=(_BOOTSTRAPS, self._blocks))
        chosen = np.zeros((_BOOTSTRAPS, self._blocks), dtype=np.float32)
        np.put_along_axis(chosen, drawn, 1, axis=1)
        sets = self._sets.astype(np.float32)
        covered = [
            self._share @ (sets @ chosen[at : at + _TOGETHER].T > 0)
            for at in range(0, _BOOTSTRAPS, _TOGETHER)
        ]
        return np.concatenate(covered)
