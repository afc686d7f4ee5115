"""Drawings of a book: strips of coverage, arcs between its parts, colored text.

No charting library draws these. Their SVG paths hold numbers only, never text; each
drawing is 1000 units wide and stretches with the page.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup

from pytest_memleak.redaction.text import inert
from pytest_memleak.scoring.words import has_unspaced, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import WordMode
    from pytest_memleak.records.plot_records import Link

WIDTH = 1000
_HEIGHT = 100
_LEAST_HEIGHT = 4  # of a column with any word that is covered
_ARC_HEIGHT = 150
_CHUNK = re.compile(r"\S+|\s+")
_PARAGRAPH_OR_END = re.compile(r"\n\s*\n|(?:[^\n]|\n(?!\s*\n))+")
_PARAGRAPH = re.compile(r"\n\s*\n")

# Upper ends of the shares of rounds, a color each.
HEAT_STEPS = (0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Strip:
    """A heat strip: a path per level, from 1, and the width of its ground."""

    ground: float
    paths: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Arc:
    """A curve from the prompted excerpt to a span elsewhere.

    weight: 1 to 3, for spans of up to twice, four times and more of the threshold
    """

    path: str
    weight: int


class BookColumns(NamedTuple):
    """A book in columns; shape (columns,) each.

    left:      in words
    covered:   share of a column's words that any round covers
    frequency: mean share of the rounds that cover these words; 0 without any
    """

    left: NDArray[np.float64]
    covered: NDArray[np.float64]
    frequency: NDArray[np.float64]


def book_columns(times: NDArray[np.intc], rounds: int, *, columns: int) -> BookColumns:
    """Summarize the rounds that cover each word in at most `columns` columns."""
    edges = np.linspace(0, len(times), min(columns, len(times)) + 1).astype(int)
    sizes = np.diff(edges)
    covered = np.add.reduceat((times > 0).astype(int), edges[:-1])
    total = np.add.reduceat(times.astype(int), edges[:-1])
    frequency = total / np.maximum(covered, 1) / max(rounds, 1)
    return BookColumns(edges[:-1].astype(float), covered / sizes, frequency)


def heat_level(share: float) -> int:
    """Map the share of rounds that cover a word to a level: 1 to 5, or 0 for none."""
    if share <= 0:
        return 0
    return 1 + min(int(np.searchsorted(HEAT_STEPS, share - 1e-9)), len(HEAT_STEPS) - 1)


def heat_labels() -> list[str]:
    """Label the levels, from 1."""
    ends = [f"{100 * step:.0f}" for step in HEAT_STEPS]
    labels = [f"up to {ends[0]}%"]
    labels += [f"{low}–{high}%" for low, high in itertools.pairwise(ends)]
    return labels


def x_position(position: int, words: int) -> float:
    """Scale a position in the book to the width of a drawing."""
    return round(position / max(words, 1) * WIDTH, 2)


def draw_strip(
    times: NDArray[np.intc],
    rounds: int,
    *,
    columns: int,
    of: int | None = None,
) -> Strip:
    """Draw the rounds that cover each word as at most `columns` columns.

    A column's height is the share of its words that are covered, its color the mean
    number of rounds that cover those.

    of: the number of words that the whole width stands for
    """
    words = len(times)
    ground = round(WIDTH * words / (of or words), 2) if words else 0.0
    if not min(columns, words):
        return Strip(ground, ())
    summary = book_columns(times, rounds, columns=columns)
    heights = np.maximum(summary.covered * _HEIGHT, _LEAST_HEIGHT).round().astype(int)
    heights[summary.covered == 0] = 0
    levels = [heat_level(share) for share in summary.frequency]
    xs = np.append(summary.left, words) / words * ground
    looks = list(zip(levels, heights.tolist(), strict=True))
    return Strip(ground, _paths(looks, xs.tolist()))


def _paths(
    columns: Sequence[tuple[int, int]],
    xs: Sequence[float],
) -> tuple[tuple[int, str], ...]:
    """Build one path per level; equal neighbors share a rectangle."""
    drawn: dict[int, list[str]] = {}
    begin = 0
    for place, (level, height) in enumerate(columns):
        if place + 1 < len(columns) and columns[place + 1] == (level, height):
            continue
        if level:
            left, width = round(xs[begin], 1), round(xs[place + 1] - xs[begin], 2)
            drawn.setdefault(level, []).append(
                f"M{left:g} {_HEIGHT}v{-height}h{width:g}v{height}z",
            )
        begin = place + 1
    return tuple((level, "".join(parts)) for level, parts in sorted(drawn.items()))


def draw_arcs(
    links: Iterable[Link],
    starts: Sequence[int],
    words: int,
    *,
    over: int,
) -> tuple[Arc, ...]:
    """Draw an arc from the middle of each source excerpt to the middle of the span.

    over: the suite's threshold of long spans
    """
    ends = [*starts[1:], words]
    middles = []
    for start, end in zip(starts, ends, strict=True):
        middles.append(x_position((start + end) // 2, words))
    arcs = []
    for link in sorted(links, key=lambda link: link.end - link.start):
        place = x_position((link.start + link.end) // 2, words)
        length = link.end - link.start
        weight = 1 + (length > 2 * over) + (length > 4 * over)
        for source in link.sources:
            arcs.append(Arc(_arc_path(middles[source], place), weight))
    return tuple(arcs)


def _arc_path(a: float, b: float) -> str:
    height = 20 + (_ARC_HEIGHT - 24) * (abs(b - a) / WIDTH) ** 0.5
    top = round(_ARC_HEIGHT - height, 1)
    bottom = _ARC_HEIGHT
    return f"M{a:g} {bottom}C{a:g} {top:g} {b:g} {top:g} {b:g} {bottom}"


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text of one heat level; the end of a paragraph if `text` is None."""

    text: str | None = field(repr=False)
    level: int = 0


def heat_runs(
    text: str,
    times: Sequence[int],
    rounds: int,
    mode: WordMode,
) -> list[Run]:
    """Split `text` into runs of one level; `times` has the rounds that cover each word.

    Spaces and marks between two words of one level take that level, too.
    """
    runs: list[Run] = []
    between = ""
    position = 0
    for piece, count in _pieces(text, mode):
        if count:
            most = max(times[position : position + count], default=0)
            level = heat_level(most / max(rounds, 1))
            position += count
            is_same = bool(runs) and runs[-1].level == level
            _append(runs, between, level if is_same else 0)
            _append(runs, piece, level)
            between = ""
        elif piece.isspace() and _PARAGRAPH.search(piece):
            _append(runs, between, 0)
            runs.append(Run(None))
            between = ""
        else:
            between += piece
    _append(runs, between, 0)
    return runs


def _append(runs: list[Run], text: str, level: int) -> None:
    if not text:
        return
    if runs and runs[-1].text is not None and runs[-1].level == level:
        runs[-1] = Run(runs[-1].text + text, level)
    else:
        runs.append(Run(text, level))


def _pieces(text: str, mode: WordMode) -> Iterator[tuple[str, int]]:
    """Yield words and the text between them, with the number of words that end in each.

    A chunk that can't be cut at marks stays whole. In scripts without spaces, blanks
    part no words.
    """
    unspaced = has_unspaced(text)
    parts = _PARAGRAPH_OR_END if unspaced else _CHUNK
    for chunk in parts.findall(text):
        pieces = _at_marks(chunk)
        if unspaced:
            counts = _words_ended_by(pieces, words(chunk, mode), mode)
        else:
            counts = [len(words(piece, mode)) for piece in pieces]
        total = len(words(chunk, mode))
        if sum(counts) == total:
            yield from zip(pieces, counts, strict=True)
        else:
            yield chunk, total


def _words_ended_by(
    pieces: Sequence[str],
    chunk_words: Sequence[str],
    mode: WordMode,
) -> list[int]:
    """Return, for each piece, how many of the chunk's words end in it, by letters."""
    ends = list(itertools.accumulate(map(len, chunk_words)))
    counts = []
    letters = ended = 0
    for piece in pieces:
        letters += sum(map(len, words(piece, mode)))
        ended_before, ended = ended, bisect_right(ends, letters)
        counts.append(ended - ended_before)
    return counts


def _at_marks(chunk: str) -> list[str]:
    pieces: list[str] = []
    inside: bool | None = None
    for character in chunk:
        category = unicodedata.category(character)
        word = character.isalnum() or character == "_" or category == "Cf"
        word |= bool(inside) and category.startswith("M")
        if word is inside:
            pieces[-1] += character
        else:
            pieces.append(character)
        inside = word
    return pieces


def safe_text(text: str) -> Markup:
    """Return the text of a run, inert and escaped, with its outer spaces."""
    bare = inert(text, longest=max(len(text), 1))
    before = " " if text[:1].isspace() else ""
    after = " " if text[-1:].isspace() and bare else ""
    return Markup("{}{}{}").format(before, bare, after)
