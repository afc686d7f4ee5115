"""Words: what counts as one, in the paper's way and for every script (METRICS section 1)."""

from __future__ import annotations

import re
import unicodedata

from pytest_memleak.records import WordMode

__all__ = ["words"]

_TOKEN = re.compile(r"\w+")
_ASCII_ALNUM = re.compile(r"[A-Za-z0-9]")

# Marks that most prose in Unicode has; once they are spaces, the rest is often ASCII.
_COMMON_MARKS = "’‘“”—–…\u00a0"

_SEPARATORS_TO_SPACE = str.maketrans(
    {chr(code): " " for code in range(128) if not _TOKEN.match(chr(code))}
)

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
    if not text.isascii():
        for mark in _COMMON_MARKS:
            text = text.replace(mark, " ")
    if text.isascii():
        found = text.lower().translate(_SEPARATORS_TO_SPACE).split()
        return [word for word in found if word.strip("_")] if "_" in text else found
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
    found = [word.lower() for word in _TOKEN.findall(text) if word.strip("_")]
    if text.isascii() or not _UNSPACED.search(text):
        return found
    return [piece for word in found for piece in _cut_unspaced(word)]


def _cut_unspaced(word: str) -> list[str]:
    pieces = _UNSPACED.sub(r" \g<0> ", word).split()
    return [piece for piece in pieces if piece.strip("_")]
