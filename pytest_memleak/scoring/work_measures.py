"""Measures of each work of a collection, and the limits on each (docs/method.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Estimate
from pytest_memleak.scoring.four_measures import covered_runs
from pytest_memleak.scoring.measure_table import (
    BMC,
    LONGEST_BLOCK,
    LONGEST_SPAN,
    MEASURES,
    OF_PASSAGES,
    PASSAGES_OVER,
    SPANS_OVER,
)
from pytest_memleak.scoring.protected_passages import LONGEST_MEASURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Measure, Measurement, Scoring, Work
    from pytest_memleak.scoring.generation_tally import Tally
    from pytest_memleak.scoring.protected_passages import ProtectedPassages
    from pytest_memleak.scoring.word_ranges import Positions

_OF_EACH_WORK = {name: row for name, row in MEASURES.items() if row.of_works}


@dataclass(frozen=True, slots=True)
class WorkMeasures:
    """The measures of each work, and the limits that apply to each.

    works:   in their order; words: N of each
    of_each: per work, its measures, by the names of the table
    beyond:  the same for passages of other protected books
    limits:  the pair's
    scoring: the pair's settings
    """

    works: tuple[Work, ...]
    words: tuple[int, ...]
    of_each: tuple[Mapping[str, float], ...] = field(repr=False)
    beyond: Mapping[str, float]
    limits: Mapping[str, float]
    scoring: Scoring

    def over(self, number: int) -> tuple[str, ...]:
        """Return the measures of a work that exceed their limits."""
        return self._measures_over_limits(self.of_each[number])

    @property
    def leaking(self) -> tuple[int, ...]:
        """Return the numbers of the works that exceed a limit."""
        numbers = range(len(self.works))
        return tuple(number for number in numbers if self.over(number))

    def can_leak(self, number: int) -> bool:
        """Return whether the work would exceed a limit if it was reproduced whole.

        A work of fewer than k words cannot: a continuation's prompt may leave so few.
        """
        words = self.words[number]
        if words < self.scoring.k:
            return False
        of_whole_work = {}
        for name, row in _OF_EACH_WORK.items():
            of_whole_work[name] = self._highest_value(row, words)
        return bool(self._measures_over_limits(of_whole_work))

    def _measures_over_limits(self, measures: Mapping[str, float]) -> tuple[str, ...]:
        over = []
        for name in _OF_EACH_WORK:
            limit = self.limits.get(name)
            if limit is not None and measures[name] > limit:
                over.append(name)
        return tuple(over)

    def _highest_value(self, row: Measure, words: int) -> int:
        """Return the most that a measure of a work of so many words can be."""
        if row.kind == "share":
            return 1
        if row.runs == "number":
            shortest = self.scoring.effective_threshold + 1
            return words // shortest
        return words

    def measures_judged_as_a_whole(
        self, estimates: Mapping[str, Estimate]
    ) -> dict[str, Estimate]:
        """Return the pair's measures that limits apply to as a whole.

        These are the share of leaking works, the coverage of all their words, and
        passages of other books. All other limits apply to each work.
        """
        measures = {}
        for name, estimate in estimates.items():
            row = _OF_EACH_WORK.get(name)
            if row is None or row.kind == "share":
                measures[name] = estimate
        for name, value in self.beyond.items():
            measures[name] = Estimate.exact(value)
        return measures

    @property
    def limits_of_works(self) -> frozenset[str]:
        """Return the measures that limits apply to work by work."""
        return frozenset(_OF_EACH_WORK)


def measure_works(
    book: Book,
    tally: Tally,
    measurement: Measurement,
    passages: ProtectedPassages,
    limits: Mapping[str, float],
) -> WorkMeasures:
    """Compute the measures of the works of `book` from its counts and measures."""
    last_excerpt = [work.end - 1 for work in book.works]
    work_end = tally.layout.ends[last_excerpt]
    words = np.diff(work_end, prepend=0)
    columns = _bmc_and_block_columns(tally, measurement, work_end, words)
    columns |= _span_columns(tally, measurement, work_end)
    of_each, beyond = _passage_measures(book, passages)
    for number, measures in enumerate(of_each):
        for name, column in columns.items():
            measures[name] = column[number].item()
        missing = _OF_EACH_WORK.keys() - measures
        if missing:
            raise AssertionError(f"measures without a value per work: {missing}")
    return WorkMeasures(
        works=book.works,
        words=tuple(words.tolist()),
        of_each=tuple(of_each),
        beyond=beyond,
        limits=limits,
        scoring=tally.scoring,
    )


def _bmc_and_block_columns(
    tally: Tally,
    measurement: Measurement,
    work_end: Positions,
    words: Positions,
) -> dict[str, NDArray[np.generic]]:
    """Return BMC and longest block per work; work_end, words: of each work."""
    rounds_of_word = np.frombuffer(measurement.coverage.rounds, dtype=np.intc)
    is_covered = rounds_of_word > 0
    covered_before = np.concatenate(([0], is_covered.cumsum()))
    covered_words = np.diff(covered_before[work_end], prepend=0)
    start, end = covered_runs(is_covered, tally.layout.borders)
    return {
        BMC.name: covered_words / np.maximum(words, 1),
        LONGEST_BLOCK.name: _longest_by_work(start, end - start, work_end),
    }


def _span_columns(
    tally: Tally,
    measurement: Measurement,
    work_end: Positions,
) -> dict[str, NDArray[np.generic]]:
    """Return longest span and number of spans over the threshold per work."""
    run_start, run_words = tally.own_runs()
    starts = [span.start for span in measurement.spans]
    span_start = np.array(starts, dtype=np.intp)
    work_of_span = work_end.searchsorted(span_start, side="right")
    works = len(work_end)
    return {
        LONGEST_SPAN.name: _longest_by_work(run_start, run_words, work_end),
        SPANS_OVER.name: np.bincount(work_of_span, minlength=works),
    }


def _longest_by_work(
    start: Positions,
    words: Positions,
    work_end: Positions,
) -> Positions:
    """Return the longest of the runs that lie in each work."""
    longest = np.zeros(len(work_end), dtype=np.intp)
    work_of_run = work_end.searchsorted(start, side="right")
    np.maximum.at(longest, work_of_run, words)
    return longest


def _passage_measures(
    book: Book,
    passages: ProtectedPassages,
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Return the passages' measures per work, and those of books outside it."""
    of_each: list[dict[str, float]] = [
        dict.fromkeys(OF_PASSAGES, 0) for _ in book.works
    ]
    beyond: dict[str, float] = dict.fromkeys(OF_PASSAGES, 0)
    work_of = _work_by_excerpt(book)

    def measures_of(book_id: str | None, excerpt_id: str) -> dict[str, float]:
        if book_id == passages.own:
            return of_each[work_of[excerpt_id]]
        return beyond

    longest_by_excerpt = (passages.of_excerpts, passages.nv_of_excerpts)
    for name, longest in zip(LONGEST_MEASURES, longest_by_excerpt, strict=True):
        for (book_id, excerpt_id), words in longest.items():
            measures = measures_of(book_id, excerpt_id)
            measures[name] = max(measures[name], words)
    for passage in passages.passages:
        measures = measures_of(passage.book, passage.excerpt_at or "")
        measures[PASSAGES_OVER.name] += 1
    return of_each, beyond


def _work_by_excerpt(book: Book) -> dict[str, int]:
    """Return the number of the work that contains each excerpt, by excerpt id."""
    work_of = {}
    for number, work in enumerate(book.works):
        excerpts = book.excerpts[work.first : work.end]
        for excerpt in excerpts:
            work_of[excerpt.id] = number
    return work_of
