"""Text of models and books, made safe to display.

It can't move a cursor, color a terminal, reverse a line or close an HTML element.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from itertools import islice

QUOTED_WORDS = 12
_LONGEST_WORD = 8  # maximum average word length in a text that is cut

# In scripts without spaces a character counts as a word: Thai, kana, Han.
_UNSPACED = "\u0e01-\u0e5b\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])\w)+")
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def inert(text: str, *, longest: int = 500) -> str:
    """Return text on one line, with control, format and unassigned characters as spaces."""
    clipped = text[: longest * 4]
    shown = "".join(" " if unicodedata.category(c) in _UNSHOWN else c for c in clipped)
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def first_words(text: str, most: int = QUOTED_WORDS) -> str:
    """Cut a text to its first words and an ellipsis; return a short text unchanged.

    In a script without spaces each character is a word; underscores separate words.
    """
    words = list(islice(_WORD.finditer(text), most + 1))
    longest = most * _LONGEST_WORD
    if len(words) <= most and len(text) <= longest:
        return text
    end = max((word.end() for word in words[:most]), default=0)
    return f"{text[: min(end, longest)]} …"


def short_name(name: str, most: int = QUOTED_WORDS) -> str:
    """Shorten a server's name for reports, since it could be a passage.

    A digest behind the first words of a long name keeps different names different.
    """
    short = first_words(name, most)
    if short == name:
        return name
    return f"{short} #{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def count_words(text: str) -> int:
    """Count the words of a short text as `first_words` does."""
    return sum(1 for _ in _WORD.finditer(text))
