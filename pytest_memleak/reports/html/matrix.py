"""The matrix of books and models in the HTML report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pytest_memleak.records import Measure
from pytest_memleak.reports.html.views import PairView
from pytest_memleak.reports.measure_text import format_percent
from pytest_memleak.results.build_result import overview_measures


class MatrixEntry(NamedTuple):
    """A pair in a matrix. value: of the measure, or "" without one."""

    pair: PairView
    value: str


@dataclass(frozen=True, slots=True)
class MatrixView:
    """The pairs of a suite, books x models. cells: by book and model."""

    suite: str
    row: Measure
    models: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Sequence[MatrixEntry]]]


def matrices(pairs: Sequence[PairView]) -> tuple[MatrixView, ...]:
    """Arrange the pairs of each suite by books and models."""
    results = [pair.result for pair in pairs]
    row = overview_measures(results)[0]
    by_suite: defaultdict[str, list[PairView]] = defaultdict(list)
    for pair in sorted(pairs, key=_number):
        suite = pair.result.suite.name
        by_suite[suite].append(pair)
    arranged = []
    for suite, own in by_suite.items():
        arranged.append(_suite_matrix(suite, row, own))
    return tuple(arranged)


def _number(pair: PairView) -> int:
    return int(pair.anchor.removeprefix("pair-"))


def _suite_matrix(
    suite: str,
    row: Measure,
    pairs: Sequence[PairView],
) -> MatrixView:
    cells: dict[str, dict[str, list[MatrixEntry]]] = {}
    models: dict[str, None] = {}
    for pair in pairs:
        model = pair.result.model.id
        models[model] = None
        value = pair.result.values.get(row.name)
        text = ""
        if value is not None:
            text = format_percent(row, value)
        of_book = cells.setdefault(pair.book, {})
        entries = of_book.setdefault(model, [])
        entries.append(MatrixEntry(pair, text))
    return MatrixView(suite, row, tuple(models), cells)
