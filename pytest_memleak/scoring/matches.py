"""Matches: maximal runs of equal words on one diagonal (METRICS section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.scoring.index import CODE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.scoring.index import Index

__all__ = ["Interval", "find_matches", "without"]

Interval = tuple[int, int]


def find_matches(index: Index, coded: str) -> set[Interval]:
    """The distinct book intervals [start, end) that match somewhere in `coded` words.

    A match of n words is a run of n - anchor + 1 n-gram hits, one word apart in both texts.
    `growing` holds, per position in the book where the next hit would carry a run on, where
    that run began.
    """
    anchor = index.anchor
    matches: set[Interval] = set()
    growing: dict[int, int] = {}
    next_hit = -1
    for at, places in index.hits(coded):
        if at != next_hit and growing:
            matches.update((start, at_word + anchor - 1) for at_word, start in growing.items())
            growing = {}
        next_hit = at + CODE_LENGTH
        if isinstance(places, int):
            grown = {places + 1: growing.pop(places, places)}
        else:
            grown = {place + 1: growing.pop(place, place) for place in places}
        if growing:  # runs that this hit does not carry on
            matches.update((start, at_word + anchor - 1) for at_word, start in growing.items())
        growing = grown
    matches.update((start, at_word + anchor - 1) for at_word, start in growing.items())
    if index.k > anchor:
        return {(start, end) for start, end in matches if end - start >= index.k}
    return matches


def without(
    interval: Interval, others: Iterable[Interval], *, overlap: int, keep: int
) -> list[Interval]:
    """What is left of `interval` without the `others` that share `overlap` words or more with it.

    Pieces under `keep` words are dropped.
    """
    start, end = interval
    cuts = sorted(
        (max(start, first), min(end, last))
        for first, last in others
        if min(end, last) - max(start, first) >= overlap
    )
    pieces = []
    for first, last in cuts:
        if first - start >= keep:
            pieces.append((start, first))
        start = max(start, last)
    if end - start >= keep:
        pieces.append((start, end))
    return pieces
