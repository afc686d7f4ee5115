"""Texts as keys of their words, as measured and folded.

Many texts at once are joined, read as bytes, and cut at spaces (`word_hashes`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.folding import folded, passage_words
from pytest_memleak.scoring.text_marks import TextMarks
from pytest_memleak.scoring.word_hashes import (
    BEFORE,
    BEHIND,
    BEYOND_LATIN_1,
    Keyed,
    cut_into_words,
    spelled,
)
from pytest_memleak.scoring.words import (
    BEYOND,
    COMMON_MARKS,
    LOWER_OR_SPACE,
    WITH_SPACES,
    encoded,
    words,
)

if TYPE_CHECKING:
    from pytest_memleak.records import WordMode

_NO_TEXTS = cut_into_words(BEFORE[:1] + BEHIND[2:], None)
_BETWEEN = "\n\x00\n"


def keyed(texts: Sequence[str], mode: WordMode) -> Keyed:
    """Return the words of `words(text, mode)` of each text."""
    counted = _IN_PAPER_MODE if mode == "paper" else _IN_UNICODE_MODE
    return replace(
        cut_into_words(_words_as_bytes(texts, _AS_MEASURED[mode]), counted),
        mode=mode,
    )


def keyed_folded(texts: Sequence[str], plain: Keyed | None = None) -> Keyed:
    """Return the words of `passage_words(text)` of each text.

    plain: the same texts' other words; it is returned itself if folding changes none of
    them.
    """
    joined = _words_as_bytes(texts, _AS_FOLDED)
    if plain is not None and not len(plain.dropped) and joined == plain.joined:
        return plain
    return cut_into_words(joined, None)


class ChangedTexts(NamedTuple):
    """Texts that folding changes.

    words:    their folded words
    numbers:  of these texts
    suspects: numbers of all texts that it may change
    """

    words: Keyed
    numbers: list[int]
    suspects: set[int]


def texts_changed_by_folding(
    texts: Sequence[str],
    plain: Keyed,
    marks: TextMarks | None = None,
) -> ChangedTexts:
    """Return the folded words of texts that folding changes.

    plain: all the texts' words as measured, which serve for the others.
    marks: the texts', where they have been read
    """
    marks = marks or TextMarks(texts)
    start_of_end = plain.start[plain.ends]
    text_of_dropped = start_of_end.searchsorted(plain.dropped) - 1
    with_dropped = {*text_of_dropped.tolist()}
    suspects = set(with_dropped)
    rare_marks = marks.beside(_LEFT_ALONE, and_beside=COMMON_MARKS)
    for number, rare in enumerate(rare_marks):
        # Hyphens alone change nothing, and most texts have no other.
        if rare.strip(b"-") and _may_change(texts[number], rare):
            suspects.add(number)
    if marks.have_nul:
        suspects |= {number for number, text in enumerate(texts) if "\x00" in text}
    if not suspects:
        return ChangedTexts(_NO_TEXTS, [], suspects)
    numbers = sorted(suspects)
    texts_to_fold = [texts[number] for number in numbers]
    folded_texts = _words_of_each_text(_words_as_bytes(texts_to_fold, _AS_FOLDED))
    plain_texts = _words_of_each_text(plain.joined)
    changed: list[int] = []
    parts: list[bytes] = []
    for number, folded_words in zip(numbers, folded_texts, strict=True):
        same = folded_words.strip(b" ") == plain_texts[number].strip(b" ")
        if not same or number in with_dropped:
            changed.append(number)
            parts.append(b"\x00" + folded_words)
    together = b"".join(parts) + b"\x00" + BEHIND[2:]
    return ChangedTexts(cut_into_words(together, None), changed, suspects)


def _may_change(text: str, marks: bytes) -> bool:
    """Return whether folding may change a text; marks: what prose seldom has of it."""
    if _MAY_CHANGE.search(marks) or _NUMBER_FIRST.match(text):
        return True
    return b"-\n" in marks and _HYPHEN_AT_END.search(text) is not None


def _words_of_each_text(joined: bytes) -> list[bytes]:
    """Return the words of each text, as bytes."""
    return joined.split(b"\x00")[1:-1]


# What folding and both modes read alike; then what it may change, of the rest: it
# removes numbers that begin a line, and joins words at a line's end.
_LEFT_ALONE = b"+=/\\[]{}|@#$%^~"  # beside prose's
_MAY_CHANGE = re.compile(rb"[^0-9\n-]|\n-*[0-9]")
_NUMBER_FIRST = re.compile(r"(?:[^\w\n]|_)*[0-9]")
_HYPHEN_AT_END = re.compile(r"-[ \t]*\n")


# --- texts as bytes


class _Reading(NamedTuple):
    """A way to turn texts into bytes.

    encoded: a text's characters as bytes, `BEYOND` for those that `read` cannot process
    read:    many texts, so encoded, as words between spaces
    slowly:  the words of any text
    """

    encoded: Callable[[str], bytes]
    read: Callable[[bytes], bytes]
    slowly: Callable[[str], list[str]]


def _words_as_bytes(texts: Sequence[str], reading: _Reading) -> bytes:
    """Return all texts' words as bytes; texts `BEYOND` are read one by one."""
    if not texts:
        return BEFORE + BEHIND[2:]
    if any("\x00" in text for text in texts):
        texts = [text.replace("\x00", BEYOND) for text in texts]
    if reading is _AS_FOLDED:
        in_bytes = reading.encoded(_BETWEEN.join(texts))
    else:
        # Joined first, one letter beyond ASCII would make each text take longer.
        each = [
            text.encode() if text.isascii() else reading.encoded(text) for text in texts
        ]
        in_bytes = _BETWEEN.encode().join(each)
    read = reading.read(in_bytes)
    beyond = BEYOND.encode()
    if beyond in in_bytes:
        parts = read.split(b"\x00")
        for number, text in enumerate(in_bytes.split(b"\x00")):
            if beyond in text:
                words_of_text = reading.slowly(texts[number])
                parts[number] = b" %b " % spelled(words_of_text)
        read = b"\x00".join(parts)
    return BEFORE + read + BEHIND


_MARKUP = "<\x1b\x9b"
_REFERENCE = re.compile("&(?=[#A-Za-z])")
_MARKED = "pytest_memleak.marked"
codecs.register_error(_MARKED, lambda error: (BEYOND, error.end))  # type: ignore[attr-defined]
_LOWER = b"\x00" + LOWER_OR_SPACE[1:]


def _in_lower_case(latin_1: bytes) -> bytes:
    return latin_1.translate(_LOWER)


def _with_marks_encoded(text: str) -> bytes:
    for mark in _MARKUP:
        text = text.replace(mark, BEYOND)
    # No blank for a mark: a hyphen before one and a line's end splits no word.
    return encoded(_REFERENCE.sub(BEYOND, text), _MARKED, mark_as="~")


@cache
def _folding_of_latin_1() -> tuple[bytes, dict[bytes, bytes]]:
    """Return folding's result per byte of Latin-1, and the longer results."""
    table = [b"\x00"]
    longer = {}
    for code in range(1, 256):
        folded_mark = _folded_mark(chr(code)).encode("latin-1")
        if len(folded_mark) > 1:
            longer[bytes([code])] = folded_mark
        table.append(folded_mark if len(folded_mark) == 1 else b" ")
    return b"".join(table), longer


def _folded_mark(mark: str) -> str:
    """Return what folding makes of a character, with spaces for what is no word's."""
    behind_letter = folded(f"x{mark}")[1:]
    return "".join(c if c.isalnum() else " " for c in behind_letter)


_ALNUM = rb"0-9A-Za-z\xaa\xb2\xb3\xb5\xb9\xba\xc0-\xd6\xd8-\xf6\xf8-\xff"
_DIGIT = rb"[0-9\xb2\xb3\xb9]"
_BLANK = rb"[\t \x1c-\x1f\xa0\xa8\xaf\xb4\xb8]"
# All controls except blanks and NUL, which separates texts.
_UNSEEN = bytes({*range(1, 9), *range(14, 28), *range(0x7F, 0xA0)} - {0x85}) + b"\xad"
_LINE_ENDS = (b"\r\n", b"\r", b"\v", b"\f", b"\x85")
# Starting at the hyphen, not before it, is far faster.
_PARTED = re.compile(rb"-(?<=[%b]-)%b*\n%b*(?=[%b])" % (_ALNUM, _BLANK, _BLANK, _ALNUM))
_NUMBERS = re.compile(
    rb"\n[^%b\n]*%b+(?:[^%b\n]+%b+)*(?![%b])"
    % (_ALNUM, _DIGIT, _ALNUM, _DIGIT, _ALNUM),
)


def _folded(latin_1: bytes) -> bytes:
    """Fold texts as docs/method.md does."""
    table, longer = _folding_of_latin_1()
    latin_1 = latin_1.translate(None, _UNSEEN)
    if not latin_1.isascii():
        for mark, letters in longer.items():
            latin_1 = latin_1.replace(mark, letters)
    for mark in _LINE_ENDS:
        if mark[:1] in latin_1:  # one byte is faster to find than two
            latin_1 = latin_1.replace(mark, b"\n")
    latin_1 = _PARTED.sub(b"", latin_1)
    latin_1 = _NUMBERS.sub(b"\n", b"\n" + latin_1)[1:]
    return latin_1.translate(table, b"*")


_AS_MEASURED = {
    "paper": _Reading(
        encoded=partial(encoded, errors=WITH_SPACES),
        read=_in_lower_case,
        slowly=words,
    ),
    "unicode": _Reading(
        encoded=lambda text: text.encode("ascii", _MARKED),
        read=_in_lower_case,
        slowly=partial(words, mode="unicode"),
    ),
}
_AS_FOLDED = _Reading(
    encoded=_with_marks_encoded,
    read=_folded,
    slowly=passage_words,
)
_BYTES = np.arange(256)
_IN_PAPER_MODE = np.isin(
    _BYTES,
    [*b"0123456789abcdefghijklmnopqrstuvwxyz\x00", *BEYOND_LATIN_1],
)
_IN_UNICODE_MODE = _IN_PAPER_MODE | (BEYOND_LATIN_1[0] <= _BYTES)
