"""Text that was written by a model or stands in a book, made safe to show.

Nothing a model wrote may move a cursor, colour a terminal, reverse a line or end an element.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LONGEST_TEXT", "QUOTED_WORDS", "count_words", "inert", "without_quotes"]

QUOTED_WORDS = 12
LONGEST_TEXT = 200_000

# Scripts without spaces, a character at a time: Thai, kana, Han.
_UNSPACED = "\u0e01-\u0e5b\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_IN_UNSPACED = re.compile(rf"[{_UNSPACED}]")
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])\w)+")
_SPACED_WORD = re.compile(r"[^\W_]+")
# What pytest and repr() put between a book's words: the E of a traceback, escaped characters.
_BETWEEN = re.compile(
    r"^E(?=\s)|\\(?:[abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})", re.MULTILINE
)
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def inert(text: str, *, longest: int = 500) -> str:
    """`text` on one line: control, format, surrogate and unassigned characters as spaces."""
    clipped = text[: longest * 4]
    shown = "".join(" " if unicodedata.category(c) in _UNSHOWN else c for c in clipped)
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def without_quotes(text: str, protected: Iterable[str], *, most: int = QUOTED_WORDS) -> str:
    """`text` with every run of more than `most` words of a protected text taken out.

    It may be quoted as pytest does, with escapes and over several lines of a traceback, numbered,
    or with underscores between words. Time and memory are linear in `text`, which is cut after
    LONGEST_TEXT characters; of `protected`, which may be a stream, one is held at a time.
    """
    left = len(text) - LONGEST_TEXT
    if left > 0:
        cut = without_quotes(text[:LONGEST_TEXT], protected, most=most)
        return f"{cut}[{left:,} more characters withheld]"
    spots = list(_spots(text))
    said = [spot.group().casefold() for spot in spots]
    length = most + 1
    if len(said) < length:
        return text
    told = _told(said, length, protected)
    shown: list[str] = []
    copied = position = 0
    while position < len(spots):
        end = position
        while tuple(said[end : end + length]) in told:
            end += 1
        if end > position:
            end += length - 1
            shown += [text[copied : spots[position].start()], f"[{end - position} words withheld]"]
            copied = spots[end - 1].end()
        position = max(end, position + 1)
    return "".join([*shown, text[copied:]])


def count_words(text: str) -> int:
    """How many words stand in a text, those that number others left out."""
    return sum(1 for _ in _spots(text[:LONGEST_TEXT]))


def _spots(text: str) -> Iterator[re.Match[str]]:
    """Where the words of a quoting text stand."""
    plain = _BETWEEN.sub(lambda found: " " * len(found[0]), text)
    return (spot for spot in _WORD.finditer(plain) if not spot.group().isdecimal())


def _words(text: str) -> list[str]:
    """The words of a protected text; numbers are none, since they may number what is quoted."""
    pattern = _WORD if _IN_UNSPACED.search(text) else _SPACED_WORD
    return [word.casefold() for word in pattern.findall(text) if not word.isdecimal()]


def _told(said: list[str], length: int, protected: Iterable[str]) -> set[tuple[str, ...]]:
    """The runs of `length` words that are both said and protected."""
    runs = {tuple(said[at : at + length]) for at in range(len(said) - length + 1)}
    # Looked for by the longest word of each run, which is seldom a common one.
    anchors: dict[str, set[int]] = {}
    for run in runs:
        offset = max(range(length), key=lambda at: len(run[at]))
        anchors.setdefault(run[offset], set()).add(offset)
    told: set[tuple[str, ...]] = set()
    for one in protected:
        words = _words(one)
        for at, word in enumerate(words):
            for offset in anchors.get(word, ()):
                run = tuple(words[max(at - offset, 0) : at - offset + length])
                if run in runs:
                    told.add(run)
    return told
