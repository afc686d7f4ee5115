"""Matches in a book whose excerpts do not follow each other word for word.

    find_matches_within(index, coded) -> the matches, none of them across a border

Where something stands between two excerpts that is not measured (what a model was given to
continue), the last words of one and the first of the next are no neighbours.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from pytest_memleak.scoring.matches import Interval, find_matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.scoring.index import Index

__all__ = ["find_matches_within"]


def find_matches_within(index: Index, coded: str) -> set[Interval]:
    """As `find_matches`, cut at the index's borders; pieces under k words are dropped.

    A maximal run cut at a border is, on either side, a maximal run of that side alone.
    """
    matches = find_matches(index, coded)
    if not index.borders:
        return matches
    return {
        (start, end)
        for match in matches
        for start, end in _pieces(match, index.borders)
        if end - start >= index.k
    }


def _pieces(match: Interval, borders: tuple[int, ...]) -> Iterator[Interval]:
    start, end = match
    for border in borders[bisect_right(borders, start) : bisect_left(borders, end)]:
        yield start, border
        start = border
    yield start, end
