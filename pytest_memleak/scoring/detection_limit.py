"""Detection limits, and the answers per excerpt that reach one (docs/method.md).

An answer here is one that may differ from the others of its excerpt, and that the
provider didn't withhold.
"""

from __future__ import annotations

import math

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.beta_distribution import beta_quantile
from pytest_memleak.scoring.confidence_bounds import normal_quantile

MIN_DETECTION_LIMIT = 1e-6
"""The lowest detection limit that a suite may set."""

# Keeps `independent_answers_to_detect` the inverse of `detection_limit`.
_ROUNDING = 1e-9
_ANSWERED = 0.9
_DETECTION_CONFIDENCE = 0.95


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


def independent_answers_to_detect(limit: float, *, confidence: float) -> int:
    """Return the independent answers per excerpt that reach a detection limit.

    Raises SettingsError for a limit outside [1e-6, 1], or a confidence outside [0, 1).
    """
    if not MIN_DETECTION_LIMIT <= limit <= 1:
        raise SettingsError(
            f"detection_limit must be from 0.000001 to 1, not {limit!r}",
        )
    normal_quantile(confidence)  # validates it
    if limit == 1:
        return 1
    log_unseen = math.log1p(-confidence)
    log_unseen_once = math.log1p(-limit)
    answers = math.ceil(log_unseen / log_unseen_once - _ROUNDING)
    return max(1, answers)


def answers_to_detect(
    limit: float,
    *,
    confidence: float,
    exchangeable: bool,
) -> int:
    """Return the answers per excerpt that reach a detection limit.

    If they aren't `exchangeable`, only blocks of them are independent. Raises as
    `independent_answers_to_detect` does.
    """
    independent = independent_answers_to_detect(limit, confidence=confidence)
    if exchangeable:
        return independent
    answers = independent * (independent - 1)  # blocks have about √n answers
    return max(1, answers)


def samples_for_answers(answers: int, *, answered: float = 1.0) -> int:
    """Return the samples to request for this many answers.

    answered: observed share of samples that were not withheld. Plans expect at most
    nine in ten (docs/method.md).
    """
    expected_share = min(answered, _ANSWERED)
    return math.ceil(answers / expected_share - _ROUNDING)
