"""How often a passage's own prompt generates all of it (docs/method.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records.measurement import PassageRate
from pytest_memleak.scoring.confidence_bounds import clopper_pearson
from pytest_memleak.scoring.round_blocks import blocks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.scoring.array_types import Flags
    from pytest_memleak.scoring.rounds import Rounds
    from pytest_memleak.scoring.word_ranges import Interval, Positions


def passage_rates(
    passages: Sequence[Interval],
    own: Rounds,
    *,
    n: int,
    alike: bool,
    confidence: float,
) -> tuple[PassageRate, ...]:
    """Return the recall rate of passages [start, end) of one excerpt, with intervals.

    own: the words that matches of each of the n rounds cover of their prompted
    excerpts, untrimmed. alike: if the rounds aren't, n is divided by the design effect
    over blocks, at least 1. Raises SettingsError for a confidence outside [0, 1).
    """
    if not passages:
        return ()
    bounds = np.array(passages, dtype=np.intp)
    holds_passage = _rounds_with_passage(bounds, own, n)
    hits = holds_passage.sum(axis=1).tolist()
    effects = [1.0] * len(passages)
    if not alike:
        effects = _design_effects(holds_passage)
    rates = []
    for passage, count, effect in zip(passages, hits, effects, strict=True):
        start, end = passage
        interval = clopper_pearson(
            hits=count / effect,
            tries=n / effect,
            confidence=confidence,
        )
        rate = PassageRate(
            start,
            end,
            hits=count,
            tries=n,
            low=interval.low,
            high=interval.high,
            approximate=not alike,
        )
        rates.append(rate)
    return tuple(rates)


def _rounds_with_passage(
    bounds: Positions,
    own: Rounds,
    n: int,
) -> Flags:
    """Return whether a run of each round contains each passage whole.

    bounds: start and end of each passage, shape (passages, 2). Returns shape
    (passages, n).
    """
    if not len(own.start):
        return np.zeros((len(bounds), n), dtype=np.bool_)
    # Rounds are laid end to end, so that one search serves all.
    last = max(own.end.max(), bounds.max())
    length = int(last) + 1
    run_start = own.round * length + own.start
    run_end = own.round * length + own.end
    offset = np.arange(n) * length
    passage_start = offset + bounds[:, :1]
    passage_end = offset + bounds[:, 1:]
    last_run_before = run_start.searchsorted(passage_start, side="right") - 1
    is_any_before = last_run_before >= 0
    reaches_end = run_end[last_run_before] >= passage_end
    return np.asarray(is_any_before & reaches_end)


def _design_effects(holds_passage: Flags) -> list[float]:
    """Return by how much the variance over blocks exceeds exchangeable rounds'.

    Per passage, at least 1. holds_passage: shape (passages, n).
    """
    n = holds_passage.shape[1]
    block_of = blocks_of(n)
    rounds_of_block = np.bincount(block_of)
    blocks = len(rounds_of_block)
    share = holds_passage.mean(axis=1)
    is_first_of_block = np.diff(block_of, prepend=-1) > 0
    first_of_block = np.flatnonzero(is_first_of_block)
    hits_of_block = np.add.reduceat(
        holds_passage,
        first_of_block,
        axis=1,
        dtype=np.intp,
    )
    expected_hits = share[:, None] * rounds_of_block
    deviations = hits_of_block - expected_hits
    squares = (deviations**2).sum(axis=1)
    freedom = max(blocks - 1, 1)
    over_blocks = squares * blocks / freedom
    if_alike = n * share * (1 - share)
    effect = np.ones(len(share))
    np.divide(over_blocks, if_alike, out=effect, where=if_alike > 0)
    effects: list[float] = np.maximum(effect, 1).tolist()
    return effects
