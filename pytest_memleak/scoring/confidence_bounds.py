"""Detection limits (docs/method.md), exact intervals of proportions, and quantiles."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.beta_distribution import beta_quantile, beta_share

MIN_DETECTION_LIMIT = 1e-6
"""The lowest detection limit that a suite may set."""

# Keeps `answers_to_detect` the inverse of `detection_limit`, despite rounding.
_ROUNDING = 1e-9
_ANSWERED = 0.9

_DETECTION_CONFIDENCE = 0.95


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


def detection_confidence(confidence: float) -> float:
    """Return the confidence of a detection limit: the suite's, or 0.95 if that is 0.

    At confidence 0 a suite gates on observed values, and every limit would be 0.
    """
    return confidence or _DETECTION_CONFIDENCE


def detection_limit(answers: int, *, confidence: float) -> float:
    """Return the recall rate per prompt above which a passage appears at least once.

    answers: independent answers per prompt: generations of the excerpt that has fewest,
    withheld ones excluded; or the number of blocks if rounds aren't exchangeable. The
    limit is 1 without answers. confidence: of seeing the passage. Raises SettingsError
    for a confidence outside [0, 1).
    """
    normal_quantile(confidence)  # validates it
    if answers <= 0:
        return 1.0
    # 1 - (1 - confidence) ** (1 / answers), exact for small results.
    log_unseen_once = math.log1p(-confidence) / answers
    return -math.expm1(log_unseen_once)


def detection_limit_if_lost_recalled(
    lost: int,
    answers: int,
    *,
    confidence: float,
) -> float:
    """Return the detection limit if each lost completion held the passage.

    It is the upper end of the exact one-sided interval for `lost` of both together.
    Raises SettingsError for a confidence outside [0, 1).
    """
    if lost == 0 or answers <= 0:
        return detection_limit(answers, confidence=confidence)
    normal_quantile(confidence)  # validates it
    return beta_quantile(confidence, lost + 1, answers)


def answers_to_detect(probability: float, *, confidence: float) -> int:
    """Return the answers per excerpt needed to see a passage of that `probability`.

    Raises SettingsError for a probability outside [1e-6, 1], or a confidence outside
    [0, 1).
    """
    if not MIN_DETECTION_LIMIT <= probability <= 1:
        raise SettingsError(
            f"detection_limit must be from 0.000001 to 1, not {probability!r}",
        )
    normal_quantile(confidence)  # validates it
    if probability == 1:
        return 1
    log_unseen = math.log1p(-confidence)
    log_unseen_once = math.log1p(-probability)
    answers = math.ceil(log_unseen / log_unseen_once - _ROUNDING)
    return max(1, answers)


def samples_for_answers(answers: int, *, answered: float = 1.0) -> int:
    """Return the samples to request for this many answers.

    answered: observed share of samples that were not withheld. Plans expect at most
    nine in ten (docs/method.md).
    """
    expected_share = min(answered, _ANSWERED)
    return math.ceil(answers / expected_share - _ROUNDING)


def rounds_to_detect(
    probability: float,
    *,
    confidence: float,
    alike: bool,
) -> int:
    """Return the rounds needed to see a passage of that `probability`.

    If they aren't `alike`, as many blocks of them are needed. Raises as
    `answers_to_detect` does.
    """
    answers = answers_to_detect(probability, confidence=confidence)
    if alike:
        return answers
    rounds = answers * (answers - 1)  # blocks have about √n rounds
    return max(1, rounds)
