"""A pair compared with chance and with its model's baseline (METRICS section 7), and further."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.scoring.analysis import analyse
from pytest_memleak.scoring.catalogue import words_digest
from pytest_memleak.scoring.measures import measure
from pytest_memleak.scoring.null import excess_over_null, uplift
from pytest_memleak.story.drawing import draw_pair
from pytest_memleak.story.probing import as_greedy
from pytest_memleak.verdict.judge import Census, what_is_missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.contracts.protocols import Endpoint, Recording
    from pytest_memleak.records import Book, Generation, Pair
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.catalogue import Elsewhere
    from pytest_memleak.story.drawing import Drawn
    from pytest_memleak.story.workshop import Workshop

__all__ = ["compared", "found_elsewhere", "with_greedy", "with_measures_of_extensions"]


def compared(
    analysis: Analysis,
    pair: Pair,
    drawn: Drawn,
    workshop: Workshop,
    *,
    endpoint: Endpoint | Recording | None = None,
) -> tuple[Analysis, tuple[str, ...]]:
    """The analysis with the null and the uplift that a limit or a baseline asks for, and gaps.

    The null takes the same model's generations for the suite's other test books, the uplift
    those of its baseline for this one; what the ledger lacks of them is drawn. An `endpoint`
    that took the place of the suite's answers for the other books too; it may say by an
    attribute `baseline` which endpoint it is to be compared with.
    """
    gaps: list[str] = []
    if "bmc_excess" in pair.limits:
        others = list(_other_answers(pair, workshop, endpoint, gaps))
        null = excess_over_null(
            drawn.book,
            _answers(drawn.book, drawn.generations()),
            others,
            pair.scoring,
            seed=pair.sampling.seed,
            confidence=pair.confidence,
        )
        analysis = dataclasses.replace(analysis, null=null)
    if pair.model.baseline is not None:
        baseline = _baseline(pair, workshop, endpoint, gaps)
        if baseline is not None and baseline.counts.rounds == analysis.counts.rounds:
            gain = uplift(
                analysis.counts,
                baseline.counts,
                scoring=pair.scoring,
                confidence=pair.confidence,
            )
            analysis = dataclasses.replace(analysis, uplift=gain)
    return analysis, tuple(gaps)


def with_greedy(
    analysis: Analysis, pair: Pair, drawn: Drawn
) -> tuple[Analysis, tuple[str, ...], str]:
    """The analysis with the measures of the likeliest continuations, gaps, and their digest."""
    if drawn.greedy is None:
        return analysis, (), ""
    census = Census(drawn.book, as_greedy(pair.sampling))
    greedy = measure(drawn.book, census.watch(drawn.greedy()), pair.scoring)
    gaps = tuple(f"greedy: {gap}" for gap in what_is_missing(census.completeness()))
    return dataclasses.replace(analysis, greedy=greedy), gaps, census.digest


def found_elsewhere(
    pair: Pair, book: Book, drawn: Drawn, workshop: Workshop
) -> tuple[tuple[Elsewhere, ...], tuple[str, ...]]:
    """What the generations give of books that nobody asked for, and books that cannot be read.

    Cross-book recall (METRICS section 4): of the catalogue and, with `cross_book`, of the suite's
    other test books. The pair's own book is none of them, by whatever name.
    What fails here is told, and takes nothing from the pair: no limit rests on it.
    """
    catalogue = workshop.catalogue
    if not catalogue:
        return (), ()
    own = words_digest(book, pair.scoring.words)
    try:
        found = catalogue.scan(drawn.generations, workshop.means.scan)
    except MemleakError as error:
        return (), (f"the catalogue: {error.line}",)
    others = tuple(one for one in found if own != one.digest and one.book != pair.book.id)
    return others, tuple(f"{name}: {why}" for name, why in catalogue.unread.items())


def with_measures_of_extensions(analysis: Analysis, pair: Pair, drawn: Drawn) -> Analysis:
    """The analysis with the extensions' measures that limits are set on."""
    further = {
        name: row.function(drawn.book, drawn.generations())
        for name, row in pair.limits.brought.items()
        if row.function
    }
    return dataclasses.replace(analysis, further=further)


def _other_answers(
    pair: Pair, workshop: Workshop, endpoint: Endpoint | Recording | None, gaps: list[str]
) -> Iterator[tuple[str | None, str]]:
    for other in workshop.suite.pairs:
        alike = other.model.id == pair.model.id and other.probe.kind == pair.probe.kind
        if alike and other.book.id != pair.book.id:
            try:
                book = workshop.book_of(other)
                drawn = draw_pair(other, book, workshop, endpoint=endpoint)
            except MemleakError as error:
                gaps.append(f"null from {other.book.id!r}: {error.line}")
                continue
            gaps += [f"null from {other.book.id!r}: {gap}" for gap in drawn.gaps]
            yield from _answers(drawn.book, drawn.generations())


def _baseline(
    pair: Pair, workshop: Workshop, endpoint: Endpoint | Recording | None, gaps: list[str]
) -> Analysis | None:
    model = next(one for one in workshop.suite.models if one.id == pair.model.baseline)
    theirs = dataclasses.replace(pair, model=model)
    before = getattr(endpoint, "baseline", None)
    if endpoint is not None and before is None:
        # The suite's own baseline is of another model than an endpoint of one's own.
        if "uplift" in pair.limits:
            gaps.append(
                f"baseline {model.id!r}: the endpoint of your own has no attribute `baseline`, "
                "the endpoint it is to be compared with"
            )
        return None
    try:
        drawn = draw_pair(theirs, workshop.book_of(pair), workshop, endpoint=before)
        census = Census(drawn.book, pair.sampling)
        watched = census.watch(drawn.generations())
        found = analyse(drawn.book, watched, pair.scoring, count=workshop.means.count)
    except MemleakError as error:
        gaps.append(f"baseline {model.id!r}: {error.line}")
        return None
    missing = what_is_missing(census.completeness(drawn.gaps))
    if "uplift" in pair.limits:
        gaps += [f"baseline {model.id!r}: {gap}" for gap in missing]
    return found


def _answers(book: Book, generations: Iterable[Generation]) -> Iterator[tuple[str | None, str]]:
    asked = {excerpt.id: excerpt.instruction for excerpt in book.excerpts}
    return ((asked.get(one.excerpt_id), one.text) for one in generations)
