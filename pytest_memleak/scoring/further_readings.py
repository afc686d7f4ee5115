"""Further readings of texts that don't read as prose: passages disguised by markup or order.

Near-verbatim matching folds and matches each further reading like the text itself
(docs/method.md). Prose has none: a text gets them only for words that folding joins or
moves, marks beyond prose, words that repeat at once, and a stretch without usual words
or of them in reverse order.
"""

from __future__ import annotations

import re
import string
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.folding import ANSI, with_gaps
from pytest_memleak.scoring.word_hashes import keys_of
from pytest_memleak.scoring.words import marks_beside, without_references

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.word_hashes import Keyed

# English, German, French, Spanish, Italian, Portuguese, Dutch.
# None reads backwards as another usual word does.
USUAL = (
    "the and of to in that he it his her with as had for at you but be she they him "
    "from have "
    "which all this by were my we der die und das ich sie ist mit sich auf den dem ein "
    "eine zu "
    "nicht la les il elle un une que qui dans pour est pas las los por con del che di "
    "da do uma "
    "het een van dat zijn"
)
"""Words of which every stretch of prose has some."""

# Words of _BEFORE often precede words of _BEHIND, and seldom follow them.
_BEFORE = (
    "of in to and that with for at on from by as but when what if or than all upon "
    "into like "
    "through over after before about und auf mit von zu aus et dans sur pour que con "
    "por per op"
)
_BEHIND = (
    "the a an his her my he she it i they you we him me them this their your its our "
    "one these "
    "those der die das den dem ein eine er sie es la les un une il elle el los las una "
    "het een"
)
_SPREAD, _UNSEEN_BITS = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - 16)
_TEXTS_APART = 1 << 32
STRANGE = 32
"""The least words in a row without a usual one that are read backwards, too."""

ODD = 16
"""The least odd characters (`odd_marks`) of a text that is decoded."""

_BACKWARD, _DOUBLED, _LEET_WORDS = 3, 12, 8

# What isn't ASCII is a letter or a mark of some language.
_ORDINARY = (
    bytes(range(0x80, 0x100))
    + (string.ascii_letters + " \t\n\r.,;:!?'\"()-*>`").encode()
)
_CODES = re.compile(
    r"(?:[%=]|\\x)([0-9A-Fa-f]{2})|(?:\\u|%u)([0-9A-Fa-f]{4})"
    r"|(?:\\u\{|U\+)([0-9A-Fa-f]{2,5})(?:\}|\b\s?)|\\(?:([nrt])|e|033)"
)
_UTF_8 = re.compile("[\xc2-\xf4][\x80-\xbf]{1,3}")
_LAYERS = 3
# Tokenizers mark where a word begins, or where it goes on; some write bytes as letters.
_BEGINS = ("\u0120", "\u2581")
_GOES_ON = re.compile(r"(?<!\s)\s*##(?=\w)|@@\s+")
_BETWEEN_PIECES = re.compile(r"[\s'\",\[\]]+")
_BYTES = {256 + n: byte for n, byte in enumerate((*range(33), *range(127, 161), 173))}
_LEET = re.compile(r"[^\W\d_][\d@$!|]+(?=\w)|(?<![\w@$])[\d@$]+[^\W\d_]")
_LETTERS = [
    str.maketrans("034567@$89+1|!", "oeasgtasbgt" + 3 * look_alike)
    for look_alike in "il"
]
# Tables and transcripts have numbers beside each word, which are no units.
_UNIT = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_WINDOW, _WIDE, _DENSE = 24, 96, 4


def further_readings(
    texts: Sequence[str], words: Keyed, suspects: Container[int]
) -> tuple[list[int], list[str]]:
    """Return the further readings of some texts, and the number of the text of each.

    words: all texts' words as measured; suspects: numbers of those that folding may
    change
    """
    strange, backward, doubled = _stretches(words)
    numbers: list[int] = []
    readings: list[str] = []
    joined = "\n".join(texts)
    marks = [mark for mark in _BEGINS if mark in joined]
    for number, (text, odd) in enumerate(zip(texts, odd_marks(texts), strict=True)):
        kinds: list[Iterable[str]] = []
        if number in suspects:
            kinds.append([with_gaps(text)])
        if len(odd) >= ODD or any(mark in text for mark in marks):
            kinds.append(_decoded(text))
        if number in doubled:
            kinds.append(_thinned(text))
        if number in strange:
            kinds.append(_reversed(text, letters=True))
        if number in backward:
            kinds.append(_reversed(text, letters=False))
        if kinds:
            distinct_readings = dict.fromkeys(chain(*kinds))
            distinct_readings.pop(text, None)
            numbers += [number] * len(distinct_readings)
            readings += distinct_readings
    return numbers, readings


def odd_marks(texts: Sequence[str]) -> list[bytes]:
    """Return what each text has that prose doesn't have."""
    return marks_beside(_ORDINARY, texts)


def _table() -> NDArray[np.uint8]:
    """Return, per hash of a word, whether it is usual (1), in `_BEFORE` (2), in `_BEHIND` (4)."""
    table = np.zeros(1 << 16, dtype=np.uint8)
    for bit, words in ((1, USUAL), (2, _BEFORE), (4, _BEHIND)):
        table[(keys_of(words.split()) * _SPREAD >> _UNSEEN_BITS).view(np.intp)] |= bit
    return table


_TABLE = _table()


def _stretches(words: Keyed) -> Iterator[set[int]]:
    """Yield which texts have a stretch without usual words, in reverse order, of doubles."""
    keys, ends = words.keys, words.ends
    kinds = _TABLE.take((keys * _SPREAD >> _UNSEEN_BITS).view(np.intp), mode="clip")
    kinds[ends] = 1
    usual = np.flatnonzero(kinds & 1 > 0)
    last = usual[1:][np.diff(usual) > STRANGE]
    yield {*(ends.searchsorted(last) - 1).tolist()}
    turned = kinds[:-1] >> 1 & kinds[1:] & 2
    places = np.flatnonzero((turned | (kinds[:-1] << 1 & kinds[1:] & 4)) > 0)
    weights = np.where(turned[places], 1, -1)
    yield _with_stretch(places, weights, ends, each=0, least=_BACKWARD)
    places = np.flatnonzero(keys[1:] == keys[:-1])
    yield _with_stretch(places, np.full(len(places), 3), ends, each=-1, least=_DOUBLED)


def _with_stretch(
    places: Positions, weights: Positions, ends: Positions, *, each: int, least: int
) -> set[int]:
    """Return which texts have a stretch of `least` weight; each word weighs `each`, places more."""
    text = ends.searchsorted(places, side="right") - 1
    after = np.cumsum(weights) + each * places - _TEXTS_APART * text
    lowest = np.minimum.accumulate(after - weights)
    return {*text[after - lowest >= least].tolist()}


def _decoded(text: str) -> Iterator[str]:
    """Yield the text without escapes and tokenizers' marks, then without leet, tags, and keys."""
    for _ in range(_LAYERS):
        text = _CODES.sub(_character, without_references(text))
    text = _GOES_ON.sub("", ANSI.sub(" ", text))
    yield _of_pieces(text)
    yield _of_pieces(_BETWEEN_PIECES.sub("", text))
    if len(_LEET.findall(text)) >= _LEET_WORDS:
        for table in _LETTERS:
            yield text.translate(table)
    yield from _thinned(text)


def _character(code: re.Match[str]) -> str:
    digits = code[1] or code[2] or code[3]
    return chr(int(digits, 16)) if digits else " " if code[4] else "\x1b"


def _of_pieces(text: str) -> str:
    if _BEGINS[0] in text:
        text = text.translate(_BYTES)
    text = text.translate(dict.fromkeys(map(ord, _BEGINS[1:]), " "))
    return _UTF_8.sub(
        lambda run: run[0].encode("latin-1").decode("utf-8", "ignore"), text
    )


def _thinned(text: str) -> Iterator[str]:
    """Yield the text without doubles, then without keys: all units, every second, every third."""
    units = _UNIT.findall(text)
    units = [
        unit for unit, last in zip(units, ["", *units], strict=False) if unit != last
    ]
    for some in (units, _without_keys(units, _WINDOW)):
        for step in (1, 2, 3):
            yield from (" ".join(some[first::step]) for first in range(step))
    yield " ".join(_without_keys(units, _WIDE))


def _without_keys(units: Sequence[str], window: int) -> list[str]:
    """Return the units without those that recur densely in so many."""
    keys: set[int] = set()
    places: dict[str, list[int]] = {}
    for place, unit in enumerate(units):
        recurrences = places.setdefault(unit, [])
        recurrences.append(place)
        if len(recurrences) >= _DENSE and place - recurrences[-_DENSE] < window:
            keys.update(recurrences[-_DENSE:])
    return [unit for place, unit in enumerate(units) if place not in keys]


def _reversed(text: str, *, letters: bool) -> Iterator[str]:
    """Yield the text backwards, as a whole and line by line; with `letters`, word by word, too."""
    lines = text.split("\n")
    for parts in ([text], lines) if len(lines) > 1 else (lines,):
        yield "\n".join(
            part[::-1] if letters else " ".join(part.split()[::-1]) for part in parts
        )
    if letters:
        yield " ".join(word[::-1] for word in text.split())
