"""What is kept of passages while generations go by: the best of each kind, and long pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.distinct import Positions

OTHER, OWN, EXCUSED = range(3)
"""Kinds of pieces: held to the limits; of the pair's own book, which alone excuses it; excused."""

# So many pieces over T wait before all but the best of each place are dropped.
_WAITING = 1 << 16


class RankedPassage(NamedTuple):
    """A passage as it is ranked: the least is the longest, and the first of equals."""

    minus_words: int
    origin: int
    asked: int
    ordinal: int
    place: int
    rank: int
    start: int
    end: int


@dataclass(slots=True)
class PassageCounts:
    """What was counted of some generations; small beside them, so that it travels well.

    longest, nv_longest: the best of each kind (OTHER, OWN, EXCUSED), as they are ranked
    by_round, nv_by_round: per round the longest that is not EXCUSED;
    of_excerpts, nv_of_excerpts: the longest that begins in each excerpt, by its number among those
    of all protected books, where that is asked for
    over: of pieces over T: rank, end, and the other fields of RankedPassage in order; shape (n, 8)
    """

    longest: dict[int, RankedPassage] = field(default_factory=dict)
    nv_longest: dict[int, RankedPassage] = field(default_factory=dict)
    by_round: dict[int, int] = field(default_factory=dict)
    nv_by_round: dict[int, int] = field(default_factory=dict)
    of_excerpts: dict[int, int] = field(default_factory=dict)
    nv_of_excerpts: dict[int, int] = field(default_factory=dict)
    over: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, other: PassageCounts) -> None:
        """Add what was counted of other generations."""
        for best, its_best in (
            (self.longest, other.longest),
            (self.nv_longest, other.nv_longest),
        ):
            for kind, key in its_best.items():
                best[kind] = min(best.get(kind, key), key)
        for mine, its in (
            (self.by_round, other.by_round),
            (self.nv_by_round, other.nv_by_round),
            (self.of_excerpts, other.of_excerpts),
            (self.nv_of_excerpts, other.nv_of_excerpts),
        ):
            for number, words in its.items():
                mine[number] = max(mine.get(number, 0), words)
        for rows in other.over:
            self.add_over(rows)

    def add_over(self, rows: NDArray[np.int64]) -> None:
        """Add pieces over T."""
        self.over.append(rows)
        if sum(map(len, self.over)) > max(_WAITING, 2 * len(self.over[0])):
            self.longest_over()

    def longest_over(self) -> NDArray[np.int64]:
        """Of the pieces over T, the longest of each book and end; of equals the first."""
        if not self.over:
            return np.empty((0, 8), dtype=np.int64)
        rows = np.concatenate(self.over)
        rows = rows[np.lexsort(rows.T[::-1])]
        first = np.ones(len(rows), dtype=np.bool_)
        first[1:] = (rows[1:, :2] != rows[:-1, :2]).any(axis=1)
        self.over = [rows[first]]
        return self.over[0]


def note_best(
    best: dict[int, RankedPassage], columns: tuple[Positions, ...], kind: Positions
) -> None:
    """Keep the best of these rows of keys, by the kind of each."""
    for its in np.unique(kind).tolist():
        chosen = kind == its
        least = int(columns[0][chosen].min())
        first = np.flatnonzero(chosen & (columns[0] == least))
        rows = np.stack([column[first] for column in columns], axis=1).tolist()
        key = min(RankedPassage(*row) for row in rows)
        best[its] = min(best.get(its, key), key)


def note_longest(
    longest: dict[int, int], numbers: Positions, words: Positions, *, size: int
) -> None:
    """Put down the most words of each number, from 0 to size - 1."""
    most = np.zeros(size, dtype=np.intp)
    np.maximum.at(most, numbers, words)
    for number in np.flatnonzero(most).tolist():
        longest[number] = max(longest.get(number, 0), int(most[number]))


def note_rounds(
    longest: dict[int, int], text: Positions, words: Positions, ordinal: Positions
) -> None:
    """Put down the most words of each round; `ordinal`: that of each text."""
    most = np.zeros(len(ordinal), dtype=np.intp)
    np.maximum.at(most, text, words)
    for number, its in zip(ordinal.tolist(), most.tolist(), strict=True):
        if its > longest.get(number, 0):
            longest[number] = its
