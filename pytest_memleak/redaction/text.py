"""Text that was written by a model or stands in a book, made safe to show.

Nothing a model wrote may move a cursor, colour a terminal, reverse a line or end an element.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from itertools import islice

QUOTED_WORDS = 12
_LONGEST_WORD = 8  # on average, in a text that is cut

# Scripts without spaces, a character at a time: Thai, kana, Han.
_UNSPACED = "\u0e01-\u0e5b\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])\w)+")
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def inert(text: str, *, longest: int = 500) -> str:
    """`text` on one line: control, format, surrogate and unassigned characters as spaces."""
    clipped = text[: longest * 4]
    shown = "".join(" " if unicodedata.category(c) in _UNSHOWN else c for c in clipped)
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def first_words(text: str, most: int = QUOTED_WORDS) -> str:
    """The first words of a text, with an ellipsis where it goes on; `text` where it does not.

    A script without spaces has a word for each character, and underscores separate words.
    """
    words = list(islice(_WORD.finditer(text), most + 1))
    longest = most * _LONGEST_WORD
    if len(words) <= most and len(text) <= longest:
        return text
    end = max((word.end() for word in words[:most]), default=0)
    return f"{text[: min(end, longest)]} …"


def short_name(name: str, most: int = QUOTED_WORDS) -> str:
    """A name that a server gives, which could be a passage, as reports show it.

    Of a longer name its first words and a digest, so that different names stay different.
    """
    short = first_words(name, most)
    if short == name:
        return name
    return f"{short} #{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def count_words(text: str) -> int:
    """How many words a short text has, as `first_words` counts them."""
    return sum(1 for _ in _WORD.finditer(text))
