"""Models compared on one book: their strips, and how alike they are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.scoring.measures import compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.reports.html.views import PairView
    from pytest_memleak.scoring.measures import Similarity


@dataclass(frozen=True, slots=True)
class BookView:
    """Models compared on one book: their strips, and a matrix of Jaccard indices.

    cells: rows x columns; the diagonal's is the self-agreement, without a baseline.
    left_out: models whose masks cannot be compared, since the book was cut or counted otherwise.
    """

    anchor: str
    title: str
    pairs: tuple[PairView, ...]
    cells: tuple[tuple[Similarity | float, ...], ...]
    left_out: tuple[str, ...]


def book_views(views: Iterable[PairView]) -> list[BookView]:
    """One view per book that was measured with at least one model."""
    by_book: dict[tuple[str, str], list[PairView]] = {}
    for view in views:
        if view.plot:
            by_book.setdefault((view.result.suite, view.result.book), []).append(view)
    return [_book_view(pairs, f"book-{n}") for n, pairs in enumerate(by_book.values(), 1)]


def _book_view(pairs: Sequence[PairView], anchor: str) -> BookView:
    alike = [pair for pair in pairs if _counted(pair) == _counted(pairs[0])]
    left_out = tuple(pair.result.model for pair in pairs if pair not in alike)
    masks = [pair.plot.times > 0 for pair in alike if pair.plot]
    agreements = [pair.plot.agreement for pair in alike if pair.plot]
    size = range(len(masks))
    similar = {(i, j): compare(masks[i], masks[j]) for i, j in itertools.combinations(size, 2)}
    cells = tuple(
        tuple(agreements[i] if i == j else similar[min(i, j), max(i, j)] for j in size)
        for i in size
    )
    return BookView(anchor, pairs[0].book, tuple(alike), cells, left_out)


def _counted(view: PairView) -> tuple[object, ...]:
    """What must be the same for two masks to be of the same words."""
    settings = view.result.settings
    return view.result.word_count, view.result.book_digest, settings["word_mode"], settings["k"]
