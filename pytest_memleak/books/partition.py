"""The cheapest way to cut a row of units into parts of a wanted size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

# Prices of a part: its size, up to 10 at the ends of the range; every border of a chapter within
# it; being short, and each word it lacks. Cuts have their own prices.
_PRICE_OF_SIZE = 10.0
_PRICE_OF_CHAPTER_BORDER = 60.0
_PRICE_OF_SHORT = 1_000.0
_PRICE_OF_MISSING_WORD = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """Units in order, one entry each: words, price of a cut after it, chapter.

    `long_chapters`: those that may not share a part with each other.
    """

    words: Sequence[int]
    prices: Sequence[float]
    chapters: Sequence[int]
    long_chapters: frozenset[int]


def cheapest_cuts(
    row: Row, *, shortest: int, longest: int, allow_short: bool
) -> list[tuple[int, int]] | None:
    """The parts as intervals [first, end) of units; None if there is no way.

    A part has `shortest` to `longest` words; with `allow_short` it may have fewer, at a price
    that makes it the last resort. A unit of more than `longest` words is a part of its own.
    """
    count = len(row.words)
    long_begun = _long_chapters_begun(row)
    before = [0, *accumulate(row.words)]
    size_prices = _size_prices(shortest, longest)
    unreachable = float("inf")
    best = [0.0] + [unreachable] * count
    first_of = [0] * (count + 1)
    lowest = highest = 0
    for end in range(1, count + 1):
        total = before[end]
        while total - before[lowest] > longest and lowest < end - 1:
            lowest += 1
        while highest < end and total - before[highest + 1] >= shortest:
            highest += 1
        price_of_cut = row.prices[end - 1] if end < count else 0.0
        last_chapter = row.chapters[end - 1]
        for first in range(lowest, end if allow_short else min(highest + 1, end)):
            size = total - before[first]
            if size < shortest and not allow_short:
                break
            price = best[first] + price_of_cut + size_prices[min(size, longest)]
            if row.chapters[first] != last_chapter:
                begun = long_begun[end - 1] - long_begun[first]
                if begun + (row.chapters[first] in row.long_chapters) > 1:
                    continue
                price += _PRICE_OF_CHAPTER_BORDER * (last_chapter - row.chapters[first])
            if price < best[end]:
                best[end], first_of[end] = price, first
    return None if best[count] == unreachable else _follow(first_of, count)


@lru_cache(maxsize=8)
def _size_prices(shortest: int, longest: int) -> Sequence[float]:
    wanted, reach = (shortest + longest) / 2, (longest - shortest) / 2
    return tuple(
        _PRICE_OF_SHORT + _PRICE_OF_MISSING_WORD * (shortest - size)
        if size < shortest
        else _PRICE_OF_SIZE * ((size - wanted) / reach) ** 2
        for size in range(longest + 1)
    )


def _long_chapters_begun(row: Row) -> Sequence[int]:
    """How many long chapters have begun with each unit and those before it."""
    before = (None, *row.chapters)
    return list(
        accumulate(
            chapter != last and chapter in row.long_chapters
            for chapter, last in zip(row.chapters, before, strict=False)
        )
    )


def _follow(first_of: Sequence[int], count: int) -> list[tuple[int, int]]:
    parts = []
    end = count
    while end:
        parts.append((first_of[end], end))
        end = first_of[end]
    return parts[::-1]
