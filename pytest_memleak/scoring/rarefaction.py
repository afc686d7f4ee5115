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
        rounds_left = n - m
        rounds_without = np.maximum(rounds_left - times, 0)
        missed *= rounds_without / rounds_left
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
    unseen = _chao2_unseen(counts)
    further_rounds = np.arange(1, counts.rounds + 1)
    discovery = unseen.left_by_a_round**further_rounds
    discovered = unseen.share * (1 - discovery)
    bmc = np.minimum(counts.bmc + discovered, 1.0)
    return Extrapolation(bmc, discovery)


class _Unseen(NamedTuple):
    """The words that only more rounds would cover, as estimated.

    share:           of the book
    left_by_a_round: the share of them that each round leaves
    """

    share: float
    left_by_a_round: float


def _chao2_unseen(counts: RoundCounts) -> _Unseen:
    """Estimate the words that no round has covered yet (Chao2)."""
    n = counts.rounds
    covered = int(np.count_nonzero(counts.times))
    once = int(np.count_nonzero(counts.times == 1))
    twice = int(np.count_nonzero(counts.times == _TWICE))
    estimate = (n - 1) / n * _unseen_words(once, twice)
    unseen = min(estimate, counts.words - covered)
    if unseen <= 0:
        return _Unseen(0.0, 1.0)
    found_by_a_round = once / (n * unseen + once)
    return _Unseen(unseen / counts.words, 1 - found_by_a_round)


def _unseen_words(once: int, twice: int) -> float:
    """Estimate the unseen words by those that one round covers, and that two do."""
    if twice:
        return once * once / (2 * twice)
    return once * (once - 1) / 2
