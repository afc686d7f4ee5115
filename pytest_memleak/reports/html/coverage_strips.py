"""The book as a strip: how many rounds cover its words, and what links its parts.

No charting library draws these, so their SVG paths are written here: numbers only, never text.
Every drawing is 1000 units wide and stretches with the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records.plot_records import Link

WIDTH = 1000
_HEIGHT = 100
_ARC_HEIGHT = 150

# Upper ends of the shares of rounds that one colour stands for.
HEAT_STEPS = (0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Strip:
    """A heat strip: per level, from 1, the path of its columns; `ground` is how far it reaches."""

    ground: float
    paths: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Arc:
    """A curve from an excerpt to the span its generations gave.

    weight: 1 to 3, for spans of up to twice, four times and more of the threshold
    """

    path: str
    weight: int


def heat_level(share: float) -> int:
    """1 to 5 for the share of the rounds that cover a word; 0 for none."""
    if share <= 0:
        return 0
    return 1 + min(int(np.searchsorted(HEAT_STEPS, share - 1e-9)), len(HEAT_STEPS) - 1)


def x_position(position: int, words: int) -> float:
    """Where a position in a book of so many words lies on a drawing."""
    return round(position / max(words, 1) * WIDTH, 2)


def draw_strip(
    times: NDArray[np.intc], rounds: int, *, columns: int, of: int | None = None
) -> Strip:
    """Draw the rounds that cover each word as at most `columns` columns.

    A column's height is the share of its words that are covered, its colour the mean number of
    rounds that cover those. of: the number of words that the whole width stands for.
    """
    words = len(times)
    ground = round(WIDTH * words / (of or words), 2) if words else 0.0
    count = min(columns, words)
    if not count:
        return Strip(ground, ())
    edges = np.linspace(0, words, count + 1).astype(int)
    sizes = np.diff(edges)
    covered = np.add.reduceat((times > 0).astype(int), edges[:-1])
    total = np.add.reduceat(times.astype(int), edges[:-1])
    shares = total / np.maximum(covered, 1) / max(rounds, 1)
    heights = np.where(covered > 0, np.maximum(covered / sizes * _HEIGHT, 4), 0).round().astype(int)
    levels = [heat_level(share) for share in shares]
    xs = edges / words * ground
    return Strip(ground, _paths(list(zip(levels, heights.tolist(), strict=True)), xs.tolist()))


def _paths(columns: Sequence[tuple[int, int]], xs: Sequence[float]) -> tuple[tuple[int, str], ...]:
    """One path per level; equal neighbours are one rectangle."""
    drawn: dict[int, list[str]] = {}
    begin = 0
    for place, (level, height) in enumerate(columns):
        if place + 1 < len(columns) and columns[place + 1] == (level, height):
            continue
        if level:
            left, width = round(xs[begin], 1), round(xs[place + 1] - xs[begin], 2)
            drawn.setdefault(level, []).append(f"M{left:g} {_HEIGHT}v{-height}h{width:g}v{height}z")
        begin = place + 1
    return tuple((level, "".join(parts)) for level, parts in sorted(drawn.items()))


def draw_arcs(
    links: Iterable[Link], starts: Sequence[int], words: int, *, over: int
) -> tuple[Arc, ...]:
    """From the middle of each source excerpt to the middle of the span; short links first.

    over: the suite's threshold of long spans
    """
    ends = [*starts[1:], words]
    middles = [(start + end) / 2 for start, end in zip(starts, ends, strict=True)]
    drawn = []
    for link in sorted(links, key=lambda link: link.end - link.start):
        for source in link.sources:
            a = x_position(int(middles[source]), words)
            b = x_position((link.start + link.end) // 2, words)
            height = 20 + (_ARC_HEIGHT - 24) * (abs(b - a) / WIDTH) ** 0.5
            top = round(_ARC_HEIGHT - height, 1)
            path = f"M{a:g} {_ARC_HEIGHT}C{a:g} {top:g} {b:g} {top:g} {b:g} {_ARC_HEIGHT}"
            drawn.append(Arc(path, _weight(link.end - link.start, over)))
    return tuple(drawn)


def _weight(words: int, over: int) -> int:
    return 1 + sum(words > times * over for times in (2, 4))
