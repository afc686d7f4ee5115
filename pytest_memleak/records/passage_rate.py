"""How often a passage comes back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassageRate:
    """How likely an answer to a passage's prompt gives it back whole (METRICS section 6).

    start, end:  the book's words [start, end)
    hits, tries: rounds that give it back, of how many
    low, high:   the interval (Clopper-Pearson) of the probability
    approximate: whether rounds were not alike, so that they count for fewer
    """

    start: int
    end: int
    hits: int
    tries: int
    low: float
    high: float
    approximate: bool
