"""Words: what counts as one, in the paper's way and for every script (METRICS section 1)."""

from __future__ import annotations

import re
import unicodedata

from pytest_memleak.records import WordMode

__all__ = ["words"]

_TOKEN = re.compile(r"\w+")
_ASCII_ALNUM = re.compile(r"[A-Za-z0-9]")

# Marks outside Latin-1 that most prose has.
_COMMON_MARKS = "’‘“”—–…"

_SEPARATORS_BEYOND_LATIN_1 = re.compile(r"[^\w\x00-\xff]")

# Per byte of Latin-1: a word character's lower case, a space for any other character.
_LOWER_OR_SPACE = "".join(
    c.lower() if _TOKEN.match(c) else " " for c in map(chr, range(256))
).encode("latin-1")

# In bytes so translated, the words without an ASCII letter or digit; they begin as no other
# word of English does, which is told far quicker: with a byte that `_SHAPE` makes "_".
_NOT_COUNTED = re.compile(rb"[_\x80-\xff](?<![^ ].)[_\x80-\xff]*(?![^ ])", re.DOTALL)
_SHAPE = bytes(range(0x80)) + b"_" * 0x80

# Lower-casing the whole text at once is the same as word by word, but for these: two become
# ASCII letters (and would then count), and a sigma's lower case depends on its neighbours.
_LOWERS_ALONE = re.compile("[\u0130\u212aΣ]")

# Scripts written without spaces, by Unicode's Script property, with the two marks
# (U+3006, U+30FC) that only they use: each character is a word of its own.
_UNSPACED = re.compile(
    "["
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b"  # Han: radicals, marks, numerals
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00016fe3\U00020000-\U000323af"  # Han
    "\u3041-\u309f\U0001b001-\U0001b11f\U0001b132\U0001b150-\U0001b152"  # Hiragana
    "\u30a0-\u30ff\u31f0-\u31ff\U0001aff0-\U0001affe\U0001b000"  # Katakana
    "\U0001b120-\U0001b122\U0001b155\U0001b164-\U0001b167"  # Katakana
    "\u0e01-\u0e3a\u0e40-\u0e5b"  # Thai
    "]"
)


def words(text: str, mode: WordMode = "paper") -> list[str]:
    """The words of `text`, lower-cased, in order.

    `paper`: the runs of word characters that have an ASCII letter or digit in them, as the
    paper's released code counts them (arXiv 2603.20957). `unicode`: those of every script,
    after NFKC and without format characters; Han, Hiragana, Katakana and Thai one by one.
    """
    return _paper_words(text) if mode == "paper" else _unicode_words(text)


def _paper_words(text: str) -> list[str]:
    latin_1 = _latin_1(text)
    if latin_1 is None:
        return _words_beyond_latin_1(text)
    lower = latin_1.translate(_LOWER_OR_SPACE)
    if b" _" in b" " + (lower if lower.isascii() else lower.translate(_SHAPE)):
        lower = _NOT_COUNTED.sub(b" ", lower)
    return lower.decode("latin-1").split()


def _latin_1(text: str) -> bytes | None:
    """The text in Latin-1, with spaces for separators beyond it; None for letters beyond it."""
    if not text.isascii():
        for mark in _COMMON_MARKS:
            text = text.replace(mark, " ")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        text = _SEPARATORS_BEYOND_LATIN_1.sub(" ", text)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def _words_beyond_latin_1(text: str) -> list[str]:
    if _LOWERS_ALONE.search(text):
        return [word.lower() for word in _TOKEN.findall(text) if _ASCII_ALNUM.search(word)]
    return [
        word
        for word in _TOKEN.findall(text.lower())
        # An ASCII word without a letter or digit is all underscores.
        if (word.isascii() and word[-1] != "_") or _ASCII_ALNUM.search(word)
    ]


def _unicode_words(text: str) -> list[str]:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(c for c in text if c.isascii() or unicodedata.category(c) != "Cf")
    found = [word for word in _TOKEN.findall(text) if word.strip("_")]
    if not text.isascii() and _UNSPACED.search(text):
        found = [piece for word in found for piece in _cut_unspaced(word)]
    return [word.lower() for word in found]


def _cut_unspaced(word: str) -> list[str]:
    pieces = _UNSPACED.sub(r" \g<0> ", word).split()
    return [piece for piece in pieces if piece.strip("_")]
