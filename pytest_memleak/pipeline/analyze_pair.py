"""All that a pair's model wrote for it measured, whole or so far."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.required_samples import Purpose, all_texts
from pytest_memleak.scoring.analysis import analyse, judged_apart, judged_measures
from pytest_memleak.scoring.measure_table import asks_for
from pytest_memleak.scoring.measures import measure
from pytest_memleak.verdict.judge import check_limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.pipeline.catalog import Held
    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.sampled_generations import Stop, Written
    from pytest_memleak.records import Generation, Pair
    from pytest_memleak.scoring.analysis import Analysis


def analysed(
    pair: Pair,
    written: Written,
    protected: ProtectedBooks,
    resources: Resources,
    held: Held | None = None,
    *,
    texts: Iterable[Generation] | None = None,
) -> Analysis | None:
    """What the model gives back of the book, and of every protected one; None without samples.

    held: the books of the catalog that they have to be held against; texts: all that was
    written, where it is counted as it is read.
    """
    beyond = (held.books, held.least) if held else ((), 0)
    book = written[0].book
    analysis = analyse(
        book,
        all_texts(written) if texts is None else texts,
        pair.scoring,
        confidence=pair.confidence,
        near=asks_for(pair.limits, "near"),
        protected=protected.for_pair(pair, book, beyond[0], least=beyond[1]),
        limits=pair.limits,
        count=resources.count,
    )
    greedy = [part for part in written if part.draws.purpose is Purpose.GREEDY]
    if analysis is None or not greedy:
        return analysis
    likeliest = measure(greedy[0].book, greedy[0].generations(), pair.scoring)
    return dataclasses.replace(analysis, greedy=likeliest)


def stop_for(pair: Pair, protected: ProtectedBooks, resources: Resources) -> Stop | None:
    """With `stop_on_fail = true`: whether a limit is broken that more samples cannot mend.

    Where the pair's own book is excused, only what other books are recited ends the drawing.
    """
    if not pair.sampling.stop_on_fail:
        return None

    def broken(written: Written) -> bool:
        analysis = analysed(pair, written, protected, resources)
        own, others = judged_apart(analysis) if analysis else ({}, {})
        checks = check_limits(others or own, pair.limits)
        return any(check.over and check.rises for check in checks)

    return broken


def is_over_a_limit(analysis: Analysis | None, pair: Pair) -> bool:
    """Whether something observed is over the pair's limit."""
    found = judged_measures(analysis) if analysis else {}
    return any(check.over for check in check_limits(found, pair.limits))
