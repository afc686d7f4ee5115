"""Mean BMC of fewer rounds, exact, and of more, estimated (docs/method.md).

Sources: rarefaction and extrapolation of incidence data, Colwell et al. 2012 (equations
17 and 18), Chao et al. 2014.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.array_types import Floats
    from pytest_memleak.scoring.rounds import RoundCounts

_TWICE = 2


def rarefaction(counts: RoundCounts) -> Floats:
    """Return the mean BMC of m of the n rounds, over all choices, for m = 1..n."""
    n = counts.rounds
    words_by_times = np.bincount(counts.times, minlength=n + 1)
    # Words that as many rounds cover are as likely to be missed.
    times = np.flatnonzero(words_by_times[1:]) + 1
    share = words_by_times[times] / counts.words
    curve = np.empty(n)
    missed = np.ones(len(times))  # probability that none of m rounds covers them
    for m in range(n):
        rounds_without = np.maximum(n - times - m, 0)
        missed = missed * (rounds_without / (n - m))
        curve[m] = share @ (1 - missed)
    return curve


class Extrapolation(NamedTuple):
    """The estimated course of BMC over n further rounds (Chao2).

    bmc:       of n + t rounds, t = 1..n; at most 1; shape (n,)
    discovery: per t, the expected rate of new words per round after n + t rounds, as a
               multiple of the rate after n; shape (n,)
    """

    bmc: NDArray[np.floating]
    discovery: NDArray[np.floating]


def extrapolation(counts: RoundCounts) -> Extrapolation:
    """Estimate the BMC of n + t rounds, and the rate of new words, for t = 1..n."""
    unseen, left_by_a_round = _unseen(counts)
    discovery = left_by_a_round ** np.arange(1, counts.rounds + 1)
    bmc = np.minimum(counts.bmc + unseen * (1 - discovery), 1.0)
    return Extrapolation(bmc, discovery)


def _unseen(counts: RoundCounts) -> tuple[float, float]:
    """Return the share of words that only more rounds would cover.

    And the share of these that each round leaves.
    """
    n = counts.rounds
    once = int(np.count_nonzero(counts.times == 1))
    twice = int(np.count_nonzero(counts.times == _TWICE))
    estimate = once * once / (2 * twice) if twice else once * (once - 1) / 2
    uncovered = counts.words - int(np.count_nonzero(counts.times))
    unseen = min((n - 1) / n * estimate, uncovered)
    if unseen <= 0:
        return 0.0, 1.0
    return unseen / counts.words, 1 - once / (n * unseen + once)
