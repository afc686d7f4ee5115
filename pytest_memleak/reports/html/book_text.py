"""A book's own text, coloured by how many rounds gave each word back."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup

from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.html.coverage_strips import heat_level
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records import WordMode

_CHUNK = re.compile(r"\S+|\s+")
_PARAGRAPH = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text of one heat level, or the end of a paragraph (`text` is None)."""

    text: str | None = field(repr=False)
    level: int = 0


def heat_runs(text: str, times: Sequence[int], rounds: int, mode: WordMode) -> list[Run]:
    """`text` in runs of one level; `times` has the rounds that cover each of its words.

    Spaces and marks between two words of one level take that level too.
    """
    runs: list[Run] = []
    issue, position = "", 0
    for piece in _pieces(text, mode):
        if not piece.isspace() and (count := len(words(piece, mode))):
            share = max(times[position : position + count], default=0) / max(rounds, 1)
            level = heat_level(share)
            position += count
            _append(runs, issue, level if runs and runs[-1].level == level else 0)
            _append(runs, piece, level)
            issue = ""
        elif piece.isspace() and _PARAGRAPH.search(piece):
            _append(runs, issue, 0)
            runs.append(Run(None))
            issue = ""
        else:
            issue += piece
    _append(runs, issue, 0)
    return runs


def _append(runs: list[Run], text: str, level: int) -> None:
    if not text:
        return
    if runs and runs[-1].text is not None and runs[-1].level == level:
        runs[-1] = Run(runs[-1].text + text, level)
    else:
        runs.append(Run(text, level))


def _pieces(text: str, mode: WordMode) -> Iterator[str]:
    """Words, and what stands between them; a chunk that cannot be cut at marks stays whole."""
    for chunk in _CHUNK.findall(text):
        if chunk.isspace():
            yield chunk
            continue
        cut = _at_marks(chunk)
        whole = len(words(chunk, mode))
        yield from cut if sum(len(words(piece, mode)) for piece in cut) == whole else [chunk]


def _at_marks(chunk: str) -> list[str]:
    pieces: list[str] = []
    inside: bool | None = None
    for character in chunk:
        word = character.isalnum() or character == "_" or unicodedata.category(character) == "Cf"
        if word is inside:
            pieces[-1] += character
        else:
            pieces.append(character)
        inside = word
    return pieces


def safe_text(text: str) -> Markup:
    """The text of a run, inert and escaped, with its outer spaces."""
    bare = inert(text, longest=max(len(text), 1))
    before = " " if text[:1].isspace() else ""
    after = " " if text[-1:].isspace() and bare else ""
    return Markup("{}{}{}").format(before, bare, after)
