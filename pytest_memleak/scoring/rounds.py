"""Rounds: the words of a book that each round covers (docs/method.md).

Round r is the r-th generation of every excerpt. BMC needs, per word of the book, the
number of rounds that cover it; its sampling error needs, per round, how many words it
alone covers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.word_ranges import coverage, cut, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.array_types import Counts, Flags, Floats, PerWord
    from pytest_memleak.scoring.word_ranges import Interval, Positions

    SetsOfRoundsAndWords = tuple[Flags, Floats]
    CoverOfEachHalf = tuple[Flags, Flags]


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class RoundCounts:
    """The coverage of a book's words by rounds, and by one round alone.

    words:  N, the number of words of the book
    rounds: n, the number of rounds
    times:  c_i, per word the number of rounds that cover it; shape (N,)
    alone:  per round, the number of words that no other round covers; shape (n,)
    spans:  lengths of the distinct runs of words that rounds cover, cut where excerpts
            start, without those that another contains
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
        covered_words = int(np.count_nonzero(self.times))
        return covered_words / self.words

    @property
    def covered(self) -> Counts:
        """Return how many words each round covers; shape (n,)."""
        return self.runs.words_by_round(self.rounds)


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
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
        round_of_interval: list[int] = []
        starts: list[int] = []
        ends: list[int] = []
        for number, intervals in rounds.items():
            for start, end in intervals:
                round_of_interval.append(number)
                starts.append(start)
                ends.append(end)
        return cls.of_intervals(
            np.array(round_of_interval, dtype=np.intp),
            np.array(starts, dtype=np.intp),
            np.array(ends, dtype=np.intp),
        )

    @classmethod
    def of_intervals(
        cls,
        round_: Positions,
        start: Positions,
        end: Positions,
    ) -> Rounds:
        """Build from intervals in any order, which may overlap."""
        # Rounds are laid end to end, so that no interval of one touches another's.
        length = int(end.max(initial=0)) + 1
        offset = round_ * length
        start = offset + start
        end = offset + end
        by_start = np.argsort(start, kind="stable")  # mostly sorted already
        start = start[by_start]
        end = end[by_start]
        reached = np.maximum.accumulate(end)
        is_first = np.ones(len(start), dtype=np.bool_)
        is_first[1:] = start[1:] > reached[:-1]
        # The last run ends with all.
        is_last = np.append(is_first[1:], is_first[:1])
        round_of_run = round_[by_start][is_first]
        offset_of_run = round_of_run * length
        run_start = start[is_first] - offset_of_run
        run_end = reached[is_last] - offset_of_run
        return cls(round_of_run, run_start, run_end)

    @classmethod
    def concatenated(cls, parts: Sequence[Rounds]) -> Rounds:
        """Concatenate different rounds, in order."""
        if not parts:
            nothing = np.empty(0, dtype=np.intp)
            return cls(nothing, nothing, nothing)
        return cls(
            round=np.concatenate([part.round for part in parts]),
            start=np.concatenate([part.start for part in parts]),
            end=np.concatenate([part.end for part in parts]),
        )

    @property
    def words(self) -> Positions:
        """Return the words of each run; shape (runs,)."""
        return self.end - self.start

    def words_by_round(self, n: int) -> Counts:
        """Return how many words each of rounds 0..n-1 covers; shape (n,)."""
        return self._summed_by_round(self.words, n)

    def _summed_by_round(self, of_run: NDArray[np.integer], n: int) -> Counts:
        """Sum a number of each run by rounds 0..n-1; shape (n,)."""
        sums = np.bincount(self.round, of_run, n)
        return sums.astype(np.int64)

    def times(self, *, words: int) -> PerWord:
        """Return, per word of a book of `words`, the number of rounds that cover it."""
        return coverage(self.start, self.end, words=words)

    def counts(
        self,
        *,
        words: int,
        n: int,
        excerpt_starts: Iterable[int] = (),
        by_excerpt: Counts | None = None,
    ) -> RoundCounts:
        """Count rounds 0..n-1; a round without a run covers nothing.

        words:          N
        excerpt_starts: positions of the excerpts' first words
        by_excerpt:     as in RoundCounts; without it, what each round covers, as in a
                        book of one excerpt
        """
        times = self.times(words=words)
        if by_excerpt is None:
            by_excerpt = self.words_by_round(n).reshape(1, n)
        starts_of_excerpts = np.array(list(excerpt_starts), dtype=np.intp)
        return RoundCounts(
            words=words,
            rounds=n,
            times=times,
            alone=self._words_of_one_round_alone(times, n),
            spans=self._span_lengths(starts_of_excerpts),
            runs=self,
            by_excerpt=by_excerpt.astype(np.int64),
        )

    def _words_of_one_round_alone(self, times: PerWord, n: int) -> Counts:
        """Return how many words each of the n rounds alone covers."""
        is_once = times == 1
        once_before = np.zeros(len(times) + 1, dtype=np.intc)
        np.cumsum(is_once, out=once_before[1:])
        before_start = once_before[self.start]
        before_end = once_before[self.end]
        once_in_run = before_end - before_start
        return self._summed_by_round(once_in_run, n)

    def _span_lengths(self, excerpt_starts: Positions) -> Positions:
        """Return the lengths of the outermost runs, cut where excerpts start."""
        _, start, end = cut(self.start, self.end, excerpt_starts)
        start, end = outermost(start, end)
        return end - start

    def merged_by_group(self, group: Positions) -> Rounds:
        """Merge the rounds of one `group`; group: of each round, ascending."""
        group_of_run = group[self.round]
        return Rounds.of_intervals(group_of_run, self.start, self.end)

    def patterns(self, *, n: int) -> SetsOfRoundsAndWords:
        """Return the sets of the n rounds that cover words together, and their words.

        Whether a round is in a set: shape (sets, n); words that exactly its rounds
        cover: (sets,). Memory: n / 8 bytes per stretch of words between two ends of
        runs.
        """
        ends_of_runs = np.concatenate((self.start, self.end))
        marks, mark_of = np.unique(ends_of_runs, return_inverse=True)
        start_mark, end_mark = np.split(mark_of, 2)
        columns = max(len(marks), 1)
        steps = np.zeros((n, columns), dtype=np.int8)
        places_of_starts = (self.round, start_mark)
        places_of_ends = (self.round, end_mark)
        np.add.at(steps, places_of_starts, 1)
        np.add.at(steps, places_of_ends, -1)
        # Column i: whether each round covers the stretch from mark i to the next.
        runs_from_mark = steps.cumsum(axis=1, dtype=np.int8)
        is_covered = runs_from_mark[:, :-1] > 0
        set_of_stretch = np.packbits(is_covered, axis=0).T
        sets, number_of_set = np.unique(set_of_stretch, axis=0, return_inverse=True)
        words_of_stretch = np.diff(marks)
        words = np.zeros(len(sets))
        np.add.at(words, number_of_set.reshape(-1), words_of_stretch)
        in_set = np.unpackbits(sets, axis=1, count=n)
        return in_set.astype(np.bool_), words

    def halves(self, *, words: int, n: int) -> CoverOfEachHalf:
        """Return, per word, whether each half of the rounds covers it.

        The first half is the first n / 2 rounds, rounded down.
        """
        border = int(self.round.searchsorted(n // 2))
        first_half = self._runs_in_slice(slice(None, border))
        second_half = self._runs_in_slice(slice(border, None))
        first_times = first_half.times(words=words)
        second_times = second_half.times(words=words)
        return first_times > 0, second_times > 0

    def _runs_in_slice(self, rows: slice) -> Rounds:
        """Return these runs alone."""
        return Rounds(
            round=self.round[rows],
            start=self.start[rows],
            end=self.end[rows],
        )
