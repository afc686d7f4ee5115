"""The four measures of a book's memorization (docs/method.md; arXiv 2603.20957, 3.1).

A tally matches every generation with the whole book. A *piece* is what remains of a
match without the words that its own instruction contains; an *own run* is the part of a
match that lies in the prompted excerpt, untrimmed.

bmc:           share of the book's words that a piece of any generation covers
longest_block: the longest run of such words
longest_span:  the longest own run
spans_over:    number of spans: own runs over `effective_threshold` words, cut so
               that none overlap
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Block, Coverage, Measurement, Span
from pytest_memleak.scoring.distinct_spans import distinct_spans
from pytest_memleak.scoring.excused_words import placed_in_book
from pytest_memleak.scoring.generation_tally import OwnRun, tally_generations
from pytest_memleak.scoring.word_ranges import cut, longest_over_each

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.array_types import Flags, PerWord
    from pytest_memleak.scoring.generation_tally import Tally
    from pytest_memleak.scoring.protected_passages import Protected
    from pytest_memleak.scoring.rounds import Rounds
    from pytest_memleak.scoring.word_ranges import Positions, StartsAndEnds


def measure(
    book: Book,
    generations: Iterable[Generation],
    scoring: Scoring,
    *,
    protected: Protected | None = None,
) -> Measurement:
    """Measure how much of `book` its `generations` reproduce.

    protected: the run's books and their index, by which texts may excuse words

    Raises SettingsError for settings out of range, BookError for a book that cannot be
    measured, RecordsError for a generation that belongs to none of its excerpts or is a
    duplicate.
    """
    tally = tally_generations(
        book,
        scoring,
        generations,
        protected=protected,
        passages=False,
    )
    counted = tally.without_excused_words()
    if counted is None or tally.remaining is None:
        return measurement_of_tally(tally)
    return placed_in_book(measurement_of_tally(counted), tally.remaining, tally.layout)


def measurement_of_tally(tally: Tally, rounds: Rounds | None = None) -> Measurement:
    """Compute the measures from a tally's counts, with the tally's own settings.

    rounds: the tally's, if already computed.
    """
    scoring = tally.scoring
    layout = tally.layout
    if rounds is None:
        rounds = tally.rounds()
    rounds_of_word = rounds.times(words=layout.total)
    is_covered = rounds_of_word > 0
    spans = _spans_without_overlaps(tally)
    covered_words = int(np.count_nonzero(is_covered))
    return Measurement(
        words=layout.total,
        k=scoring.k,
        trim=scoring.trim,
        span_threshold=scoring.span_threshold,
        word_mode=scoring.word_mode,
        generations=tally.counted.generations,
        bmc=covered_words / layout.total,
        longest_block=_longest_block(is_covered, layout.borders),
        longest_span=tally.span(tally.counted.longest),
        spans_over=len(spans),
        spans=spans,
        coverage=_coverage_by_word(tally, rounds_of_word),
        excerpt_starts=layout.excerpt_starts,
    )


def covered_runs(is_covered: Flags, borders: Positions) -> StartsAndEnds:
    """Return start and end of each run of covered words, cut at the borders.

    is_covered: per word of the book, shape (N,)
    borders:    positions that no run may cross, ascending
    """
    outside = np.zeros(1, dtype=np.bool_)
    is_inside = np.concatenate((outside, is_covered, outside))
    is_edge = is_inside[1:] != is_inside[:-1]
    edges = np.flatnonzero(is_edge)
    run_start = edges[::2]
    run_end = edges[1::2]
    _, start, end = cut(run_start, run_end, borders)
    return start, end


def _longest_block(is_covered: Flags, borders: Positions) -> Block:
    """Return the first of the longest runs of covered words, cut at the borders."""
    starts, ends = covered_runs(is_covered, borders)
    if not len(starts):
        return Block(0)
    longest = int(np.argmax(ends - starts))
    start = int(starts[longest])
    end = int(ends[longest])
    return Block(end - start, start, end)


def _spans_without_overlaps(tally: Tally) -> tuple[Span, ...]:
    """Return own runs over `effective_threshold` words, without overlaps.

    The longest is first. Of the runs that end at the same word only the longest
    matters: the others are its suffixes.
    """
    runs = tally.longest_runs_by_end()
    threshold = tally.scoring.effective_threshold
    start, end, run = distinct_spans(
        runs.start,
        runs.end,
        over=threshold,
    )
    ordinal = runs.round[run]
    rows = np.stack((start, end, ordinal), axis=1)
    spans = []
    for row in rows.tolist():
        own_run = OwnRun(*row)
        spans.append(tally.span(own_run))
    return tuple(spans)


def _coverage_by_word(tally: Tally, rounds_of_word: PerWord) -> Coverage:
    """Return, per word, the longest piece over it and the rounds that cover it."""
    piece_start, piece_end = tally.pieces()
    words = tally.layout.total
    longest_piece = longest_over_each(piece_start, piece_end, words=words)
    return Coverage(_int_array(longest_piece), _int_array(rounds_of_word))


def _int_array(values: PerWord) -> array[int]:
    return array("i", values.tobytes())
