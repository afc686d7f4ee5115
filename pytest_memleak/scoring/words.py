"""Words as the paper counts them, and for every script (docs/method.md)."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

from pytest_memleak.records import WordMode

_TOKEN = re.compile(r"\w+")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_ASCII_ALNUM = re.compile(r"[A-Za-z0-9]")

# Common marks outside Latin-1.
_COMMON_MARKS = "’‘“”—–…"

_SEPARATORS_BEYOND_LATIN_1 = re.compile(r"[^\w\x00-\xff]")

# Per byte of Latin-1: a word character's lower case, a space for any other character.
LOWER_OR_SPACE = "".join(
    c.lower() if _TOKEN.match(c) else " " for c in map(chr, range(256))
).encode("latin-1")

# In bytes so translated, the words without an ASCII letter or digit. They begin with a byte that
# `_SHAPE` maps to "_", as no other English word does, which is far faster to test.
_NOT_COUNTED = re.compile(rb"[_\x80-\xff](?<![^ ].)[_\x80-\xff]*(?![^ ])", re.DOTALL)
_SHAPE = bytes(range(0x80)) + b"_" * 0x80

# Lower-casing the whole text equals lower-casing word by word except for these: two become
# ASCII letters (and would then count), and a sigma's lower case depends on its neighbors.
_LOWERS_ALONE = re.compile("[\u0130\u212aΣ]")

# Scripts written without spaces, by Unicode's Script property, with the two marks (U+3006,
# U+30FC) that only they use: each user-perceived character is a word of its own.
_UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b"  # Han: radicals, marks, numerals
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00016fe3\U00020000-\U000323af"  # Han
    "\u3041-\u309f\U0001b001-\U0001b11f\U0001b132\U0001b150-\U0001b152"  # Hiragana
    "\u30a0-\u30ff\u31f0-\u31ff\U0001aff0-\U0001affe\U0001b000"  # Katakana
    "\U0001b120-\U0001b122\U0001b155\U0001b164-\U0001b167"  # Katakana
    "\u0e01-\u0e3a\u0e40-\u0e5b"  # Thai
    "\u0e81-\u0edf"  # Lao
    "\u1780-\u17dd\u17e0-\u17e9\u17f0-\u17f9\u19e0-\u19ff"  # Khmer
    "\u1000-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f\U000116d0-\U000116e3"  # Burmese
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")

# NFKC decomposes the vowel am of Thai and Lao, which readers see as one with its consonant.
_REST_OF_AM = (
    "(?:(?:(?<=\u0e4d)|(?<=\u0e4d[\u0e48-\u0e4b]))\u0e32"
    "|(?:(?<=\u0ecd)|(?<=\u0ecd[\u0ec8-\u0ecb]))\u0eb2)"
)

# Normalizing takes minutes to sort many marks on one letter.
_MANY_MARKS = 30


def words(text: str, mode: WordMode = "paper") -> list[str]:
    """Return the words of `text`, lower-cased, in order.

    `paper`: the runs of word characters that have an ASCII letter or digit in them, as the
    paper's released code counts them (arXiv 2603.20957). `unicode`: those of every script,
    after NFKC and without format characters, with the combining marks that stand in them; Han,
    Hiragana, Katakana, Thai, Lao, Khmer and Burmese are cut into user-perceived characters.
    """
    # Both modes agree on ASCII.
    return _paper_words(text) if mode == "paper" or text.isascii() else _unicode_words(text)


def _paper_words(text: str) -> list[str]:
    latin_1 = separated_in_latin_1(text)
    if latin_1 is None:
        return _words_beyond_latin_1(text)
    lower = latin_1.translate(LOWER_OR_SPACE)
    if b" _" in b" " + (lower if lower.isascii() else lower.translate(_SHAPE)):
        lower = _NOT_COUNTED.sub(b" ", lower)
    return lower.decode("latin-1").split()


def in_latin_1(text: str, *, mark_as: str = " ") -> bytes | None:
    """Return the text in Latin-1, `mark_as` for quotes, dashes, ellipses; None for others."""
    if not text.isascii():
        for mark in _COMMON_MARKS:
            text = text.replace(mark, mark_as)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def separated_in_latin_1(text: str) -> bytes | None:
    """Return the text in Latin-1, spaces for separators beyond it; None for letters beyond it."""
    latin_1 = in_latin_1(text)
    if latin_1 is None:
        latin_1 = in_latin_1(_SEPARATORS_BEYOND_LATIN_1.sub(" ", text))
    return latin_1


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
    text = normalized(text, "NFKC")
    letters = set(text)
    formats = {ord(c) for c in letters if not c.isascii() and unicodedata.category(c) == "Cf"}
    if formats:
        text = text.translate(dict.fromkeys(formats))
    marks = "".join(sorted(c for c in letters if unicodedata.category(c).startswith("M")))
    token_pattern, piece_pattern = _patterns(marks)
    tokens = token_pattern.findall(text)
    if _IS_UNSPACED.search(text):
        tokens = [piece for token in tokens for piece in piece_pattern.findall(token)]
    return [word.lower() for word in tokens if "_" not in word or _LETTER_OR_DIGIT.search(word)]


@lru_cache(maxsize=64)
def _patterns(marks: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return patterns of words with these combining marks, and of the pieces of an unspaced one."""
    more = f"[{marks}]*" if marks else ""
    return (
        re.compile(rf"\w[\w{marks}]*"),
        re.compile(
            rf"[{_UNSPACED}]{more}(?:{_REST_OF_AM}{more})?|[^\W{_UNSPACED}](?:[^\W{_UNSPACED}]"
            + (f"|[{marks}])*" if marks else ")*")
        ),
    )


def normalized(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Return `text` in a normal form of Unicode, in time that grows as its length does."""
    if text.isascii():
        return text
    combining = "".join(sorted(c for c in set(text) if unicodedata.combining(c)))
    if len(text) > _MANY_MARKS and combining:
        text = re.sub(f"[{combining}]{{{_MANY_MARKS},}}", _in_order, text)
    return unicodedata.normalize(form, text)


def _in_order(marks: re.Match[str]) -> str:
    """Return the marks in the order that normalizing gives them, so that it has nothing to sort."""
    apart = "".join(unicodedata.normalize("NFD", mark) for mark in marks[0])
    return "".join(sorted(apart, key=unicodedata.combining))
