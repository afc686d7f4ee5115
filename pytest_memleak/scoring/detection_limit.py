"""How rarely a passage may come back and still have been seen (METRICS section 6)."""

from __future__ import annotations

import math

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.quantiles import normal_quantile

LEAST_DETECT = 1e-6
"""The lowest probability that a suite may ask its answers to detect."""

# So that what `detection` gives of n answers asks for n, and not for one more.
_ROUNDING = 1e-9
_ANSWERED = 0.9


def detection(answers: int, *, confidence: float) -> float:
    """Above which probability an answer's passage would have been seen, by `confidence`.

    answers: independent answers to its prompt: how many generations the excerpt has that has
    fewest, withheld ones left out; or the number of blocks where rounds are not alike. 1 where
    there are none. Raises SettingsError for a confidence outside [0, 1).
    """
    normal_quantile(confidence)
    return -math.expm1(math.log1p(-confidence) / answers) if answers > 0 else 1.0


def answers_to_detect(probability: float, *, confidence: float) -> int:
    """How many answers per excerpt it takes to detect a passage of that `probability`.

    Raises SettingsError for a probability outside [1e-6, 1], or a confidence outside [0, 1).
    """
    if not LEAST_DETECT <= probability <= 1:
        raise SettingsError(f"detect must be at least 0.000001 and at most 1, not {probability!r}")
    normal_quantile(confidence)
    if probability == 1:
        return 1
    answers = math.log1p(-confidence) / math.log1p(-probability)
    return max(1, math.ceil(answers - _ROUNDING))


def samples_for(answers: int, *, answered: float = 1.0) -> int:
    """How many samples to request for this many answers.

    answered: the observed share of samples that were not withheld. Plans expect at most nine in
    ten (METRICS section 9).
    """
    return math.ceil(answers / min(answered, _ANSWERED) - _ROUNDING)


def rounds_to_detect(probability: float, *, confidence: float, alike: bool) -> int:
    """How many rounds it takes; where they are not `alike`, blocks of them have to be as many.

    Raises as `answers_to_detect` does.
    """
    answers = answers_to_detect(probability, confidence=confidence)
    # Blocks are of about √n rounds.
    return answers if alike else max(1, answers * (answers - 1))
