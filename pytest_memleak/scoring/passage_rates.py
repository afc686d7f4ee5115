"""How often each passage comes back, with an exact interval (METRICS section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records.measurement import PassageRate
from pytest_memleak.scoring.quantiles import clopper_pearson
from pytest_memleak.scoring.round_blocks import blocks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.intervals import Interval
    from pytest_memleak.scoring.quantiles import Proportion
    from pytest_memleak.scoring.rounds import Rounds


def passage_rates(
    passages: Sequence[Interval], own: Rounds, *, n: int, alike: bool, confidence: float
) -> tuple[PassageRate, ...]:
    """The rate of each passage [start, end), which lies in one excerpt.

    own: what matches of each of the n rounds cover with their own excerpts, untrimmed. alike:
    where rounds are not, n is divided by the design effect over blocks, at least 1.
    Raises SettingsError for a confidence outside [0, 1).
    """
    if not passages:
        return ()
    places = np.array(passages, dtype=np.intp)
    whole = _given_whole(places, own, n)
    hits = whole.sum(axis=1)
    effect = np.ones(len(places)) if alike else _design_effect(whole)
    return tuple(
        PassageRate(start, end, count, n, *_interval(count, n, by, confidence), not alike)
        for (start, end), count, by in zip(passages, hits.tolist(), effect.tolist(), strict=True)
    )


def _interval(hits: int, n: int, effect: float, confidence: float) -> Proportion:
    return clopper_pearson(hits / effect, n / effect, confidence=confidence)


def _given_whole(places: NDArray[np.intp], own: Rounds, n: int) -> NDArray[np.bool_]:
    """Whether a run of each round holds each place whole; shape (places, n)."""
    if not len(own.start):
        return np.zeros((len(places), n), dtype=np.bool_)
    apart = int(max(own.end.max(), places.max())) + 1
    begin = own.round * apart + own.start
    wanted = np.arange(n) * apart + places[:, :1]
    at = begin.searchsorted(wanted, side="right") - 1  # the last that begins no later
    last = own.round[at] * apart + own.end[at]
    return np.asarray((at >= 0) & (last >= np.arange(n) * apart + places[:, 1:]))


def _design_effect(whole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """By how much the variance over blocks exceeds that of rounds that are alike; at least 1."""
    n = whole.shape[1]
    group = blocks_of(n)
    sizes = np.bincount(group)
    share = whole.mean(axis=1)
    hits = np.add.reduceat(whole, np.flatnonzero(np.diff(group, prepend=-1)), axis=1, dtype=np.intp)
    blocks = len(sizes)
    over_blocks = ((hits - share[:, None] * sizes) ** 2).sum(axis=1) * blocks / max(blocks - 1, 1)
    if_alike = n * share * (1 - share)
    effect = np.divide(over_blocks, if_alike, out=np.ones(len(share)), where=if_alike > 0)
    return np.asarray(np.maximum(effect, 1))
