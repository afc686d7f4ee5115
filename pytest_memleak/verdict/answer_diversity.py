"""How much the answers to one excerpt differ (METRICS section 10, "it sampled")."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest_memleak.verdict.generation_features import Flags, GenerationFeatures
    from pytest_memleak.verdict.shingles import Keys


def variety(
    readings: GenerationFeatures, runs: Keys, answers: Flags
) -> tuple[list[Fraction], list[Fraction]]:
    """Per excerpt with two answers or more: distinct ones, and distinct 8-word runs, of all.

    An excerpt whose answers have no run of 8 words is left out of the second.
    """
    ends = readings.runs.cumsum()
    of: dict[int, list[int]] = {}
    for one in np.flatnonzero(answers).tolist():
        of.setdefault(int(readings.excerpt[one]), []).append(one)
    texts, stretches = [], []
    for its in of.values():
        if len(its) > 1:
            texts.append(Fraction(len(np.unique(readings.key[its])), len(its)))
            found = np.concatenate(
                [runs[ends[one] - readings.runs[one] : ends[one]] for one in its]
            )
            if len(found):
                found.sort()
                distinct = 1 + int(np.count_nonzero(found[1:] != found[:-1]))
                stretches.append(Fraction(distinct, len(found)))
    return texts, stretches
