"""Drawings of a book: strips of coverage, arcs between its parts, colored text.

No charting library draws these. Their SVG paths hold numbers only, never text; each
drawing is 1000 units wide and stretches with the page.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup

from pytest_memleak.redaction.text import inert
from pytest_memleak.scoring.words import has_unspaced, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records import WordMode
    from pytest_memleak.records.plot_records import Link
    from pytest_memleak.scoring.array_types import Floats, PerWord

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

    left: Floats
    covered: Floats
    frequency: Floats


def book_columns(
    times: PerWord,
    rounds: int,
    *,
    columns: int,
) -> BookColumns:
    """Summarize the rounds that cover each word in at most `columns` columns."""
    words = len(times)
    edge_count = min(columns, words) + 1
    positions = np.linspace(0, words, edge_count)
    edges = positions.astype(int)
    starts = edges[:-1]
    is_covered = (times > 0).astype(int)
    covered = np.add.reduceat(is_covered, starts)
    total = np.add.reduceat(times.astype(int), starts)
    mean_rounds = total / np.maximum(covered, 1)
    return BookColumns(
        left=starts.astype(float),
        covered=covered / np.diff(edges),
        frequency=mean_rounds / max(rounds, 1),
    )


def heat_level(share: float) -> int:
    """Map the share of rounds that cover a word to a level: 1 to 5, or 0 for none."""
    if share <= 0:
        return 0
    step = int(np.searchsorted(HEAT_STEPS, share - 1e-9))
    last_step = len(HEAT_STEPS) - 1
    return 1 + min(step, last_step)


def heat_labels() -> list[str]:
    """Label the levels, from 1."""
    ends = [f"{100 * step:.0f}" for step in HEAT_STEPS]
    labels = [f"up to {ends[0]}%"]
    labels += [f"{low}–{high}%" for low, high in itertools.pairwise(ends)]
    return labels


def x_position(position: int, words: int) -> float:
    """Scale a position in the book to the width of a drawing."""
    share = position / max(words, 1)
    return round(share * WIDTH, 2)


def draw_strip(
    times: PerWord,
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
    ground = 0.0
    if words:
        ground = round(WIDTH * words / (of or words), 2)
    if not min(columns, words):
        return Strip(ground, ())
    summary = book_columns(times, rounds, columns=columns)
    least_heights = np.maximum(summary.covered * _HEIGHT, _LEAST_HEIGHT)
    heights = least_heights.round().astype(int)
    heights[summary.covered == 0] = 0
    levels = [heat_level(share) for share in summary.frequency]
    edges = np.append(summary.left, words)
    xs = edges / words * ground
    looks = list(map(_ColumnLook, levels, heights.tolist()))
    return Strip(ground, _path_per_level(looks, xs.tolist()))


class _ColumnLook(NamedTuple):
    """How a column looks."""

    level: int
    height: int


def _path_per_level(
    columns: Sequence[_ColumnLook],
    xs: Sequence[float],
) -> tuple[tuple[int, str], ...]:
    """Build one path per level; equal neighbors share a rectangle."""
    paths: defaultdict[int, str] = defaultdict(str)
    begin = 0
    for look, neighbors in itertools.groupby(columns):
        end = begin + len(list(neighbors))
        if look.level:
            left = round(xs[begin], 1)
            extent = xs[end] - xs[begin]
            width = round(extent, 2)
            height = look.height
            rectangle = f"M{left:g} {_HEIGHT}v{-height}h{width:g}v{height}z"
            paths[look.level] += rectangle
        begin = end
    return tuple(sorted(paths.items()))


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
        middle = (start + end) // 2
        middles.append(x_position(middle, words))
    arcs = []
    for link in sorted(links, key=_link_length):
        middle = (link.start + link.end) // 2
        place = x_position(middle, words)
        weight = _arc_weight(_link_length(link), over)
        for source in link.sources:
            path = _arc_path(middles[source], place)
            arcs.append(Arc(path, weight))
    return tuple(arcs)


def _link_length(link: Link) -> int:
    return link.end - link.start


def _arc_weight(length: int, over: int) -> int:
    if length > 4 * over:
        return 3
    if length > 2 * over:
        return 2
    return 1


def _arc_path(a: float, b: float) -> str:
    distance = abs(b - a) / WIDTH
    height = 20 + (_ARC_HEIGHT - 24) * distance**0.5
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
    for piece, count in _words_and_gaps(text, mode):
        if count:
            end = position + count
            most = max(times[position:end], default=0)
            position = end
            level = heat_level(most / max(rounds, 1))
            is_same = bool(runs) and runs[-1].level == level
            _append_or_extend_run(runs, between, level if is_same else 0)
            _append_or_extend_run(runs, piece, level)
            between = ""
        elif piece.isspace() and _PARAGRAPH.search(piece):
            _append_or_extend_run(runs, between, 0)
            runs.append(Run(None))
            between = ""
        else:
            between += piece
    _append_or_extend_run(runs, between, 0)
    return runs


def _append_or_extend_run(
    runs: list[Run],
    text: str,
    level: int,
) -> None:
    if not text:
        return
    last = runs[-1] if runs else Run(None)
    if last.text is not None and last.level == level:
        runs[-1] = Run(last.text + text, level)
    else:
        runs.append(Run(text, level))


def _words_and_gaps(text: str, mode: WordMode) -> Iterator[tuple[str, int]]:
    """Yield words and the text between them, with the number of words that end in each.

    A chunk that can't be cut at marks stays whole. In scripts without spaces, blanks
    part no words.
    """
    unspaced = has_unspaced(text)
    parts = _PARAGRAPH_OR_END if unspaced else _CHUNK
    for chunk in parts.findall(text):
        pieces = _split_at_marks(chunk)
        chunk_words = words(chunk, mode)
        if unspaced:
            counts = _words_ended_by(pieces, chunk_words, mode)
        else:
            counts = [len(words(piece, mode)) for piece in pieces]
        if sum(counts) == len(chunk_words):
            yield from zip(pieces, counts, strict=True)
        else:
            yield chunk, len(chunk_words)


def _words_ended_by(
    pieces: Sequence[str],
    chunk_words: Sequence[str],
    mode: WordMode,
) -> list[int]:
    """Return, for each piece, how many of the chunk's words end in it, by letters."""
    lengths = map(len, chunk_words)
    ends = list(itertools.accumulate(lengths))
    counts = []
    letters = 0
    ended_before = 0
    for piece in pieces:
        piece_words = words(piece, mode)
        letters += sum(map(len, piece_words))
        ended = bisect_right(ends, letters)
        counts.append(ended - ended_before)
        ended_before = ended
    return counts


def _split_at_marks(chunk: str) -> list[str]:
    pieces: list[str] = []
    inside: bool | None = None
    for character in chunk:
        is_of_word = _is_word_character(character, inside=bool(inside))
        if is_of_word is inside:
            pieces[-1] += character
        else:
            pieces.append(character)
        inside = is_of_word
    return pieces


def _is_word_character(character: str, *, inside: bool) -> bool:
    """Tell whether a character is part of a word. inside: whether the last one was."""
    if character.isalnum() or character == "_":
        return True
    category = unicodedata.category(character)
    if category.startswith("M"):
        return inside
    return category == "Cf"


def escaped_run_text(text: str) -> Markup:
    """Return the text of a run, inert and escaped, with its outer spaces."""
    length = max(len(text), 1)
    bare = inert(text, longest=length)
    before = " " if text[:1].isspace() else ""
    after = " " if text[-1:].isspace() and bare else ""
    return Markup("{}{}{}").format(before, bare, after)
