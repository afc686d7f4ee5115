"""How often the passages that reports list came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_memleak.records.passage_rate import PassageRate
    from pytest_memleak.scoring.analysis import Analysis


def rate_of(analysis: Analysis, start: int, end: int) -> PassageRate | None:
    """How often their own prompt brought back the words [start, end) of the pair's book, whole.

    None where they lie across the border of two excerpts, which no one prompt asks for.
    """
    from pytest_memleak.scoring.passage_rates import passage_rates  # with numpy

    measured, error = analysis.measurement, analysis.error
    if measured.excerpt_at(start) != measured.excerpt_at(end - 1):
        return None
    (rate,) = passage_rates(
        [(start, end)],
        analysis.own_runs,
        n=error.rounds,
        alike=error.likeness.alike,
        confidence=error.confidence,
    )
    return rate
