"""The four measures of memorization (METRICS section 3)."""

from __future__ import annotations

from array import array
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Block, Coverage, Measurement, Span
from pytest_memleak.scoring.intervals import cut, outermost
from pytest_memleak.scoring.tally import OwnRun, tallied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.index import Positions
    from pytest_memleak.scoring.matches import Interval
    from pytest_memleak.scoring.rounds import Rounds
    from pytest_memleak.scoring.tally import Tally

__all__ = ["measure", "measurement"]


def measure(
    book: Book,
    generations: Iterable[Generation],
    scoring: Scoring,
) -> Measurement:
    """Measure how much of `book` its `generations` give back.

    Raises SettingsError for settings out of range, BookError for a book that cannot be
    measured, RecordsError for a generation that belongs to none of its excerpts or comes twice.
    """
    return measurement(tallied(book, scoring, generations), scoring)


def measurement(tally: Tally, scoring: Scoring, rounds: Rounds | None = None) -> Measurement:
    """The measures of all that was counted, with the tally's own settings.

    rounds: the tally's, where somebody has asked for them already.
    """
    total = tally.index.total
    times = (rounds or tally.rounds()).times(words=total)
    spans = _spans_over(tally, threshold=scoring.span_threshold)
    return Measurement(
        words=total,
        k=scoring.k,
        trim=scoring.trim,
        span_threshold=scoring.span_threshold,
        word_mode=scoring.words,
        generations=tally.counted.generations,
        bmc=int(np.count_nonzero(times)) / total,
        longest_block=_longest_run(times > 0, tally.index.borders),
        longest_span=tally.span(tally.counted.longest),
        spans_over=len(spans),
        spans=spans,
        coverage=Coverage(_as_array(_reach(*tally.pieces(), total)), _as_array(times)),
        excerpt_starts=tuple(start for start, _ in tally.index.bounds.values()),
    )


def _reach(start: Positions, end: Positions, total: int) -> NDArray[np.intc]:
    """Per word, the length of the longest interval over it."""
    reach = np.zeros(total, dtype=np.intc)
    start, end = outermost(start, end)
    for nth in np.argsort(end - start, kind="stable").tolist():
        reach[start[nth] : end[nth]] = end[nth] - start[nth]
    return reach


def _spans_over(tally: Tally, *, threshold: int) -> tuple[Span, ...]:
    """Distinct spans over T, longest first: greedy over the runs and their suffixes.

    Of the runs with one end only the longest matters, since the others are its suffixes.
    A run that overlaps a span already taken gives way to its longest suffix that does not.
    """
    runs = {run.end: run for run in tally.runs_over()}
    heap = [(-run.words, run.start, run.end) for run in runs.values()]
    heapify(heap)
    owner: dict[int, Interval] = {}
    spans = []
    while heap:
        _, start, end = heappop(heap)
        taken = owner.get(end - 1) or _first_overlap(owner, start, end)
        if taken is None:
            spans.append(tally.span(OwnRun(start, end, runs[end].ordinal)))
            owner.update(dict.fromkeys(range(start, end), (start, end)))
        elif end - taken[1] > threshold:
            heappush(heap, (taken[1] - end, taken[1], end))
    return tuple(spans)


def _first_overlap(owner: dict[int, Interval], start: int, end: int) -> Interval | None:
    """The last taken span that overlaps [start, end), which does not hold its last word."""
    return next((owner[place] for place in range(end - 1, start - 1, -1) if place in owner), None)


def _longest_run(mask: NDArray[np.bool_], borders: Positions) -> Block:
    """The longest run of True that lies across no border; the first of equals."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    _, starts, ends = cut(edges[::2], edges[1::2], borders)
    if not len(starts):
        return Block(0)
    longest = int(np.argmax(ends - starts))
    start, end = int(starts[longest]), int(ends[longest])
    return Block(end - start, start, end)


def _as_array(values: NDArray[np.intc]) -> array[int]:
    return array("i", values.tobytes())
