"""Detection limit: the lowest recall rate that a run would still see (METRICS section 6)."""

from __future__ import annotations

import math

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.quantiles import normal_quantile

MIN_DETECTION_LIMIT = 1e-6
"""The lowest detection limit that a suite may set."""

# Keeps `answers_to_detect` the inverse of `detection_limit`, despite rounding.
_ROUNDING = 1e-9
_ANSWERED = 0.9


def detection_limit(answers: int, *, confidence: float) -> float:
    """Return the recall rate per prompt above which a passage appears at least once.

    answers: independent answers per prompt: generations of the excerpt that has fewest, withheld
    ones excluded; or the number of blocks if rounds aren't exchangeable. 1 if there are none.
    confidence: of seeing it. Raises SettingsError for a confidence outside [0, 1).
    """
    normal_quantile(confidence)
    return -math.expm1(math.log1p(-confidence) / answers) if answers > 0 else 1.0


def answers_to_detect(probability: float, *, confidence: float) -> int:
    """Return the answers per excerpt needed to see a passage of that `probability`.

    Raises SettingsError for a probability outside [1e-6, 1], or a confidence outside [0, 1).
    """
    if not MIN_DETECTION_LIMIT <= probability <= 1:
        raise SettingsError(f"detection_limit must be from 0.000001 to 1, not {probability!r}")
    normal_quantile(confidence)
    if probability == 1:
        return 1
    answers = math.log1p(-confidence) / math.log1p(-probability)
    return max(1, math.ceil(answers - _ROUNDING))


def samples_for(answers: int, *, answered: float = 1.0) -> int:
    """Return the samples to request for this many answers.

    answered: observed share of samples that were not withheld. Plans expect at most nine in ten
    (METRICS section 9).
    """
    return math.ceil(answers / min(answered, _ANSWERED) - _ROUNDING)


def rounds_to_detect(probability: float, *, confidence: float, alike: bool) -> int:
    """Return the rounds needed; if they aren't `alike`, as many blocks of them are needed.

    Raises as `answers_to_detect` does.
    """
    answers = answers_to_detect(probability, confidence=confidence)
    # Blocks have about √n rounds.
    return answers if alike else max(1, answers * (answers - 1))
