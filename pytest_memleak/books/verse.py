"""Verse cut into excerpts: at the ends of stanzas, and where these do not do, of lines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from pytest_memleak.books.excerpts import LONGEST_EXCERPT, SHORTEST_EXCERPT
from pytest_memleak.books.partition import Row, cheapest_cuts
from pytest_memleak.records import WordMode
from pytest_memleak.scoring.words import words

_PRICE_OF_CUT_IN_STANZA = 40.0


class _Line(NamedTuple):
    stanza: int
    text: str
    words: int
    last: bool


def cut_verse(stanzas: Sequence[str], *, mode: WordMode) -> list[str]:
    """The excerpts' texts, of 300 to 500 words; of a shorter poem it is one, whole.

    No line is parted, however long it is. Words are counted in `mode`.
    """
    lines = [
        _Line(number, line, len(words(line, mode)), line is its[-1])
        for number, its in enumerate(stanza.split("\n") for stanza in stanzas)
        for line in its
    ]
    if sum(line.words for line in lines) <= LONGEST_EXCERPT:
        return [_text(lines)]
    row = Row(
        words=[line.words for line in lines],
        prices=[0.0 if line.last else _PRICE_OF_CUT_IN_STANZA for line in lines],
        chapters=[0] * len(lines),
        long_chapters=frozenset(),
    )
    parts = None
    for allow_short in (False, True):
        parts = parts or cheapest_cuts(
            row, shortest=SHORTEST_EXCERPT, longest=LONGEST_EXCERPT, allow_short=allow_short
        )
    return [_text(lines[first:end]) for first, end in parts or ()]


def _text(lines: Sequence[_Line]) -> str:
    stanzas = groupby(lines, key=lambda line: line.stanza)
    return "\n\n".join("\n".join(line.text for line in its) for _, its in stanzas)
