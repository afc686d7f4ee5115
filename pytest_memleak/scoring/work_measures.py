"""A collection's works, each measured as the book that it is.

    measured_works(book, tally, analysis, limits) -> WorkMeasures

A work's passages are its own whoever was asked for: what an answer recites of another work of the
collection is a recital of that one. What it recites of other protected books is no work's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Estimate
from pytest_memleak.scoring.measure_table import MEASURES, OF_RECITALS
from pytest_memleak.scoring.measures import runs_of

if TYPE_CHECKING:
    from pytest_memleak.records import Book, Measurement, Work
    from pytest_memleak.scoring.generation_tally import Tally
    from pytest_memleak.scoring.index import Positions
    from pytest_memleak.scoring.protected_passages import ProtectedPassages

__all__ = ["WorkMeasures", "measured_works"]

_OF_EACH = {name: row for name, row in MEASURES.items() if row.of_works}


@dataclass(frozen=True, slots=True)
class WorkMeasures:
    """What is measured of each work, and the limits that each is held against.

    works:   in their order; words: N of each
    of_each: of each work its measures, by the names of the table
    beyond:  the same of recitals of other protected books
    limits:  the pair's; k, span_threshold: its k and T
    """

    works: tuple[Work, ...]
    words: tuple[int, ...]
    of_each: tuple[Mapping[str, float], ...] = field(repr=False)
    beyond: Mapping[str, float]
    limits: Mapping[str, float]
    k: int
    span_threshold: int

    def over(self, number: int) -> tuple[str, ...]:
        """The measures of a work that are over their limit."""
        its = self.of_each[number]
        return tuple(
            name for name in _OF_EACH if name in self.limits and its[name] > self.limits[name]
        )

    @property
    def leaking(self) -> tuple[int, ...]:
        """The numbers of the works that are over a limit."""
        return tuple(number for number in range(len(self.works)) if self.over(number))

    @property
    def leaking_share(self) -> float:
        """The share of such works."""
        return len(self.leaking) / len(self.works)

    def can_leak(self, number: int) -> bool:
        """Whether the work would be over a limit if it was recited whole.

        Of fewer than k words nothing is: so short may be what a continuation's prompt leaves.
        """
        words = self.words[number]
        if words < self.k:
            return False
        passages = words // (self.span_threshold + 1)
        most = {
            name: 1 if row.kind == "share" else passages if row.runs == "number" else words
            for name, row in _OF_EACH.items()
        }
        return any(name in self.limits and most[name] > self.limits[name] for name in most)

    def held(self, found: Mapping[str, Estimate]) -> dict[str, Estimate]:
        """Of all measures of the pair those that its limits are held against as a whole.

        The limits of works are, of the works together, on their share that leaks, on the coverage
        of all their words, and on recitals of other books.
        """
        whole = {name: one for name, one in found.items() if name == "bmc" or name not in _OF_EACH}
        beyond = {name: Estimate(value, value, value) for name, value in self.beyond.items()}
        return whole | beyond

    @property
    def limits_of_works(self) -> frozenset[str]:
        """The measures that are held against limits work by work."""
        return frozenset(_OF_EACH)


def measured_works(
    book: Book,
    tally: Tally,
    measurement: Measurement,
    recitals: ProtectedPassages,
    limits: Mapping[str, float],
) -> WorkMeasures:
    """The measures of the works of `book`, from all that was counted and measured of it."""
    ends = np.array([end for _, end in tally.layout.bounds.values()], dtype=np.intp)
    last = ends[[work.end - 1 for work in book.works]]
    words = np.diff(last, prepend=0)
    covered = np.frombuffer(measurement.coverage.rounds, dtype=np.intc) > 0
    start, end = runs_of(covered, tally.layout.borders)
    over = np.array([span.start for span in measurement.spans], dtype=np.intp)
    columns = {
        "bmc": np.diff(covered.cumsum()[last - 1], prepend=0) / words,
        "longest_block": _longest(start, end - start, last),
        "longest_span": _longest(*_own_runs(tally), last),
        "spans_over": np.bincount(last.searchsorted(over, side="right"), minlength=len(last)),
    }
    of_recitals, beyond = _of_recitals(book, recitals)
    of_each = tuple(
        its | {name: column[number].item() for name, column in columns.items()}
        for number, its in enumerate(of_recitals)
    )
    return WorkMeasures(
        book.works,
        tuple(words.tolist()),
        of_each,
        beyond,
        limits,
        measurement.k,
        measurement.span_threshold,
    )


def _longest(start: Positions, words: Positions, last: Positions) -> Positions:
    """Per work the longest of some runs; `last`: behind the last word of each."""
    longest = np.zeros(len(last), dtype=np.intp)
    np.maximum.at(longest, last.searchsorted(start, side="right"), words)
    return longest


def _own_runs(tally: Tally) -> tuple[Positions, Positions]:
    """Start and words of the runs that answers share with their own excerpt, of k words at least.

    Shorter ones are what is left of a match at an excerpt's border, and count as none.
    """
    excerpt, start, end = tally.matches()
    first, behind = np.array(list(tally.layout.bounds.values()), dtype=np.intp).T
    start = np.maximum(start, first[excerpt])
    words = np.minimum(end, behind[excerpt]) - start
    own = words >= tally.k
    return start[own], words[own]


def _of_recitals(
    book: Book, recitals: ProtectedPassages
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Per work what was recited of it, and what was of other books than the collection."""
    work_of = {
        excerpt.id: number
        for number, work in enumerate(book.works)
        for excerpt in book.excerpts[work.first : work.end]
    }
    of_each: list[dict[str, float]] = [dict.fromkeys(OF_RECITALS, 0) for _ in book.works]
    beyond: dict[str, float] = dict.fromkeys(OF_RECITALS, 0)
    for name, longest in (
        ("longest_recital", recitals.of_excerpts),
        ("nv_longest_recital", recitals.nv_of_excerpts),
    ):
        for (its_book, excerpt), words in longest.items():
            told = of_each[work_of[excerpt]] if its_book == recitals.own else beyond
            told[name] = max(told[name], words)
    for one in recitals.passages:
        own = one.book == recitals.own
        told = of_each[work_of[one.excerpt_at or ""]] if own else beyond
        told["recitals_over"] += 1
    return of_each, beyond
