"""Text of models and books, made safe to display.

It can't move a cursor, color a terminal, reverse a line or close an HTML element.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import unicodedata
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

QUOTED_WORDS = 12
_LONGEST_WORD = 8  # maximum average word length in a text that is cut

# In scripts without spaces a character counts as a word: Thai, Lao, Burmese, Khmer,
# kana, Han.
_UNSPACED = (
    "\u0e01-\u0e5b\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
    "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])\w)+")
_HIDDEN = re.compile(r"\(\d+ words?\) #[0-9a-f]{8}")
# How many words of a server's message are shown; None for all. One for each run.
_limits: list[int | None] = [QUOTED_WORDS]
_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def inert(text: str, *, longest: int = 500) -> str:
    """Return text on one line, with control and format characters as spaces."""
    clipped = text[: longest * 4]
    spaced = "".join(map(_shown, clipped))
    shown = " ".join(spaced.split())
    if len(shown) <= longest:
        return shown
    return shown[: longest - 1] + "…"


def _shown(character: str) -> str:
    if unicodedata.category(character) in _UNSHOWN:
        return " "
    return character


def first_words(text: str, most: int = QUOTED_WORDS) -> str:
    """Cut a text to its first words and an ellipsis; return a short text unchanged.

    In a script without spaces each character is a word; underscores separate words.
    """
    words = list(islice(WORD.finditer(text), most + 1))
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
    return f"{short} {_digest_mark(name)}"


@contextlib.contextmanager
def server_word_limit(most: int | None) -> Iterator[None]:
    """Show at most this many words of a server's message in this process; None: all."""
    _limits.append(most)
    try:
        yield
    finally:
        _limits.pop()


def most_server_words() -> int | None:
    """Return how many words of a server's message may be shown now; None for all."""
    return _limits[-1]


def server_word(name: str, most: int = QUOTED_WORDS) -> str:
    """Shorten a server's name or word that isn't in our own tables.

    Only its length and digest are shown where fewer than QUOTED_WORDS words may be
    shown.
    """
    allowed = most_server_words()
    if allowed is not None and allowed < QUOTED_WORDS:
        count = count_words(name)
        noun = "word" if count == 1 else "words"
        return f"({count} {noun}) {_digest_mark(name)}"
    if is_hidden(name):  # a name of that form must not look like a hidden one
        return f"{name} {_digest_mark(name)}"
    return short_name(name, most)


def is_hidden(name: str) -> bool:
    """Whether `server_word` hid this name."""
    return _HIDDEN.fullmatch(name) is not None


def _digest_mark(name: str) -> str:
    return f"#{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def count_words(text: str) -> int:
    """Count the words of a short text as `first_words` does."""
    return len(WORD.findall(text))
