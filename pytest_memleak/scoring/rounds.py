"""Rounds: the words of a book that each round covers (docs/method.md).

Round r is the r-th generation of every excerpt. BMC needs, per word of the book, the
number of rounds that cover it; its sampling error needs, per round, how many words it
alone covers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.intervals import Interval, coverage, cut, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_memleak.scoring.array_types import Counts, Flags, Floats, PerWord
    from pytest_memleak.scoring.intervals import Positions


@dataclass(frozen=True, slots=True, eq=False)
class RoundCounts:
    """The coverage of a book's words by rounds, and by one round alone.

    words:  N, the number of words of the book
    rounds: n, the number of rounds
    times:  c_i, per word the number of rounds that cover it; shape (N,)
    alone:  per round, the number of words that no other round covers; shape (n,)
    spans:  lengths of the distinct runs of words that rounds cover, cut at excerpts'
            borders, but of those that another contains
    runs:   the words that each round covers
    by_excerpt: per excerpt and round, how many words its generation covers; shape
            (E, n). Words that two generations of a round cover count for both
    """

    words: int
    rounds: int
    times: PerWord = field(repr=False)
    alone: Counts = field(repr=False)
    spans: Positions = field(repr=False)
    runs: Rounds = field(repr=False)
    by_excerpt: Counts = field(repr=False)

    @property
    def bmc(self) -> float:
        """Return the share of the words that some round covers."""
        return int(np.count_nonzero(self.times)) / self.words

    @property
    def covered(self) -> Counts:
        """Return how many words each round covers; shape (n,)."""
        covered = np.bincount(self.runs.round, self.runs.words, self.rounds)
        return covered.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """The words [start, end) that each round covers, in runs that overlap in no round.

    round, start, end: shape (runs,) each, by round and start.
    """

    round: Positions
    start: Positions
    end: Positions

    @classmethod
    def of(cls, rounds: Mapping[int, Iterable[Interval]]) -> Rounds:
        """Build from the rounds' intervals, by ordinal; they may overlap."""
        rows = []
        for number, intervals in rounds.items():
            rows += [(number, start, end) for start, end in intervals]
        round_, start, end = np.array(rows, dtype=np.intp).reshape(-1, 3).T
        return cls.joined(round_, start, end)

    @classmethod
    def joined(cls, round_: Positions, start: Positions, end: Positions) -> Rounds:
        """Build from intervals in any order, which may overlap."""
        # Rounds are laid end to end, so that no interval of one touches another's.
        length = int(end.max(initial=0)) + 1
        start = round_ * length + start
        end = round_ * length + end
        by_start = np.argsort(start, kind="stable")  # mostly sorted already
        start = start[by_start]
        reached = np.maximum.accumulate(end[by_start])
        is_first = np.ones(len(start), dtype=np.bool_)
        is_first[1:] = start[1:] > reached[:-1]
        is_last = np.append(is_first[1:], is_first[:1])  # the last run ends with all
        round_of_run = round_[by_start][is_first]
        offset = round_of_run * length
        return cls(round_of_run, start[is_first] - offset, reached[is_last] - offset)

    @classmethod
    def together(cls, parts: Sequence[Rounds]) -> Rounds:
        """Concatenate different rounds, in order."""
        nothing = np.empty(0, dtype=np.intp)
        return cls(
            np.concatenate([nothing, *(part.round for part in parts)]),
            np.concatenate([nothing, *(part.start for part in parts)]),
            np.concatenate([nothing, *(part.end for part in parts)]),
        )

    @property
    def words(self) -> Positions:
        """Return the words of each run; shape (runs,)."""
        return self.end - self.start

    def times(self, *, words: int) -> PerWord:
        """Return, per word of a book of `words`, the number of rounds that cover it."""
        return coverage(self.start, self.end, words=words)

    def counts(
        self,
        *,
        words: int,
        n: int,
        borders: Iterable[int] = (),
        by_excerpt: Counts | None = None,
    ) -> RoundCounts:
        """Count rounds 0..n-1; a round without a run covers nothing.

        words:      N
        borders:    positions of the excerpts' first words
        by_excerpt: as in RoundCounts; without it, what each round covers, as in a book
                    of one excerpt
        """
        times = self.times(words=words)
        if by_excerpt is None:
            by_excerpt = np.bincount(self.round, self.words, n).reshape(1, n)
        return RoundCounts(
            words=words,
            rounds=n,
            times=times,
            alone=self._words_alone(times, n),
            spans=self._span_lengths(np.array(list(borders), dtype=np.intp)),
            runs=self,
            by_excerpt=by_excerpt.astype(np.int64),
        )

    def _words_alone(self, times: PerWord, n: int) -> Counts:
        """Return how many words each of the n rounds alone covers."""
        once_before = np.zeros(len(times) + 1, dtype=np.intc)
        np.cumsum(times == 1, out=once_before[1:])
        once_in_run = once_before[self.end] - once_before[self.start]
        return np.bincount(self.round, once_in_run, n).astype(np.int64)

    def _span_lengths(self, borders: Positions) -> Positions:
        """Return the lengths of the outermost runs, cut at the borders."""
        _, start, end = cut(self.start, self.end, borders)
        start, end = outermost(start, end)
        return end - start

    def grouped(self, group: Positions) -> Rounds:
        """Merge the rounds of one `group`; group: of each round, ascending."""
        return Rounds.joined(group[self.round], self.start, self.end)

    def patterns(self, *, n: int) -> tuple[Flags, Floats]:
        """Return the sets of the n rounds that cover words together, and their words.

        Whether a round is in a set: shape (sets, n); words that exactly its rounds
        cover: (sets,). Memory: n / 8 bytes per stretch of words between two ends of
        runs.
        """
        ends_of_runs = np.concatenate((self.start, self.end))
        marks, mark_of = np.unique(ends_of_runs, return_inverse=True)
        start_mark, end_mark = np.split(mark_of, 2)
        steps = np.zeros((n, max(len(marks), 1)), dtype=np.int8)
        np.add.at(steps, (self.round, start_mark), 1)
        np.add.at(steps, (self.round, end_mark), -1)
        # Column i: whether each round covers the stretch from mark i to the next.
        is_covered = steps.cumsum(axis=1, dtype=np.int8)[:, :-1] > 0
        set_of_stretch = np.packbits(is_covered, axis=0).T
        sets, number_of_set = np.unique(set_of_stretch, axis=0, return_inverse=True)
        words = np.zeros(len(sets))
        np.add.at(words, number_of_set.reshape(-1), np.diff(marks))
        return np.unpackbits(sets, axis=1, count=n).astype(np.bool_), words

    def halves(self, *, words: int, n: int) -> tuple[Flags, Flags]:
        """Return, per word, whether each half of the rounds covers it.

        The first half is the first n / 2 rounds, rounded down.
        """
        border = self.round.searchsorted(n // 2)
        first = coverage(self.start[:border], self.end[:border], words=words)
        second = coverage(self.start[border:], self.end[border:], words=words)
        return first > 0, second > 0
