"""When reports show a matrix of models and books."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records.pair_result import PairResult

MANY = 9
"""From so many pairs on, reports show a matrix of models and books."""


def fills_matrix(results: Sequence[PairResult]) -> bool:
    """Whether many pairs fill at least half of the matrix of their models and books."""
    models = set()
    books = set()
    for result in results:
        suite = result.suite.name
        models.add((suite, result.model.id))
        books.add((suite, result.book.id))
    cells = len(models) * len(books)
    is_half_full = cells <= 2 * len(results)
    return len(results) >= MANY and is_half_full
