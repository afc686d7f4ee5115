"""Further readings of texts that don't read as prose: markup or order disguise them.

Near-verbatim matching folds and matches each further reading like the text itself
(docs/method.md). Prose has none: a text gets them only for words that folding joins or
moves, marks beyond prose, long words that decode, words that repeat at once or after
the next, and a stretch without usual words or of them in reverse order.
"""

from __future__ import annotations

import re
from itertools import chain, groupby
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.formats.decode_words import (
    LONG_UNIT,
    decoded_readings,
    decoded_rot13,
)
from pytest_memleak.scoring.folding import ANSI, with_gaps
from pytest_memleak.scoring.text_marks import TextMarks
from pytest_memleak.scoring.word_hashes import keys_of
from pytest_memleak.scoring.words import without_references

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.word_hashes import Keyed, Keys
    from pytest_memleak.scoring.word_ranges import Positions

# English, German, French, Spanish, Italian, Portuguese, Dutch.
# None reads backwards as another usual word does.
USUAL = (
    "the and of to in that he it his her with as had for at you but be she they him "
    "from have which all this by were my we "
    "der die und das ich sie ist mit sich auf den dem ein eine zu nicht "
    "la les il elle un une que qui dans pour est pas "
    "las los por con del che di da do uma het een van dat zijn"
)
"""Words of which every stretch of prose has some."""

# Words of _BEFORE often precede words of _BEHIND, and seldom follow them.
_BEFORE = (
    "of in to and that with for at on from by as but when what if or than all upon "
    "into like through over after before about "
    "und auf mit von zu aus et dans sur pour que con por per op"
)
_BEHIND = (
    "the a an his her my he she it i they you we him me them this their your its our "
    "one these those "
    "der die das den dem ein eine er sie es la les un une il elle el los las una "
    "het een"
)
# Kinds of words, a bit each.
_IS_USUAL = 1
_COMES_BEFORE = 2
_COMES_BEHIND = 4

_TABLE_BITS = 16
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_UNSEEN_BITS = np.uint64(64 - _TABLE_BITS)
_TEXTS_APART = 1 << 32
STRANGE = 32
"""The least words in a row without a usual one that are read backwards, too."""

ODD = 16
"""The least odd characters (`odd_marks`) of a text that is decoded."""

# The least weights of stretches in reverse order and of doubled words, and the least
# words in leet.
_BACKWARD = 3
_DOUBLED = 12
_LEET_WORDS = 8

# What isn't ASCII is a letter or a mark of some language.
_ORDINARY = bytes(range(0x80, 0x100)) + b"\n\r-*"  # beside prose's
# Per first byte of a character in UTF-8: whether it is inside a unit, or ends a text.
_TEXT_ENDS = 2
_BLANKS = frozenset(filter(str.isspace, map(chr, range(128))))
_INSIDE_UNIT = bytes(
    [_TEXT_ENDS, *(chr(byte) not in _BLANKS for byte in range(1, 256))]
)
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_CODES = re.compile(
    r"(?:[%=]|(?<!\\)\\++x)([0-9A-Fa-f]{2})|(?:(?<!\\)\\++u|%u)([0-9A-Fa-f]{4})"
    r"|(?:\\u\{|U\+)([0-9A-Fa-f]{2,5})(?:\}|\b\s?)|\\(?:([nrt])|e|033)",
)
_UTF_8 = re.compile("[\xc2-\xf4][\x80-\xbf]{1,3}")
_LAYERS = 3
# Tokenizers mark where a word begins, or where it goes on; some write bytes as letters.
_BYTE_BEGINS = "\u0120"
_PIECE_BEGINS = "\u2581"
_BEGINS = (_BYTE_BEGINS, _PIECE_BEGINS)
_GOES_ON = re.compile(r"(?<!\s)\s*##(?=\w)|@@\s+")
_BETWEEN_PIECES = re.compile(r"[\s'\",\[\]]+")
_UNPRINTED_BYTES = (*range(33), *range(127, 161), 173)
_BYTES = dict(enumerate(_UNPRINTED_BYTES, start=256))
_LEET = re.compile(r"[^\W\d_][\d@$!|]+(?=\w)|(?<![\w@$])[\d@$]+[^\W\d_]")
_LETTERS = [
    str.maketrans("034567@$89+1|!", "oeasgtasbgt" + 3 * look_alike)
    for look_alike in "il"
]
# Tables and transcripts have numbers beside each word, which are no units.
_UNIT = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# A unit is a key if it occurs so often in so many units.
_DENSE = 4
_WINDOW = 24
_WIDE = 96


def further_readings(
    texts: Sequence[str],
    words: Keyed,
    suspects: Collection[int],
    marks: TextMarks | None = None,
) -> tuple[list[int], list[str]]:
    """Return the further readings of some texts, and the number of the text of each.

    words: all texts' words as measured; suspects: numbers of those that folding may
    change; marks: the texts', where they have been read
    """
    marks = marks or TextMarks(texts)
    kinds_of_words = _kinds_of(words)
    strange = _texts_without_usual_words(kinds_of_words, words.ends)
    backward = _texts_in_reverse_order(kinds_of_words, words.ends)
    doubled = _texts_with_doubled_words(words)
    encoded = _with_odd_marks(marks) | _texts_with_tokenizer_marks(texts, marks)
    numbers: list[int] = []
    readings: list[str] = []
    long_units = _with_long_units(marks)
    some_kind = {*suspects, *strange, *backward, *doubled, *encoded, *long_units}
    for number in sorted(some_kind):
        text = texts[number]
        kinds: list[Iterable[str]] = []
        if number in long_units:
            kinds.append(decoded_readings(text))
        if number in suspects:
            kinds.append([with_gaps(text)])
        if number in encoded:
            kinds.append(_decoded_readings(text))
        if number in doubled:
            kinds.append(_readings_without_doubles(text))
        if number in strange:
            kinds += _letters_reversed(text), [decoded_rot13(text)]
        if number in backward:
            kinds.append(_words_reversed(text))
        distinct_readings = dict.fromkeys(chain(*kinds))
        distinct_readings.pop(text, None)
        numbers += [number] * len(distinct_readings)
        readings += distinct_readings
    return numbers, readings


def odd_marks(texts: Sequence[str]) -> list[bytes]:
    """Return what each text has that prose doesn't have."""
    return TextMarks(texts).beside(_ORDINARY)


def _kinds_by_table_place() -> NDArray[np.uint8]:
    """Return the kinds of each word, by its place in the table."""
    table = np.zeros(1 << _TABLE_BITS, dtype=np.uint8)
    words_of_kind = {
        _IS_USUAL: USUAL,
        _COMES_BEFORE: _BEFORE,
        _COMES_BEHIND: _BEHIND,
    }
    for kind, words in words_of_kind.items():
        keys = keys_of(words.split())
        table[_table_place(keys)] |= kind
    return table


def _table_place(keys: Keys) -> Positions:
    spread = keys * _SPREAD
    first_bits = spread >> _UNSEEN_BITS
    return first_bits.view(np.intp)


_TABLE = _kinds_by_table_place()


def _with_odd_marks(marks: TextMarks) -> set[int]:
    """Return which texts have many odd characters."""
    odd_of_texts = enumerate(marks.beside(_ORDINARY))
    return {number for number, odd in odd_of_texts if len(odd) >= ODD}


def _texts_with_tokenizer_marks(texts: Sequence[str], marks: TextMarks) -> set[int]:
    """Return which texts have a tokenizer's marks."""
    joined = marks.joined(nul_as=b" ")
    # A byte is found far faster than two.
    if not any(all(map(joined.__contains__, mark.encode())) for mark in _BEGINS):
        return set()
    numbered = enumerate(texts)
    return {number for number, text in numbered if any(map(text.__contains__, _BEGINS))}


def _with_long_units(marks: TextMarks) -> set[int]:
    """Return which texts may have a unit long enough to be decoded; few of prose.

    All that have such a unit are among them: only a blank of ASCII parts units here.
    """
    joined = marks.joined(nul_as=b"x")
    is_inside = joined.translate(_INSIDE_UNIT, _CONTINUATIONS)
    in_unit = np.frombuffer(is_inside, dtype=np.uint8)
    length = 1
    while length < LONG_UNIT:
        # From here on, twice as many bytes are inside a unit.
        in_unit = in_unit[length:] & in_unit[:-length]
        length *= 2
    places = np.flatnonzero(in_unit == 1)
    if not len(places):
        return set()
    ends = np.flatnonzero(np.frombuffer(is_inside, dtype=np.uint8) == _TEXT_ENDS)
    return {*ends.searchsorted(places).tolist()}


def _kinds_of(words: Keyed) -> NDArray[np.uint8]:
    """Return the kinds of each word; a text's end counts as usual only."""
    kinds = _TABLE.take(_table_place(words.keys), mode="clip")
    kinds[words.ends] = _IS_USUAL
    return kinds


def _texts_without_usual_words(kinds: NDArray[np.uint8], ends: Positions) -> set[int]:
    """Return which texts have a stretch without usual words."""
    usual = np.flatnonzero(kinds & _IS_USUAL > 0)
    is_far_behind = np.diff(usual) > STRANGE
    behind_stretch = usual[1:][is_far_behind]
    text = ends.searchsorted(behind_stretch) - 1
    return {*text.tolist()}


def _texts_in_reverse_order(kinds: NDArray[np.uint8], ends: Positions) -> set[int]:
    """Return which texts have a stretch of usual words in reverse order."""
    comes_before = kinds & _COMES_BEFORE > 0
    comes_behind = kinds & _COMES_BEHIND > 0
    is_reversed = comes_behind[:-1] & comes_before[1:]
    is_in_order = comes_before[:-1] & comes_behind[1:]
    places = np.flatnonzero(is_reversed | is_in_order)
    weights = np.where(is_reversed.take(places), 1, -1)
    return _texts_with_stretch(places, weights, ends, each=0, least=_BACKWARD)


def _texts_with_doubled_words(words: Keyed) -> set[int]:
    """Return which texts have a stretch of words that repeat, at once or after another.

    The latter may be the same tag, or the same command, beside each word of a text.
    """
    return _texts_with_repeats(words, apart=1) | _texts_with_repeats(words, apart=2)


def _texts_with_repeats(words: Keyed, apart: int) -> set[int]:
    """Return which texts have a stretch of words that repeat so many words later."""
    is_repeated = words.keys[apart:] == words.keys[:-apart]
    for before_end in range(apart):  # what follows is another text's
        crossing = words.ends - before_end
        is_repeated[crossing[(crossing >= 0) & (crossing < len(is_repeated))]] = False
    places = np.flatnonzero(is_repeated)
    weights = np.full(len(places), 3)
    return _texts_with_stretch(places, weights, words.ends, each=-1, least=_DOUBLED)


def _texts_with_stretch(
    places: Positions,
    weights: Positions,
    ends: Positions,
    *,
    each: int,
    least: int,
) -> set[int]:
    """Return which texts have a stretch of at least `least` weight.

    each: the weight of every word; weights: what words at `places` weigh more
    """
    text = ends.searchsorted(places, side="right") - 1
    after = np.cumsum(weights)
    after += each * places
    after -= _TEXTS_APART * text
    before = after - weights
    lowest = np.minimum.accumulate(before)
    is_enough = after - lowest >= least
    texts_with_stretch = text[is_enough]
    return {*texts_with_stretch.tolist()}


def _decoded_readings(text: str) -> Iterator[str]:
    """Yield the text without escapes and tokenizers' marks, leet, tags, and keys."""
    for _ in range(_LAYERS):
        text = _CODES.sub(_character_of_code, without_references(text))
    text = _GOES_ON.sub("", ANSI.sub(" ", text))
    yield _without_word_piece_marks(text)
    yield _without_word_piece_marks(_BETWEEN_PIECES.sub("", text))
    if len(_LEET.findall(text)) >= _LEET_WORDS:
        for table in _LETTERS:
            yield text.translate(table)
    yield from _readings_without_doubles(text)


def _character_of_code(code: re.Match[str]) -> str:
    """Return the character of a code; of line ends and tabs a blank."""
    digits = code[1] or code[2] or code[3]
    if digits:
        return chr(int(digits, 16))
    if code[4]:
        return " "
    return "\x1b"


def _without_word_piece_marks(text: str) -> str:
    """Return a text without the marks with which words begin in it."""
    if _BYTE_BEGINS in text:
        text = text.translate(_BYTES)
    text = text.replace(_PIECE_BEGINS, " ")
    return _UTF_8.sub(_from_utf_8, text)


def _from_utf_8(run: re.Match[str]) -> str:
    return run[0].encode("latin-1").decode("utf-8", "ignore")


def _readings_without_doubles(text: str) -> Iterator[str]:
    """Yield the text without doubles, then without keys.

    Each time all units, every second, and every third.
    """
    units = [unit for unit, _ in groupby(_UNIT.findall(text))]
    for some in (units, _without_dense_units(units, _WINDOW)):
        for step in (1, 2, 3):
            for first in range(step):
                yield " ".join(some[first::step])
    yield " ".join(_without_dense_units(units, _WIDE))


def _without_dense_units(units: Sequence[str], window: int) -> list[str]:
    """Return the units without those that recur densely in so many."""
    keys: set[int] = set()
    places: dict[str, list[int]] = {}
    for place, unit in enumerate(units):
        recurrences = places.setdefault(unit, [])
        recurrences.append(place)
        latest = recurrences[-_DENSE:]
        if len(latest) == _DENSE and place - latest[0] < window:
            keys.update(latest)
    return [unit for place, unit in enumerate(units) if place not in keys]


def _letters_reversed(text: str) -> Iterator[str]:
    """Yield the text backwards: as a whole, line by line, and word by word."""
    yield _last_letter_first(text)
    lines = text.split("\n")
    if len(lines) > 1:
        yield "\n".join(map(_last_letter_first, lines))
    yield " ".join(map(_last_letter_first, text.split()))


def _last_letter_first(text: str) -> str:
    return text[::-1]


def _words_reversed(text: str) -> Iterator[str]:
    """Yield the words of the text in reverse order, as a whole and line by line."""
    yield _last_word_first(text)
    lines = text.split("\n")
    if len(lines) > 1:
        yield "\n".join(map(_last_word_first, lines))


def _last_word_first(text: str) -> str:
    return " ".join(reversed(text.split()))
