"""The four measures of memorization (METRICS section 3)."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Block, Coverage, Measurement, Span
from pytest_memleak.scoring.generation_tally import OwnRun, tallied
from pytest_memleak.scoring.intervals import cut, outermost
from pytest_memleak.scoring.passages import distinct_passages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.generation_tally import Tally
    from pytest_memleak.scoring.index import Positions
    from pytest_memleak.scoring.rounds import Rounds

__all__ = ["measure", "measurement", "runs_of"]


def measure(
    book: Book,
    generations: Iterable[Generation],
    scoring: Scoring,
) -> Measurement:
    """Measure how much of `book` its `generations` give back.

    Raises SettingsError for settings out of range, BookError for a book that cannot be
    measured, RecordsError for a generation that belongs to none of its excerpts or comes twice.
    """
    return measurement(tallied(book, scoring, generations, recitals=False), scoring)


def measurement(tally: Tally, scoring: Scoring, rounds: Rounds | None = None) -> Measurement:
    """The measures of all that was counted, with the tally's own settings.

    rounds: the tally's, where somebody has asked for them already.
    """
    total = tally.layout.total
    times = (rounds or tally.rounds()).times(words=total)
    spans = _spans_over(tally, over=max(scoring.span_threshold, scoring.k - 1))
    return Measurement(
        words=total,
        k=scoring.k,
        trim=scoring.trim,
        span_threshold=scoring.span_threshold,
        word_mode=scoring.words,
        generations=tally.counted.generations,
        bmc=int(np.count_nonzero(times)) / total,
        longest_block=_longest_run(times > 0, tally.layout.borders),
        longest_span=tally.span(tally.counted.longest),
        spans_over=len(spans),
        spans=spans,
        coverage=Coverage(_as_array(_reach(*tally.pieces(), total)), _as_array(times)),
        excerpt_starts=tuple(start for start, _ in tally.layout.bounds.values()),
    )


def _reach(start: Positions, end: Positions, total: int) -> NDArray[np.intc]:
    """Per word, the length of the longest interval over it."""
    reach = np.zeros(total, dtype=np.intc)
    start, end = outermost(start, end)
    for nth in np.argsort(end - start, kind="stable").tolist():
        reach[start[nth] : end[nth]] = end[nth] - start[nth]
    return reach


def _spans_over(tally: Tally, *, over: int) -> tuple[Span, ...]:
    """Distinct spans of more than `over` words, longest first.

    Of the runs with one end only the longest matters, since the others are its suffixes.
    """
    start, end, ordinal = tally.runs_over()
    return tuple(
        tally.span(OwnRun(first, last, int(ordinal[nth])))
        for first, last, nth in distinct_passages(start, end, over=over)
    )


def runs_of(mask: NDArray[np.bool_], borders: Positions) -> tuple[Positions, Positions]:
    """Start and end of each run of True, cut at the borders."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    _, starts, ends = cut(edges[::2], edges[1::2], borders)
    return starts, ends


def _longest_run(mask: NDArray[np.bool_], borders: Positions) -> Block:
    """The longest run of True that lies across no border; the first of equals."""
    starts, ends = runs_of(mask, borders)
    if not len(starts):
        return Block(0)
    longest = int(np.argmax(ends - starts))
    start, end = int(starts[longest]), int(ends[longest])
    return Block(end - start, start, end)


def _as_array(values: NDArray[np.intc]) -> array[int]:
    return array("i", values.tobytes())
