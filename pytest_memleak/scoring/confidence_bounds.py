"""Exact intervals of proportions, and the quantiles that bounds are made of."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.beta_distribution import beta_quantile, beta_share


def normal_quantile(confidence: float) -> float:
    """Return the two-sided quantile of a normal distribution, in standard deviations.

    Raises SettingsError for a confidence outside [0, 1).
    """
    if not 0 <= confidence < 1:
        raise SettingsError(
            f"confidence must be at least 0 and less than 1, not {confidence!r}",
        )
    upper_end = (1 + confidence) / 2
    return NormalDist().inv_cdf(upper_end)


@lru_cache(maxsize=4096)
def student_quantile(confidence: float, freedom: float) -> float:
    """Return the two-sided quantile of Student's t, in standard errors.

    freedom: degrees of freedom, 1 or more. Raises SettingsError for a confidence
    outside [0, 1).
    """
    if normal_quantile(confidence) == 0:
        return 0.0
    share = beta_quantile(confidence, 0.5, freedom / 2)
    square = freedom * share / (1 - share)
    return math.sqrt(square)


def student_tail(t: float, freedom: float) -> float:
    """Return the one-sided p of Student's t: the probability of at least `t`."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    x = freedom / (freedom + t * t)
    both_tails = beta_share(x, freedom / 2, 0.5)
    upper_tail = both_tails / 2
    return upper_tail if t >= 0 else 1 - upper_tail


class ShareInterval(NamedTuple):
    """The ends of an interval of a share."""

    low: float
    high: float


def one_sided_ends(hits: int, tries: int, *, confidence: float) -> ShareInterval:
    """Return the exact lower and upper end of a proportion, each one-sided.

    With none of 299, the upper end at 95% is 1%.
    """
    return clopper_pearson(hits, tries, confidence=2 * confidence - 1)


@lru_cache(maxsize=4096)
def clopper_pearson(
    hits: float,
    tries: float,
    *,
    confidence: float,
) -> ShareInterval:
    """Return the exact interval of a proportion with `hits` of `tries`.

    Neither need be a whole number: a design effect may divide both. With confidence 0
    both ends are the observed proportion; without tries they are 0 and 1. Raises
    SettingsError for a confidence outside [0, 1).
    """
    if normal_quantile(confidence) == 0 and tries:
        observed = hits / tries
        return ShareInterval(observed, observed)
    tail = (1 - confidence) / 2
    misses = tries - hits
    low = 0.0
    high = 1.0
    if hits > 0:
        low = beta_quantile(tail, hits, misses + 1)
    if misses > 0:
        high = beta_quantile(1 - tail, hits + 1, misses)
    return ShareInterval(low, high)
