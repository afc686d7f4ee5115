"""Blocks of rounds, and the variance of BMC over rounds or blocks (docs/method.md).

Sampling error needs exchangeable rounds: any of an excerpt's generations could belong
to any round. If recall varies in phases, or the endpoint changes during the run,
generations of a round rise and fall together; such rounds are taken in blocks, which
are more nearly independent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest_memleak.scoring.array_types import Floats
    from pytest_memleak.scoring.rounds import RoundCounts
    from pytest_memleak.scoring.word_ranges import Positions

_BOOTSTRAPS = 200
_BOOTSTRAPS_TOGETHER = 25  # bounds memory


def blocks_of(n: int) -> Positions:
    """Return each round's block: at least two, of about √n rounds; shape (n,)."""
    rounds_per_block = round(math.sqrt(n))
    least_blocks = min(n, 2)
    blocks = max(n // rounds_per_block, least_blocks)
    return np.arange(n) * blocks // n


def jackknife_variance(lost: Floats) -> float | None:
    """Return the delete-one jackknife's variance; None for a single round.

    lost: per round, what the total is less without it; shape (n,)
    """
    n = len(lost)
    if n == 1:
        return None
    return float((n - 1) * np.var(lost))


def larger_bmc_variance_over_blocks(
    counts: RoundCounts,
    *,
    baseline: RoundCounts | None = None,
    seed: int = 0,
) -> float:
    """Return the larger of the jackknife over blocks and twice the bootstrap over them.

    Of BMC; with a `baseline` of the same book and rounds, of the difference of the two,
    block by block. The bootstrap resamples the blocks 200 times.
    """
    block_of = blocks_of(counts.rounds)
    of_model = _BlockCover(counts, block_of)
    lost = of_model.lost()
    resampled = of_model.resampled(seed)
    if baseline:
        of_baseline = _BlockCover(baseline, block_of)
        lost = lost - of_baseline.lost()
        resampled = resampled - of_baseline.resampled(seed)
    jackknife = jackknife_variance(lost) or 0.0
    bootstrap = float(np.var(resampled, ddof=1))
    return max(jackknife, 2 * bootstrap)


class _BlockCover:
    """The share of a book that each set of blocks of rounds covers."""

    def __init__(self, counts: RoundCounts, block_of: Positions) -> None:
        """Find the sets; block_of: the block of each round."""
        last_block = int(block_of[-1])
        self._blocks = last_block + 1
        covered_by_block = counts.runs.merged_by_group(block_of)
        # Whether a block is in a set, shape (sets, blocks); words of each, (sets,).
        self._in_set, words = covered_by_block.patterns(n=self._blocks)
        self._share = words / counts.words

    def lost(self) -> Floats:
        """Return, per block, the share that it alone covers."""
        blocks_in_set = self._in_set.sum(axis=1)
        is_alone = blocks_in_set == 1
        lost = self._share[is_alone] @ self._in_set[is_alone]
        return np.asarray(lost)

    def resampled(self, seed: int) -> Floats:
        """Return BMC of as many blocks, resampled with replacement, 200 times."""
        shape = (_BOOTSTRAPS, self._blocks)
        rng = np.random.default_rng(seed)
        choices = rng.integers(self._blocks, size=shape)
        is_chosen = np.zeros(shape, dtype=np.float32)
        np.put_along_axis(is_chosen, choices, 1, axis=1)
        in_set = self._in_set.astype(np.float32)
        bmc = []
        for first in range(0, _BOOTSTRAPS, _BOOTSTRAPS_TOGETHER):
            chosen = is_chosen[first : first + _BOOTSTRAPS_TOGETHER]
            is_covered = in_set @ chosen.T > 0
            bmc.append(self._share @ is_covered)
        return np.concatenate(bmc)
