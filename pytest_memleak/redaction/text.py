"""Text that was written by a model or stands in a book, made safe to show.

Nothing a model wrote may move a cursor, colour a terminal, reverse a line or end an element.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING

from pytest_memleak.redaction.escapes import Said, plain_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    _Run = tuple[str, ...]

__all__ = [
    "LONGEST_TEXT",
    "QUOTED_WORDS",
    "Quotes",
    "count_words",
    "inert",
    "last_words",
    "without_quotes",
]

QUOTED_WORDS = 12
LONGEST_TEXT = 200_000

# Scripts without spaces, a character at a time: Thai, kana, Han.
_UNSPACED = "\u0e01-\u0e5b\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_IN_UNSPACED = re.compile(rf"[{_UNSPACED}]")
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])\w)+")
_SPACED_WORD = re.compile(r"[^\W_]+")
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def inert(text: str, *, longest: int = 500) -> str:
    """`text` on one line: control, format, surrogate and unassigned characters as spaces."""
    clipped = text[: longest * 4]
    shown = "".join(" " if unicodedata.category(c) in _UNSHOWN else c for c in clipped)
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def without_quotes(text: str, protected: Iterable[str], *, most: int = QUOTED_WORDS) -> str:
    """`text` with every run of more than `most` words of a protected text taken out.

    It may be quoted as pytest does, coloured, escaped and over several lines of a traceback,
    numbered, with underscores between words, and in any of the looks that escapes.py undoes. Time
    and memory are linear in `text`, which is cut after LONGEST_TEXT characters; of `protected`,
    which may be a stream, one is held at a time.
    """
    return Quotes(lambda: protected, most=most).taken_out(text)


class Quotes:
    """Protected texts that many texts may quote, gone through as seldom as can be.

    protected: gives them; it is called once for each `look_for` with something new in it, and
        for each text that was not looked for. most: as many of their words may stand in a row.
    """

    def __init__(self, protected: Callable[[], Iterable[str]], *, most: int) -> None:
        self._protected = protected
        self._length = most + 1
        self._looked_for: set[str] = set()
        self._known: set[_Run] = set()
        self._told: set[_Run] = set()

    def look_for(self, texts: Iterable[str]) -> None:
        """Find at once what all these texts quote."""
        unknown = {text[:LONGEST_TEXT] for text in texts} - self._looked_for
        runs = {run for text in unknown for run in self._runs(_said(text))}
        new = runs - self._known
        if new:
            self._told |= _told(new, self._length, self._protected())
            self._known |= new
        self._looked_for |= unknown

    def taken_out(self, text: str) -> str:
        """`text` without what it quotes, as `without_quotes` says."""
        left = len(text) - LONGEST_TEXT
        if left > 0:
            cut = self.taken_out(text[:LONGEST_TEXT])
            return f"{cut}[{left:,} more characters withheld]"
        self.look_for([text])
        undone, spots = _read(text)
        told = [run in self._told for run in self._runs(_said(text))]
        shown: list[str] = []
        copied = position = 0
        while position < len(told):
            end = position
            while end < len(told) and told[end]:
                end += 1
            if end > position:
                end += self._length - 1
                start, stop = undone.where(spots[position].start(), spots[end - 1].end())
                shown += [text[copied:start], f"[{end - position} words withheld]"]
                copied = stop
            position = max(end, position + 1)
        return "".join([*shown, text[copied:]])

    def _runs(self, said: list[str]) -> list[_Run]:
        length = self._length
        return [tuple(said[at : at + length]) for at in range(len(said) - length + 1)]


def count_words(text: str) -> int:
    """How many words stand in a text, those that number others left out."""
    return len(_read(text[:LONGEST_TEXT])[1])


def last_words(text: str, most: int) -> str:
    """The last words of a text, so many, as they are compared."""
    return " ".join(_said(text[-LONGEST_TEXT:])[-most:])


def _said(text: str) -> list[str]:
    """The words of a quoting text, as they are compared."""
    return [spot.group() for spot in _read(text)[1]]


@functools.lru_cache(maxsize=4)  # of a text several things are asked in a row
def _read(text: str) -> tuple[Said, Sequence[re.Match[str]]]:
    """A quoting text undone, and its words there; numbers are none, since they may number them."""
    said = Said(text)
    return said, [one for one in _WORD.finditer(said.plain) if not one.group().isdecimal()]


def _words(plain: str) -> list[str]:
    """The words of a protected text, which is plain."""
    pattern = _WORD if _IN_UNSPACED.search(plain) else _SPACED_WORD
    return [word for word in pattern.findall(plain) if not word.isdecimal()]


def _told(runs: set[_Run], length: int, protected: Iterable[str]) -> set[_Run]:
    """The runs of `length` words that are protected, too."""
    # Looked for by the longest word of each run, which is seldom a common one.
    anchored: dict[str, list[tuple[int, _Run]]] = {}
    for run in runs:
        offset = max(range(length), key=lambda at: len(run[at]))
        anchored.setdefault(run[offset], []).append((offset, run))
    told: set[_Run] = set()
    for one in protected:
        # Few protected texts hold all words of a run: only they are taken apart.
        folded = plain_of(one)
        near = [
            anchor
            for anchor, its in anchored.items()
            if anchor in folded and any(all(word in folded for word in run) for _, run in its)
        ]
        if near:
            told |= _found(_words(folded), {anchor: anchored[anchor] for anchor in near}, length)
    return told


def _found(
    words: list[str], anchored: Mapping[str, list[tuple[int, _Run]]], length: int
) -> set[_Run]:
    runs = {run for its in anchored.values() for _, run in its}
    offsets = {anchor: {offset for offset, _ in its} for anchor, its in anchored.items()}
    return {
        run
        for at, word in enumerate(words)
        for offset in offsets.get(word, ())
        if (run := tuple(words[max(at - offset, 0) : at - offset + length])) in runs
    }
