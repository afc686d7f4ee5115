"""What a test of one's own reads of a pair: every measure of the table, by its name.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_memleak.plugin.outcomes import PairInconclusive, remembering_doubt
from pytest_memleak.records import Estimate
from pytest_memleak.scoring.measure_table import MEASURES, why_unmeasured

if TYPE_CHECKING:
    import pytest

    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = ["Memorization"]


class Memorization:
    """A pair's measures as attributes, read as the gate reads them, and its Measurement's fields.

    A measure that the run didn't compute is INCONCLUSIVE, whatever the test does with it.
    """

    def __init__(self, evaluation: Evaluation, item: pytest.Item) -> None:
        self._evaluation, self._item = evaluation, item

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        evaluation = self._evaluation
        known: Any = evaluation.analysis or evaluation.extraction
        further = getattr(known, "further", {})
        if name in further:
            return further[name]
        if name not in MEASURES and evaluation.measurement is not None:
            return getattr(evaluation.measurement, name)
        row = MEASURES.get(name)
        there = row and row.read and getattr(known, row.needs.part, None) is not None
        value = row.read(known) if row and row.read and there else None
        if value is None:
            why = why_unmeasured(name, windows=evaluation.extraction is not None)
            with remembering_doubt(self._item):
                raise PairInconclusive(f"INCONCLUSIVE: {name} could not be measured: {why}")
        return value.value if isinstance(value, Estimate) else value
