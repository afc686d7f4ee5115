"""Detection limits (docs/method.md), exact intervals of proportions, and quantiles.

The beta distribution is summed by its continued fraction (Lentz's method, Abramowitz
and Stegun 26.5.8), and its quantiles are found by Newton's steps inside a bracket.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from pytest_memleak.errors import SettingsError

MIN_DETECTION_LIMIT = 1e-6
"""The lowest detection limit that a suite may set."""

# Keeps `answers_to_detect` the inverse of `detection_limit`, despite rounding.
_ROUNDING = 1e-9
_ANSWERED = 0.9

_STEPS = 200
_LONGEST_FRACTION = 10_000
_EXACT = 1e-15
_TINY = 1e-300


def normal_quantile(confidence: float) -> float:
    """Return the two-sided quantile of a normal distribution, in standard deviations.

    Raises SettingsError for a confidence outside [0, 1).
    """
    if not 0 <= confidence < 1:
        raise SettingsError(
            f"confidence must be at least 0 and less than 1, not {confidence!r}"
        )
    return NormalDist().inv_cdf((1 + confidence) / 2)


@lru_cache(maxsize=4096)
def student_quantile(confidence: float, freedom: float) -> float:
    """Return the two-sided quantile of Student's t, in standard errors.

    freedom: degrees of freedom, 1 or more. Raises SettingsError for a confidence
    outside [0, 1).
    """
    if normal_quantile(confidence) == 0:
        return 0.0
    share = _beta_quantile(confidence, 0.5, freedom / 2)
    return math.sqrt(freedom * share / (1 - share))


def student_tail(t: float, freedom: float) -> float:
    """Return the one-sided p of Student's t: the probability of at least `t`."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    tail = _beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return tail if t >= 0 else 1 - tail


class ShareInterval(NamedTuple):
    """The ends of an interval of a share."""

    low: float
    high: float


@lru_cache(maxsize=4096)
def clopper_pearson(hits: float, tries: float, *, confidence: float) -> ShareInterval:
    """Return the exact interval of a proportion with `hits` of `tries`.

    Neither need be a whole number: a design effect may divide both. With confidence 0
    both ends are the observed proportion; without tries they are 0 and 1. Raises
    SettingsError for a confidence outside [0, 1).
    """
    if normal_quantile(confidence) == 0 and tries:
        return ShareInterval(hits / tries, hits / tries)
    tail, missed = (1 - confidence) / 2, tries - hits
    return ShareInterval(
        _beta_quantile(tail, hits, missed + 1) if hits > 0 else 0.0,
        _beta_quantile(1 - tail, hits + 1, missed) if missed > 0 else 1.0,
    )


# --- detection limit
# ----------------------------------------------------------------------


def detection_limit(answers: int, *, confidence: float) -> float:
    """Return the recall rate per prompt above which a passage appears at least once.

    answers: independent answers per prompt: generations of the excerpt that has fewest,
    withheld ones excluded; or the number of blocks if rounds aren't exchangeable. 1 if
    there are none.
    confidence: of seeing it. Raises SettingsError for a confidence outside [0, 1).
    """
    normal_quantile(confidence)
    return -math.expm1(math.log1p(-confidence) / answers) if answers > 0 else 1.0


def answers_to_detect(probability: float, *, confidence: float) -> int:
    """Return the answers per excerpt needed to see a passage of that `probability`.

    Raises SettingsError for a probability outside [1e-6, 1], or a confidence outside
    [0, 1).
    """
    if not MIN_DETECTION_LIMIT <= probability <= 1:
        raise SettingsError(
            f"detection_limit must be from 0.000001 to 1, not {probability!r}"
        )
    normal_quantile(confidence)
    if probability == 1:
        return 1
    answers = math.log1p(-confidence) / math.log1p(-probability)
    return max(1, math.ceil(answers - _ROUNDING))


def samples_for(answers: int, *, answered: float = 1.0) -> int:
    """Return the samples to request for this many answers.

    answered: observed share of samples that were not withheld. Plans expect at most
    nine in ten (docs/method.md).
    """
    return math.ceil(answers / min(answered, _ANSWERED) - _ROUNDING)


def rounds_to_detect(probability: float, *, confidence: float, alike: bool) -> int:
    """Return the rounds needed; if they aren't `alike`, as many blocks of them are needed.

    Raises as `answers_to_detect` does.
    """
    answers = answers_to_detect(probability, confidence=confidence)
    # Blocks have about √n rounds.
    return answers if alike else max(1, answers * (answers - 1))


# --- the beta distribution
# -----------------------------------------------------------------


def _beta_quantile(probability: float, a: float, b: float) -> float:
    """Return where the beta distribution of `a` and `b` reaches the `probability`."""
    low, high, at = 0.0, 1.0, a / (a + b)
    for _ in range(_STEPS):
        miss = _beta(at, a, b) - probability
        low, high = (low, at) if miss > 0 else (at, high)
        density = math.exp(
            (a - 1) * math.log(at) + (b - 1) * math.log1p(-at) - _log_beta(a, b)
        )
        step = at - miss / density if density > 0 else low
        if not low < step < high:
            step = (low + high) / 2
        if abs(step - at) <= _EXACT * at:
            return step
        at = step
    return at


def _beta(x: float, a: float, b: float) -> float:
    """Return the beta distribution of `a` and `b`, both above 0, up to x, within [0, 1]."""
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast below the mean only
        return 1 - _beta_near(1 - x, b, a)
    return _beta_near(x, a, b)


def _beta_near(x: float, a: float, b: float) -> float:
    height = math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b))
    return height * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    d = 1 / _off_zero(1 - (a + b) * x / (a + 1))
    c, fraction = 1.0, d
    for m in range(1, _LONGEST_FRACTION):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _off_zero(1 + term * d), _off_zero(1 + term / c)
            fraction *= d * c
        if abs(d * c - 1) < _EXACT:
            break
    return fraction


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
