"""What is kept of recitals while generations go by: the best of each kind, and long pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.index import Positions

__all__ = ["RankedRecital", "RecitalCounts", "note_longest", "note_rounds"]

# So many pieces over T wait before all but the best of each place are dropped.
_WAITING = 1 << 16


class RankedRecital(NamedTuple):
    """A recital as it is ranked: the least is the longest, and the first of equals."""

    minus_words: int
    asked: int
    ordinal: int
    place: int
    rank: int
    start: int
    end: int


@dataclass(slots=True)
class RecitalCounts:
    """What was counted of some generations; small beside them, so that it travels well.

    longest, in_training and their near-verbatim kin, as they are ranked; per round the longest;
    of_excerpts, nv_of_excerpts: the longest that begins in each excerpt, by its number among those
    of all protected books, where that is asked for
    over: of pieces over T: rank, end, minus words, excerpt, ordinal, place, start; shape (n, 7)
    """

    longest: RankedRecital | None = None
    in_training: RankedRecital | None = None
    nv_longest: RankedRecital | None = None
    nv_in_training: RankedRecital | None = None
    by_round: dict[int, int] = field(default_factory=dict)
    nv_by_round: dict[int, int] = field(default_factory=dict)
    of_excerpts: dict[int, int] = field(default_factory=dict)
    nv_of_excerpts: dict[int, int] = field(default_factory=dict)
    over: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, other: RecitalCounts) -> None:
        """Add what was counted of other generations."""
        for name in ("longest", "in_training", "nv_longest", "nv_in_training"):
            self.note(name, getattr(other, name))
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

    def note(self, name: str, key: RankedRecital | None) -> None:
        """Keep whichever is longer, or first."""
        known: RankedRecital | None = getattr(self, name)
        if key is not None and (known is None or key < known):
            setattr(self, name, key)

    def note_best(
        self,
        name: str,
        in_training: str,
        columns: tuple[Positions, ...],
        known: NDArray[np.bool_],
    ) -> None:
        """Keep the best of these rows of keys, apart from those that are `known` from training."""
        for its, chosen in ((name, ~known), (in_training, known)):
            if not chosen.any():
                continue
            least = int(columns[0][chosen].min())
            best = np.flatnonzero(chosen & (columns[0] == least))
            rows = np.stack([column[best] for column in columns], axis=1).tolist()
            self.note(its, min(RankedRecital(*row) for row in rows))

    def add_over(self, rows: NDArray[np.int64]) -> None:
        """Add pieces over T."""
        self.over.append(rows)
        if sum(map(len, self.over)) > max(_WAITING, 2 * len(self.over[0])):
            self.longest_over()

    def longest_over(self) -> NDArray[np.int64]:
        """Of the pieces over T, the longest of each book and end; of equals the first."""
        if not self.over:
            return np.empty((0, 7), dtype=np.int64)
        rows = np.concatenate(self.over)
        rows = rows[np.lexsort(rows.T[::-1])]
        first = np.ones(len(rows), dtype=np.bool_)
        first[1:] = (rows[1:, :2] != rows[:-1, :2]).any(axis=1)
        self.over = [rows[first]]
        return self.over[0]


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
