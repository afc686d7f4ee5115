"""Which words of a book each round covers, counted (METRICS section 6).

Round r is the r-th generation of every excerpt. Per word of the book only the number of rounds
that cover it counts, and per round how many words it alone covers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import RecordsError
from pytest_memleak.scoring.intervals import coverage, cut, outermost, united

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.index import Positions
    from pytest_memleak.scoring.matches import Interval

__all__ = ["RoundCounts", "Rounds", "round_counts"]


@dataclass(frozen=True, slots=True, eq=False)
class RoundCounts:
    """How often, and by which round alone, the words of a book are covered.

    words:  N, the number of words of the book
    rounds: n, the number of rounds
    times:  c_i, per word the number of rounds that cover it; shape (N,)
    alone:  per round, the number of words that no other round covers; shape (n,)
    spans:  lengths of the runs of words that rounds cover, cut at excerpts' borders; each once,
            and none that another contains
    """

    words: int
    rounds: int
    times: NDArray[np.intc] = field(repr=False)
    alone: NDArray[np.int64] = field(repr=False)
    spans: Positions = field(repr=False)

    @property
    def bmc(self) -> float:
        """Share of the words that some round covers."""
        return int(np.count_nonzero(self.times)) / self.words


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
            [one.round for one in parts],
            [one.start for one in parts],
            [one.end for one in parts],
        )
        return cls(*(np.concatenate([empty, *column]) for column in columns))

    def times(self, *, words: int) -> NDArray[np.intc]:
        """Per word of a book of `words`, the number of rounds that cover it."""
        return coverage(self.start, self.end, words=words)

    def counts(self, *, words: int, n: int, borders: Iterable[int] = ()) -> RoundCounts:
        """The counts of rounds 0..n-1; one without a run covers nothing.

        words: N; borders: positions of the excerpts' first words.
        """
        times = self.times(words=words)
        once = np.concatenate(([0], np.cumsum(times == 1)))
        alone = np.bincount(self.round, once[self.end] - once[self.start], minlength=n)
        _, start, end = cut(self.start, self.end, np.array(list(borders), dtype=np.intp))
        start, end = outermost(start, end)
        return RoundCounts(words, n, times, alone.astype(np.int64), end - start)

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
