"""Intervals [start, end) of a book's words, many at once: arrays of their starts and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.distinct import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.distinct import Positions


Interval = tuple[int, int]


def coverage(start: Positions, end: Positions, *, words: int) -> NDArray[np.intc]:
    """Per word of a book of `words`, how many of the intervals hold it."""
    steps = np.bincount(start, minlength=words + 1)
    steps -= np.bincount(end, minlength=words + 1)
    return np.cumsum(steps[:-1], dtype=np.intc)


def outermost(start: Positions, end: Positions) -> tuple[Positions, Positions]:
    """The distinct intervals that no other contains, ascending."""
    if not len(start):
        return start, end
    most = int(end.max())
    by_start_then_longest = distinct(start * (most + 1) + (most - end))
    start, rest = np.divmod(by_start_then_longest, most + 1)
    end = most - rest
    reached = np.maximum.accumulate(end)
    furthest = np.ones(len(end), dtype=np.bool_)
    np.greater(end[1:], reached[:-1], out=furthest[1:])
    return start[furthest], end[furthest]


def cut(
    start: Positions, end: Positions, borders: Positions
) -> tuple[Positions, Positions, Positions]:
    """The intervals, cut at the `borders` inside them, which must ascend.

    Per piece the number of the interval that it is of, its start and its end.
    """
    first = borders.searchsorted(start, side="right")
    inside = np.maximum(borders.searchsorted(end) - first, 0)
    of = np.repeat(np.arange(len(start)), inside + 1)
    place = np.arange(len(of)) - np.repeat(np.cumsum(inside + 1) - inside - 1, inside + 1)
    ends = np.concatenate((borders, [0]))[first[of] + np.minimum(place, inside[of] - 1)]
    piece_end = np.where(place == inside[of], end[of], ends)
    piece_start = np.where(place == 0, start[of], np.concatenate(([0], piece_end[:-1])))
    return of, piece_start, piece_end


def united(start: Positions, end: Positions) -> tuple[Positions, Positions]:
    """The intervals with those made one that overlap or touch; `start` must ascend."""
    reached = np.maximum.accumulate(end)
    cut = np.flatnonzero(start[1:] > reached[:-1])
    return (
        np.concatenate((start[:1], start[cut + 1])),
        np.concatenate((reached[cut], reached[-1:])),
    )
