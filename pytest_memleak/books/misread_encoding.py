"""Plain text without a declared encoding that was read in a wrong one."""

from __future__ import annotations

import itertools
import re

from pytest_memleak.books.text_decoding import READ_AS_CP1252
from pytest_memleak.errors import BookError

_TOKEN = re.compile(r"\S+")
_LETTER = r"[^\W\d_]"
# Other encodings put signs in the place of letters: "m‚moire"
# (cp850), "pøes¹ahuje" (ISO 8859-2). Apostrophes, dashes and the middle dot stand
# within words anyway.
_SYMBOL_INSIDE = re.compile(
    f"{_LETTER}[¡¢£¤¥¦§¨©«¬®¯°±²³¶¸¹»¼½¾¿×÷€‚„†‡ˆ‰‹›•˜™\ufffd]+{_LETTER}",
)
_FEWEST_LETTERS = 1_000
_MOST_SYMBOLS = 0.003
_MOST_CAPITALS = 0.005

_DECLARE = (
    'save it as UTF-8, or state its encoding: encoding = "windows-1251" (--encoding)'
)


def validate_not_misread(
    text: str,
    note: str | None,
    *,
    place: str,
) -> None:
    """Raise BookError, naming `place`, for signs that `decode` misread plain text.

    note: of `decode`; only text that isn't UTF-8, without a declared encoding, may be
    misread.
    """
    reason = _why_misread(text) if note == READ_AS_CP1252 else None
    if reason:
        raise BookError(
            f"isn't UTF-8, and can't be read as windows-1252: {reason}",
            location=place,
            hint=_DECLARE,
        )


def _why_misread(text: str) -> str | None:
    if "\ufffd" in text:
        return "it has bytes that windows-1252 doesn't define"
    if sum(map(str.isalpha, text)) < _FEWEST_LETTERS:
        return None
    words = _TOKEN.findall(text)
    with_symbols = sum(1 for word in words if _SYMBOL_INSIDE.search(word))
    if with_symbols > _MOST_SYMBOLS * len(words):
        return f"{with_symbols / len(words):.1%} of its words have symbols inside"
    with_capitals = sum(map(_has_capital_inside, words))
    if with_capitals > _MOST_CAPITALS * len(words):
        share = with_capitals / len(words)
        return f"{share:.1%} of its words have capitals after lower case"
    return None


def _has_capital_inside(word: str) -> bool:
    pairs = itertools.pairwise(word)
    return any(before.islower() and letter.isupper() for before, letter in pairs)
