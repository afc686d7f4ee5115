"""The interval of BMC, and of the difference of two (docs/method.md).

It covers the mean over samples of n rounds of one endpoint, not the value of another
sample. It adds up the spread of rounds and that of spans that appear by chance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.confidence_bounds import (
    ShareInterval,
    normal_quantile,
    student_quantile,
)
from pytest_memleak.scoring.round_blocks import (
    blocks_of,
    jackknife_variance,
    larger_bmc_variance_over_blocks,
)

if TYPE_CHECKING:
    from pytest_memleak.records import Scoring
    from pytest_memleak.scoring.rounds import RoundCounts

# Length, in words, of a typical span if none was seen.
_NO_SPAN = 20


class Spread(NamedTuple):
    """The components of an interval of BMC.

    variance: of BMC, over `units` rounds, or blocks of them if rounds aren't
              exchangeable; None for a single round
    units:    Student's t has one degree of freedom less
    typical:  length of a typical span, a share of the book
    """

    variance: float | None
    units: int
    typical: float


def spread(
    counts: RoundCounts,
    *,
    baseline: RoundCounts | None = None,
    scoring: Scoring,
    alike: bool = True,
    seed: int = 0,
) -> Spread:
    """Compute the spread of BMC: the jackknife over rounds, if they are `alike`.

    Otherwise the largest of it, the jackknife over blocks of rounds, and twice the
    bootstrap variance over these. With a `baseline`: of the difference, round by round.
    """
    typical = typical_span(counts, scoring=scoring)
    lost_words = counts.alone
    if baseline:
        lost_words = counts.alone - baseline.alone
    over_rounds = jackknife_variance(lost_words / counts.words)
    if alike or over_rounds is None:
        return Spread(
            variance=over_rounds,
            units=counts.rounds,
            typical=typical,
        )
    last_block = int(blocks_of(counts.rounds)[-1])
    over_blocks = larger_bmc_variance_over_blocks(counts, baseline=baseline, seed=seed)
    return Spread(
        variance=max(over_rounds, over_blocks),
        units=last_block + 1,
        typical=typical,
    )


def typical_span(counts: RoundCounts, *, scoring: Scoring) -> float:
    """Return the root mean square length of rounds' spans, as a share of the book.

    Without spans that of max(k, 20) words.
    """
    if not len(counts.spans):
        return _typical_if_none(counts.words, scoring)
    mean_square = float(np.mean(counts.spans**2))
    return math.sqrt(mean_square) / counts.words


def _typical_if_none(words: int, scoring: Scoring) -> float:
    return max(scoring.k, _NO_SPAN) / words


def bmc_bounds(
    bmc: float,
    spread: Spread,
    *,
    confidence: float,
) -> ShareInterval:
    """Return the two-sided interval, in [0, 1], of the expected BMC of n rounds.

    Spans that appear by chance are two more or fewer below; above, the interval is as
    wide as Wilson's for a Poisson count of spans, since a few that were seen say less
    about how many there can be than about how few.

    One round has no variance: its bounds are 0 and 1. With confidence 0 both are the
    BMC. Raises SettingsError for a confidence outside [0, 1).
    """
    z = normal_quantile(confidence)
    if z == 0:
        return ShareInterval(bmc, bmc)
    if spread.variance is None:
        return ShareInterval(0.0, 1.0)
    of_rounds = _squared_width(spread.variance, spread.units, confidence)
    of_two_spans = 2 * (z * spread.typical) ** 2
    down = math.sqrt(of_rounds + of_two_spans)
    shift = z * z / 2 * spread.typical
    wilson = shift + math.sqrt(of_rounds + shift**2)
    up = max(down, wilson)  # below a confidence of 0.85 `down` can be greater
    low = max(bmc - down, 0.0)
    high = min(bmc + up, 1.0)
    return ShareInterval(low, high)


def upper_end_without_recall(
    words: int,
    *,
    scoring: Scoring,
    confidence: float,
) -> float:
    """Return the upper end of BMC's interval if nothing of `words` is covered.

    The same for any number of rounds from two on. Raises SettingsError as `bmc_bounds`
    does.
    """
    typical = _typical_if_none(words, scoring)
    nothing_covered = Spread(
        variance=0.0,
        units=2,
        typical=typical,
    )
    interval = bmc_bounds(0.0, nothing_covered, confidence=confidence)
    return interval.high


def difference_bounds(
    difference: float,
    spread: Spread,
    *,
    typical_less: float,
    confidence: float,
) -> ShareInterval:
    """Return the interval of one BMC minus another, in [-1, 1], as `bmc_bounds` does.

    spread: of the difference, with the typical span of the minuend's coverage;
    typical_less: the typical span of the subtrahend's coverage.
    """
    z = normal_quantile(confidence)
    if z == 0:
        return ShareInterval(difference, difference)
    if spread.variance is None:
        return ShareInterval(-1.0, 1.0)
    of_rounds = _squared_width(spread.variance, spread.units, confidence)
    more = z * z / 2 * spread.typical
    less = z * z / 2 * typical_less
    width = math.sqrt(of_rounds + more * more + less * less)
    low = max(difference - less - width, -1.0)
    high = min(difference + more + width, 1.0)
    return ShareInterval(low, high)


def _squared_width(
    variance: float,
    units: int,
    confidence: float,
) -> float:
    """Return t² V: the square of the half-width that rounds alone would give."""
    t = student_quantile(confidence, units - 1)
    return t**2 * variance
