"""Measures of memorization (docs/method.md), of a book, its works, and two models."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Block, Coverage, Estimate, Measurement, Span
from pytest_memleak.scoring.generation_tally import OwnRun, tally_generations
from pytest_memleak.scoring.intervals import cut, distinct_passages, longest_over_each
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
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation, Measurement, Scoring, Work
    from pytest_memleak.scoring.generation_tally import Tally
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.protected_passages import ProtectedPassages
    from pytest_memleak.scoring.rounds import Rounds

    Mask = NDArray[np.bool_] | Coverage | Measurement | Sequence[bool]


def measure(
    book: Book, generations: Iterable[Generation], scoring: Scoring
) -> Measurement:
    """Measure how much of `book` its `generations` reproduce.

    Raises SettingsError for settings out of range, BookError for a book that cannot be
    measured, RecordsError for a generation that belongs to none of its excerpts or is a
    duplicate.
    """
    return measurement(
        tally_generations(book, scoring, generations, passages=False), scoring
    )


def measurement(
    tally: Tally, scoring: Scoring, rounds: Rounds | None = None
) -> Measurement:
    """Compute the measures of a tally's counts, with the tally's own settings.

    rounds: the tally's, if already computed.
    """
    total = tally.layout.total
    times = (rounds or tally.rounds()).times(words=total)
    spans = _spans_over(tally, over=scoring.effective_threshold)
    reach = longest_over_each(*tally.pieces(), words=total)
    return Measurement(
        words=total,
        k=scoring.k,
        trim=scoring.trim,
        span_threshold=scoring.span_threshold,
        word_mode=scoring.word_mode,
        generations=tally.counted.generations,
        bmc=int(np.count_nonzero(times)) / total,
        longest_block=_longest_run(times > 0, tally.layout.borders),
        longest_span=tally.span(tally.counted.longest),
        spans_over=len(spans),
        spans=spans,
        coverage=Coverage(_as_array(reach), _as_array(times)),
        excerpt_starts=tuple(start for start, _ in tally.layout.bounds.values()),
    )


def _spans_over(tally: Tally, *, over: int) -> tuple[Span, ...]:
    """Return distinct spans of more than `over` words, longest first.

    Of the runs that end at the same word only the longest matters: the others are its
    suffixes.
    """
    run_start, run_end, ordinal = tally.runs_over()
    start, end, nth = distinct_passages(run_start, run_end, over=over)
    rows = np.stack((start, end, ordinal[nth]), axis=1).tolist()
    return tuple(tally.span(OwnRun(*row)) for row in rows)


def runs_of(mask: NDArray[np.bool_], borders: Positions) -> tuple[Positions, Positions]:
    """Return start and end of each run of True, cut at the borders."""
    edges = np.flatnonzero(
        np.diff(np.concatenate(([False], mask, [False])).astype(np.int8))
    )
    _, starts, ends = cut(edges[::2], edges[1::2], borders)
    return starts, ends


def _longest_run(mask: NDArray[np.bool_], borders: Positions) -> Block:
    """Return the longest run of True that crosses no border; the first of equals."""
    starts, ends = runs_of(mask, borders)
    if not len(starts):
        return Block(0)
    longest = int(np.argmax(ends - starts))
    start, end = int(starts[longest]), int(ends[longest])
    return Block(end - start, start, end)


def _as_array(values: NDArray[np.intc]) -> array[int]:
    return array("i", values.tobytes())


@dataclass(frozen=True, slots=True)
class Similarity:
    """A comparison of two coverage masks of one book.

    jaccard:  words that both cover / words that either covers; 0 if neither covers any
    baseline: the expected Jaccard index of two independent masks of these sizes
    """

    jaccard: float
    baseline: float


def compare(a: Mask, b: Mask) -> Similarity:
    """Compare two coverage masks of one book: Jaccard index and its baseline.

    A mask has one truth value per word of the book, shape (N,); a Coverage or a
    Measurement represents its covered words. Raises SettingsError for masks that differ
    in length.
    """
    a_mask, b_mask = _mask(a), _mask(b)
    n = len(a_mask)
    p, q = (np.count_nonzero(mask) / n if n else 0.0 for mask in (a_mask, b_mask))
    either = p + q - p * q
    return Similarity(jaccard(a_mask, b_mask), p * q / either if either else 0.0)


def jaccard(a: Mask, b: Mask) -> float:
    """Return words that both masks cover / words that either covers; 0 if neither covers any.

    Raises SettingsError for masks that differ in length: they are not of one book.
    """
    a_mask, b_mask = _mask(a), _mask(b)
    if a_mask.shape != b_mask.shape:
        raise SettingsError(
            f"the masks have {len(a_mask):,} and {len(b_mask):,} words",
            hint="compare two models on the same book, in the same word mode",
        )
    either = int(np.count_nonzero(a_mask | b_mask))
    return int(np.count_nonzero(a_mask & b_mask)) / either if either else 0.0


def self_agreement(
    book: Book, generations: Iterable[Generation], scoring: Scoring
) -> float:
    """Return the Jaccard index of the masks of the first and second half of the generations.

    The first half is each excerpt's first h generations, by ordinal, where h is half of
    the largest number that any excerpt has, rounded down.

    Raises what `measure` raises.
    """
    ordered = sorted(generations, key=lambda generation: generation.ordinal)
    counts = Counter(generation.excerpt_id for generation in ordered)
    half = max(counts.values(), default=0) // 2
    halves: tuple[list[Generation], list[Generation]] = ([], [])
    taken: Counter[str] = Counter()
    for generation in ordered:
        halves[taken[generation.excerpt_id] >= half].append(generation)
        taken[generation.excerpt_id] += 1
    first, second = (measure(book, half, scoring) for half in halves)
    return jaccard(first, second)


def round_agreement(rounds: Rounds, *, words: int, n: int) -> float:
    """Return `self_agreement` from what the rounds 0..n-1 cover of N words, without gaps."""
    return jaccard(*rounds.halves(words=words, n=n))


def _mask(mask: Mask) -> NDArray[np.bool_]:
    if isinstance(mask, Measurement):
        mask = mask.coverage
    if isinstance(mask, Coverage):
        return np.frombuffer(mask.reach, dtype=np.intc) > 0
    return np.asarray(mask, dtype=np.bool_)


_OF_EACH = {name: row for name, row in MEASURES.items() if row.of_works}


@dataclass(frozen=True, slots=True)
class WorkMeasures:
    """The measures of each work, and the limits that apply to each.

    works:   in their order; words: N of each
    of_each: per work, its measures, by the names of the table
    beyond:  the same for passages of other protected books
    limits:  the pair's; scoring: its settings
    """

    works: tuple[Work, ...]
    words: tuple[int, ...]
    of_each: tuple[Mapping[str, float], ...] = field(repr=False)
    beyond: Mapping[str, float]
    limits: Mapping[str, float]
    scoring: Scoring

    def over(self, number: int) -> tuple[str, ...]:
        """Return the measures of a work that exceed their limits."""
        measures = self.of_each[number]
        return tuple(
            name
            for name in _OF_EACH
            if name in self.limits and measures[name] > self.limits[name]
        )

    @property
    def leaking(self) -> tuple[int, ...]:
        """Return the numbers of the works that exceed a limit."""
        return tuple(number for number in range(len(self.works)) if self.over(number))

    def can_leak(self, number: int) -> bool:
        """Return whether the work would exceed a limit if it was reproduced whole.

        A work of fewer than k words cannot: a continuation's prompt may leave so few.
        """
        words = self.words[number]
        if words < self.scoring.k:
            return False
        passages = words // (self.scoring.effective_threshold + 1)
        most = {
            name: 1
            if row.kind == "share"
            else passages
            if row.runs == "number"
            else words
            for name, row in _OF_EACH.items()
        }
        return any(
            name in self.limits and most[name] > self.limits[name] for name in most
        )

    def pair_measures(self, estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
        """Return the pair's measures that limits apply to as a whole.

        These are the share of leaking works, the coverage of all their words, and
        passages of other books. All other limits apply to each work.
        """
        of_pair = {
            name: estimate
            for name, estimate in estimates.items()
            if name not in _OF_EACH or _OF_EACH[name].kind == "share"
        }
        beyond = {
            name: Estimate(value, value, value) for name, value in self.beyond.items()
        }
        return of_pair | beyond

    @property
    def limits_of_works(self) -> frozenset[str]:
        """Return the measures that limits apply to work by work."""
        return frozenset(_OF_EACH)


def measure_works(
    book: Book,
    tally: Tally,
    measurement: Measurement,
    passages: ProtectedPassages,
    limits: Mapping[str, float],
) -> WorkMeasures:
    """Compute the measures of the works of `book` from its counts and measures."""
    ends = np.array([end for _, end in tally.layout.bounds.values()], dtype=np.intp)
    last = ends[[work.end - 1 for work in book.works]]
    words = np.diff(last, prepend=0)
    covered = np.frombuffer(measurement.coverage.rounds, dtype=np.intc) > 0
    start, end = runs_of(covered, tally.layout.borders)
    over = np.array([span.start for span in measurement.spans], dtype=np.intp)
    columns = {
        BMC.name: np.diff(covered.cumsum()[last - 1], prepend=0) / words,
        LONGEST_BLOCK.name: _longest(start, end - start, last),
        LONGEST_SPAN.name: _longest(*_own_runs(tally), last),
        SPANS_OVER.name: np.bincount(
            last.searchsorted(over, side="right"), minlength=len(last)
        ),
    }
    of_passages, beyond = _of_passages(book, passages)
    of_each = tuple(
        measures | {name: column[number].item() for name, column in columns.items()}
        for number, measures in enumerate(of_passages)
    )
    return WorkMeasures(
        book.works,
        tuple(words.tolist()),
        of_each,
        beyond,
        limits,
        tally.scoring,
    )


def _longest(start: Positions, words: Positions, last: Positions) -> Positions:
    """Return the longest run per work; `last`: the position after the last word of each."""
    longest = np.zeros(len(last), dtype=np.intp)
    np.maximum.at(longest, last.searchsorted(start, side="right"), words)
    return longest


def _own_runs(tally: Tally) -> tuple[Positions, Positions]:
    """Return start and words of the runs of generations with their prompted excerpt, from k words.

    Shorter ones are the rest of a match at an excerpt's border, and don't count.
    """
    excerpt, start, end = tally.matches()
    first, behind = np.array(list(tally.layout.bounds.values()), dtype=np.intp).T
    start = np.maximum(start, first[excerpt])
    words = np.minimum(end, behind[excerpt]) - start
    own = words >= tally.scoring.k
    return start[own], words[own]


def _of_passages(
    book: Book, passages: ProtectedPassages
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Return the passages' measures per work, and those of books outside the collection."""
    work_of = {
        excerpt.id: number
        for number, work in enumerate(book.works)
        for excerpt in book.excerpts[work.first : work.end]
    }
    of_each: list[dict[str, float]] = [
        dict.fromkeys(OF_PASSAGES, 0) for _ in book.works
    ]
    beyond: dict[str, float] = dict.fromkeys(OF_PASSAGES, 0)
    by_excerpt = passages.of_excerpts, passages.nv_of_excerpts
    for name, longest in zip(LONGEST_MEASURES, by_excerpt, strict=True):
        for (book_id, excerpt), words in longest.items():
            measures = of_each[work_of[excerpt]] if book_id == passages.own else beyond
            measures[name] = max(measures[name], words)
    for passage in passages.passages:
        own = passage.book == passages.own
        measures = of_each[work_of[passage.excerpt_at or ""]] if own else beyond
        measures[PASSAGES_OVER.name] += 1
    return of_each, beyond
