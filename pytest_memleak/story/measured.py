"""A pair's answers measured, whole or so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.scoring.analysis import analyse, judged_measures
from pytest_memleak.scoring.measure_table import asks_for
from pytest_memleak.verdict.judge import check_limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records import Book, Generation, Pair
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.story.catalogue import Held
    from pytest_memleak.story.drawn_answers import Enough
    from pytest_memleak.story.suite_run import SuiteRun

__all__ = ["analysed", "is_over_a_limit", "stop_for"]


def analysed(
    pair: Pair,
    book: Book,
    generations: Iterable[Generation],
    suite: SuiteRun,
    held: Held | None = None,
) -> Analysis | None:
    """What the generations give back of the book, and of every protected one; None without any.

    held: the books of the catalogue that they have to be held against.
    """
    beyond = (held.books, held.least) if held else ((), 0)
    return analyse(
        book,
        generations,
        pair.scoring,
        confidence=pair.confidence,
        near=asks_for(pair.limits, "near"),
        protected=suite.protected.for_pair(pair, book, beyond[0], least=beyond[1]),
        limits=pair.limits,
        count=suite.resources.count,
    )


def stop_for(pair: Pair, suite: SuiteRun) -> Enough | None:
    """With `stop = "failed"`: whether a limit is broken that more samples cannot mend."""
    if pair.sampling.stop != "failed":
        return None

    def broken(book: Book, generations: Iterable[Generation]) -> bool:
        analysis = analysed(pair, book, generations, suite)
        found = judged_measures(analysis) if analysis else {}
        checks = check_limits(found, pair.limits)
        return any(check.over and check.rises for check in checks)

    return broken


def is_over_a_limit(analysis: Analysis | None, pair: Pair) -> bool:
    """Whether something observed is over the pair's limit."""
    found = judged_measures(analysis) if analysis else {}
    return any(check.over for check in check_limits(found, pair.limits))
