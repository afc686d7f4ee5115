"""Which words of a book each round covers, counted (METRICS section 6).

Round r is the r-th generation of every excerpt. What BMC needs of them is, per word of the book,
the number of rounds that cover it, and per round how many words it alone covers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import RecordsError
from pytest_memleak.scoring.intervals import Interval, coverage, cut, outermost, united

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.distinct import Positions


@dataclass(frozen=True, slots=True, eq=False)
class RoundCounts:
    """How often, and by which round alone, the words of a book are covered.

    words:  N, the number of words of the book
    rounds: n, the number of rounds
    times:  c_i, per word the number of rounds that cover it; shape (N,)
    alone:  per round, the number of words that no other round covers; shape (n,)
    spans:  lengths of the runs of words that rounds cover, cut at excerpts' borders; each once,
            and none that another contains
    runs:   what each round covers
    by_excerpt: per excerpt and round, how many words its generation covers; shape (E, n). Words
            that two generations of a round cover count for both
    """

    words: int
    rounds: int
    times: NDArray[np.intc] = field(repr=False)
    alone: NDArray[np.int64] = field(repr=False)
    spans: Positions = field(repr=False)
    runs: Rounds = field(repr=False)
    by_excerpt: NDArray[np.int64] = field(repr=False)

    @property
    def bmc(self) -> float:
        """Share of the words that some round covers."""
        return int(np.count_nonzero(self.times)) / self.words

    @property
    def covered(self) -> NDArray[np.int64]:
        """How many words each round covers; shape (n,)."""
        words = self.runs.end - self.runs.start
        return np.bincount(self.runs.round, words, self.rounds).astype(np.int64)


class Patterns(NamedTuple):
    """Sets of rounds, and how many words just those cover.

    rounds: whether a round is in the set; shape (sets, n)
    words:  shape (sets,)
    """

    rounds: NDArray[np.bool_]
    words: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """What each round covers: the words [start, end), in runs that overlap in no round.

    round, start, end: shape (runs,) each, by round and start.
    """

    round: Positions
    start: Positions
    end: Positions

    @classmethod
    def of(cls, rounds: Mapping[int, Iterable[Interval]]) -> Rounds:
        """The rounds' intervals, by ordinal; they may overlap."""
        rows = sorted((r, *interval) for r, covered in rounds.items() for interval in covered)
        number, start, end = np.array(rows, dtype=np.intp).reshape(-1, 3).T
        return cls.joined(number, start, end)

    @classmethod
    def joined(cls, number: Positions, start: Positions, end: Positions) -> Rounds:
        """Of intervals by round and start, which may overlap."""
        apart = int(end.max(initial=0)) + 1
        first, last = united(number * apart + start, number * apart + end)
        number, start = np.divmod(first, apart)
        return cls(number, start, last - number * apart)

    @classmethod
    def together(cls, parts: Sequence[Rounds]) -> Rounds:
        """Of different rounds, in their order."""
        empty = np.empty(0, dtype=np.intp)
        columns = (
            [part.round for part in parts],
            [part.start for part in parts],
            [part.end for part in parts],
        )
        return cls(*(np.concatenate([empty, *column]) for column in columns))

    def times(self, *, words: int) -> NDArray[np.intc]:
        """Per word of a book of `words`, the number of rounds that cover it."""
        return coverage(self.start, self.end, words=words)

    def counts(
        self,
        *,
        words: int,
        n: int,
        borders: Iterable[int] = (),
        by_excerpt: NDArray[np.int64] | None = None,
    ) -> RoundCounts:
        """The counts of rounds 0..n-1; one without a run covers nothing.

        words: N; borders: positions of the excerpts' first words; by_excerpt: as in RoundCounts,
        without it what each round covers, as of a book of one excerpt.
        """
        times = self.times(words=words)
        once = np.concatenate(([0], np.cumsum(times == 1)))
        alone = np.bincount(self.round, once[self.end] - once[self.start], minlength=n)
        if by_excerpt is None:
            by_excerpt = np.bincount(self.round, self.end - self.start, minlength=n)[None]
        _, start, end = cut(self.start, self.end, np.array(list(borders), dtype=np.intp))
        start, end = outermost(start, end)
        return RoundCounts(
            words=words,
            rounds=n,
            times=times,
            alone=alone.astype(np.int64),
            spans=end - start,
            runs=self,
            by_excerpt=by_excerpt.astype(np.int64),
        )

    def grouped(self, group: Positions) -> Rounds:
        """Rounds made one that are of one `group`; group: of each round, ascending."""
        number = group[self.round]
        order = np.lexsort((self.start, number))
        return Rounds.joined(number[order], self.start[order], self.end[order])

    def patterns(self, *, n: int) -> Patterns:
        """Which of the n rounds cover a word, and how many words are covered by just those.

        Memory: n / 8 bytes per stretch of words between two ends of runs.
        """
        marks, place = np.unique(np.concatenate((self.start, self.end)), return_inverse=True)
        steps = np.zeros((n, max(len(marks), 1)), dtype=np.int8)
        first, last = np.split(place, 2)
        np.add.at(steps, (self.round, first), 1)
        np.add.at(steps, (self.round, last), -1)
        covered = np.packbits(steps.cumsum(axis=1, dtype=np.int8)[:, :-1] > 0, axis=0).T
        rounds, which = np.unique(covered, axis=0, return_inverse=True)
        words = np.zeros(len(rounds))
        np.add.at(words, which.reshape(-1), np.diff(marks))
        return Patterns(np.unpackbits(rounds, axis=1, count=n).astype(np.bool_), words)

    def halves(self, *, words: int, n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Per word, whether the first half of the rounds covers it, and whether the second does.

        The first half is the first n / 2 of them, rounded down.
        """
        border = self.round.searchsorted(n // 2)
        first, second = (
            coverage(self.start[half], self.end[half], words=words) > 0
            for half in (slice(border), slice(border, None))
        )
        return first, second


def words_by_text(
    text: Positions, start: Positions, end: Positions, *, texts: int
) -> NDArray[np.int64]:
    """How many words of a book each of some texts covers; shape (texts,).

    text, start, end: of pieces [start, end), in any order; the pieces of a text may overlap.
    """
    order = np.lexsort((start, text))
    covered = Rounds.joined(text[order], start[order], end[order])
    return np.bincount(covered.round, covered.end - covered.start, texts).astype(np.int64)


def round_counts(
    rounds: Mapping[int, Iterable[Interval]], *, words: int, n: int | None = None
) -> RoundCounts:
    """Count the covered intervals [start, end) of each round, keyed by its ordinal from 0.

    A round that is absent covers nothing. n: the number of rounds drawn; without it, one more
    than the last ordinal. words: N.

    Raises RecordsError for an ordinal that is not in 0..n-1 and for no round at all.
    """
    drawn = max(rounds, default=-1) + 1 if n is None else n
    if drawn < 1 or any(not 0 <= ordinal < drawn for ordinal in rounds):
        raise RecordsError(
            f"there are {drawn} rounds, but ordinals from {min(rounds, default=0)} to "
            f"{max(rounds, default=0)}; expected 0 to {max(drawn - 1, 0)}",
            hint="number the generations of every excerpt from 0",
        )
    return Rounds.of(rounds).counts(words=words, n=drawn)
