"""The story of one pair, from its book to its verdict.

    suite ── books ── models ── sampling ── scoring ── verdict ── reports
                        (ledger)

Read the book; open the model's endpoint; draw the missing generations through the ledger;
measure them against the book, and the measures against chance; judge. Every room has a folder
of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.records import Completeness
from pytest_memleak.scoring.analysis import analyse, estimates
from pytest_memleak.scoring.measure_table import asks_for
from pytest_memleak.story.comparisons import (
    compared,
    found_elsewhere,
    with_greedy,
    with_measures_of_extensions,
)
from pytest_memleak.story.drawing import draw_pair
from pytest_memleak.story.probability import extract_pair
from pytest_memleak.verdict.evaluation import Evaluation
from pytest_memleak.verdict.judge import Census, check_limits, judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.contracts.protocols import Endpoint, Recording
    from pytest_memleak.records import Book, Generation, Pair
    from pytest_memleak.sampling.loop import Progress
    from pytest_memleak.scoring.analysis import Count
    from pytest_memleak.story.drawing import Enough
    from pytest_memleak.story.probability import Extracted
    from pytest_memleak.story.workshop import Workshop

__all__ = ["evaluate"]


def evaluate(
    pair: Pair,
    workshop: Workshop,
    *,
    endpoint: Endpoint | Recording | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate one model on one book.

    `endpoint` takes the place of the suite's own, for a model of one's own. What is already in
    the ledger is not drawn again. Whatever cannot be read, opened or drawn makes the pair
    INCONCLUSIVE, unless what is there is over a limit already; nothing is raised for it.
    """
    try:
        book = workshop.book_of(pair)
        workshop.refuse_shared_text(book, pair)
        if pair.probe.kind == "probability":
            return _of_windows(
                pair,
                book,
                workshop,
                extract_pair(pair, book, workshop, endpoint=endpoint, progress=progress),
            )
        drawn = draw_pair(
            pair,
            book,
            workshop,
            endpoint=endpoint,
            progress=progress,
            enough=_stop_for(pair, workshop.means.count),
        )
        census = Census(drawn.book, pair.sampling)
        analysis = analyse(
            drawn.book,
            census.watch(drawn.generations()),
            pair.scoring,
            confidence=pair.confidence,
            near=_asks_for_near_verbatim(pair),
            count=workshop.means.count,
        )
        gaps, greedy_sha256 = drawn.gaps, ""
        if analysis:
            analysis, of_greedy, greedy_sha256 = with_greedy(analysis, pair, drawn)
            gaps += of_greedy
            analysis, more = compared(analysis, pair, drawn, workshop, endpoint=endpoint)
            analysis = with_measures_of_extensions(analysis, pair, drawn)
            gaps += more
        elsewhere, unread = found_elsewhere(pair, book, drawn, workshop)
    except MemleakError as error:
        return _without_evidence(pair, workshop, error.line)

    completeness = census.completeness(gaps)
    return Evaluation(
        suite=workshop.suite.name,
        suite_digest=workshop.suite.digest,
        pair=pair,
        judgement=judge(analysis, completeness, pair.limits),
        completeness=completeness,
        book=drawn.book,
        endpoint=drawn.endpoint_id,
        job=workshop.job_of(pair.model),
        measurement=analysis.measurement if analysis else None,
        analysis=analysis,
        spared=drawn.spared,
        generations_sha256=census.digest,
        greedy_sha256=greedy_sha256,
        elsewhere=elsewhere,
        unread=unread,
    )


def _asks_for_near_verbatim(pair: Pair) -> bool:
    return asks_for(pair.limits, "near")


def _stop_for(pair: Pair, count: Count) -> Enough | None:
    """With `stop = "failed"`: whether a limit is broken that more samples cannot mend."""
    if pair.sampling.stop != "failed":
        return None

    def broken(book: Book, generations: Iterable[Generation]) -> bool:
        near = _asks_for_near_verbatim(pair)
        analysis = analyse(book, generations, pair.scoring, near=near, count=count)
        found = estimates(analysis) if analysis else {}
        return any(check.over and check.rises for check in check_limits(found, pair.limits))

    return broken


def _of_windows(pair: Pair, book: Book, workshop: Workshop, found: Extracted) -> Evaluation:
    return Evaluation(
        suite=workshop.suite.name,
        suite_digest=workshop.suite.digest,
        pair=pair,
        judgement=judge(found.extraction, found.completeness, pair.limits),
        completeness=found.completeness,
        book=book,
        endpoint=found.endpoint_id,
        job=workshop.job_of(pair.model),
        extraction=found.extraction,
    )


def _without_evidence(pair: Pair, workshop: Workshop, gap: str) -> Evaluation:
    nothing = Completeness(
        asked=0, got=0, withheld={}, max_withheld=pair.sampling.max_blocked, gaps=(gap,)
    )
    return Evaluation(
        suite=workshop.suite.name,
        suite_digest=workshop.suite.digest,
        pair=pair,
        judgement=judge(None, nothing, pair.limits),
        completeness=nothing,
    )
