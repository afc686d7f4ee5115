"""Text that was written by a model or stands in a book, made safe to show.

Nothing a model wrote may move a cursor, colour a terminal, reverse a line or end an element.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_memleak.records import Book

__all__ = ["QUOTED_WORDS", "inert", "without_quotes"]

QUOTED_WORDS = 12

# Scripts without spaces, a character at a time: Thai, kana, Han.
_UNSPACED = "\u0e01-\u0e5b\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")
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


def without_quotes(text: str, book: Book, *, most: int = QUOTED_WORDS) -> str:
    """`text` with every run of more than `most` of the book's words taken out.

    It may be quoted as pytest does, with escapes and over several lines of a traceback.
    """
    length = most + 1
    book_words = [word.lower() for excerpt in book.excerpts for word in _WORD.findall(excerpt.text)]
    told = {tuple(book_words[i : i + length]) for i in range(len(book_words) - length + 1)}
    spots = list(_WORD.finditer(_BETWEEN.sub(lambda found: " " * len(found[0]), text)))
    said = [spot.group().lower() for spot in spots]
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
