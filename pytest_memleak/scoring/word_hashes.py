"""Words as numbers of 64 bits, many texts at once.

A word's bytes are Latin-1 or, if it has no such form, a mark and UTF-8. A word of up to 8 bytes is
its own key; a longer one has a hash with a last byte of `LONG`, which no word of 8 bytes has, so
only equal keys of long words need a second look. Texts are joined, read as bytes, and
cut at spaces in numpy.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.folding import folded, passage_words
from pytest_memleak.scoring.words import LOWER_OR_SPACE, in_latin_1, separated_in_latin_1, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.records import WordMode
    from pytest_memleak.scoring.intervals import Positions

    Keys = NDArray[np.uint64]

TEXT_END = 0
"""The key before the first text and after each."""

NO_WORD = 2
"""A key that no word has."""

LONG = 0xFF
"""The last byte of a long word's key."""

_KEY_BYTES = 8
_LONGEST_USUAL = 256  # bytes; no word of a language is longer
_MANY = 8
_LAST_BYTE = np.uint64(56)
_LONG_MARK = np.uint64(LONG << 56)
_SPACE = 0x20
_BEYOND_LATIN_1 = b"\x7f"
_UTF_8, _CONTINUED = 0xC0, 0x80  # first bits of a byte, and of a continuation
_BETWEEN = "\n\x00\n"
_BEFORE, _BEHIND = b"\x00 ", b" \x00" + b" " * 16
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(_KEY_BYTES + 1)], dtype=np.uint64)
_MIX, _FOLD = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@dataclass(frozen=True, slots=True, eq=False)
class Keyed:
    """The words of some texts, one after the other, with `TEXT_END` before, between and behind.

    keys:  shape (n,)
    start, end: where each word's bytes are, shape (n,)
    joined: of all texts, as they were cut
    ends:  places of the `TEXT_END`, one more than texts
    dropped: first bytes of the parts between spaces that are no words
    """

    keys: Keys
    start: Positions
    end: Positions
    joined: bytes
    ends: Positions
    dropped: Positions

    @property
    def texts(self) -> int:
        """Return the number of texts."""
        return len(self.ends) - 1

    def lengths(self) -> Positions:
        """Return how many words each text has."""
        return np.diff(self.ends) - 1

    def each(self) -> Iterator[Keys]:
        """Yield the words of each text."""
        return map(self.of, range(self.texts))

    def of(self, text: int) -> Keys:
        """Return the words of the text of that number."""
        return self.keys[self.ends[text] + 1 : self.ends[text + 1]]

    def characters(self) -> Positions:
        """Return how many characters each word has."""
        length = self.end - self.start
        if _BEYOND_LATIN_1 in self.joined:
            letters = np.frombuffer(self.joined, dtype=np.uint8)
            beyond = np.flatnonzero(letters[self.start] == _BEYOND_LATIN_1[0])
            # The mark is no character, and only the first byte of each UTF-8 sequence counts.
            continued = np.cumsum(letters & _UTF_8 == _CONTINUED, dtype=np.intp)
            last = self.end[beyond] - 1
            length[beyond] -= 1 + continued[last] - continued[self.start[beyond]]
        return length

    def text_of(self, place: Positions) -> Positions:
        """Return the number of the text that contains each place."""
        if len(place) * _MANY < len(self.keys):
            return self.ends.searchsorted(place) - 1
        of_each = np.repeat(np.arange(self.texts, dtype=np.int32), self.lengths() + 1)
        return of_each[place - 1].astype(np.intp)

    def is_long(self) -> NDArray[np.bool_]:
        """Return, per word, whether its key is a hash."""
        long: NDArray[np.bool_] = (self.keys >> _LAST_BYTE) == LONG
        return long

    def spelled_alike(
        self, place: Positions, other: Keyed, other_place: Positions
    ) -> NDArray[np.bool_]:
        """Return whether words have the spelling of others with the same keys."""
        start, length = self.start[place], self.end[place] - self.start[place]
        other_start = other.start[other_place]
        alike: NDArray[np.bool_] = length == other.end[other_place] - other_start
        at = np.flatnonzero(alike)
        done, own_bytes, other_bytes = 0, _eights(self.joined), _eights(other.joined)
        while len(at):
            mask = _MASKS.take(np.minimum(length[at] - done, _KEY_BYTES))
            piece = own_bytes.take(start[at] + done) ^ other_bytes.take(other_start[at] + done)
            alike[at[piece & mask > 0]] = False
            done += _KEY_BYTES
            at = at[length[at] > done]
        return alike

    def spelling(self, place: int) -> bytes:
        """Return the bytes of one word."""
        return self.joined[self.start[place] : self.end[place]]


def keyed(texts: Sequence[str], mode: WordMode) -> Keyed:
    """Return the words of `words(text, mode)` of each text."""
    counted = _IN_PAPER_MODE if mode == "paper" else _IN_UNICODE_MODE
    return _cut(_joined(texts, _AS_MEASURED[mode]), counted)


def keys_of(some_words: Sequence[str]) -> Keys:
    """Return the keys of words, as `words` returns them."""
    return _cut(_BEFORE + spelled(some_words) + _BEHIND, None).keys[1:-1]


def keyed_folded(texts: Sequence[str], plain: Keyed | None = None) -> Keyed:
    """Return the words of `passage_words(text)` of each text.

    plain: the same texts' other words; it is returned itself if folding changes none of them.
    """
    joined = _joined(texts, _AS_FOLDED)
    if plain is not None and not len(plain.dropped) and joined == plain.joined:
        return plain
    return _cut(joined, None)


def changed_by_folding(texts: Sequence[str], plain: Keyed) -> tuple[Keyed, list[int]]:
    """Return the folded words of those texts that folding changes, and their numbers.

    plain: all the texts' words as measured, which serve for the others.
    """
    joined = _joined(texts, _AS_FOLDED)
    if not len(plain.dropped) and joined == plain.joined:
        return _cut(_BEFORE[:1] + _BEHIND[2:], None), []
    folded_texts, plain_texts = (read.split(b"\x00")[1:-1] for read in (joined, plain.joined))
    changed = [
        number
        for number, (folded_words, plain_words) in enumerate(
            zip(folded_texts, plain_texts, strict=True)
        )
        if folded_words.strip(b" ") != plain_words.strip(b" ")
    ]
    if len(plain.dropped):
        dropped = plain.start[plain.ends].searchsorted(plain.dropped) - 1
        changed = sorted({*changed, *dropped.tolist()})
    together = b"".join(b"\x00" + folded_texts[n] for n in changed)
    return _cut(together + b"\x00" + _BEHIND[2:], None), changed


def spelled(some_words: Sequence[str]) -> bytes:
    """Return words as bytes with spaces between them."""
    joined = " ".join(some_words)
    try:
        return joined.encode("latin-1")
    except UnicodeEncodeError:
        return b" ".join(map(_spelled_alone, some_words))


def _spelled_alone(word: str) -> bytes:
    try:
        return word.encode("latin-1")
    except UnicodeEncodeError:
        return _BEYOND_LATIN_1 + word.encode("utf-8", "surrogatepass")


# --- texts as bytes ------------------------------------------------------------------------


class _Reading(NamedTuple):
    """A way to turn texts into bytes.

    encoded: a text's characters as bytes; None if `read` cannot process them
    read:    many texts, so encoded, as words between spaces
    slowly:  the words of any text
    """

    encoded: Callable[[str], bytes | None]
    read: Callable[[bytes], bytes]
    slowly: Callable[[str], list[str]]


def _joined(texts: Sequence[str], reading: _Reading) -> bytes:
    """Return all texts' words as bytes."""
    if not texts:
        return _BEFORE + _BEHIND[2:]
    together = _BETWEEN.join(texts)
    if together.count("\x00") >= len(texts):
        texts = [text.replace("\x00", "\x01") for text in texts]
        together = _BETWEEN.join(texts)
    encoded = reading.encoded(together)
    read = _apart(texts, reading) if encoded is None else reading.read(encoded)
    return _BEFORE + read + _BEHIND


def _apart(texts: Sequence[str], reading: _Reading) -> bytes:
    """Return the same if some text cannot be encoded."""
    encoded = [reading.encoded(text) for text in texts]
    easy = [encoded_text for encoded_text in encoded if encoded_text is not None]
    read = iter(reading.read(_BETWEEN.encode().join(easy)).split(b"\x00"))
    return b" \x00 ".join(
        spelled(reading.slowly(text)) if encoded_text is None else next(read)
        for text, encoded_text in zip(texts, encoded, strict=True)
    )


def _words_of_any_script(text: str) -> list[str]:
    return words(text, "unicode")


_LOWER = b"\x00" + LOWER_OR_SPACE[1:]


def _in_lower_case(latin_1: bytes) -> bytes:
    return latin_1.translate(_LOWER)


def _in_ascii(text: str) -> bytes | None:
    return text.encode("ascii") if text.isascii() else None


def _foldable(text: str) -> bytes | None:
    # No blank for a mark: a hyphen before one and a line's end splits no word.
    return None if "&" in text or "<" in text else in_latin_1(text, mark_as="~")


@functools.cache
def _folding() -> tuple[bytes, dict[bytes, bytes]]:
    """Return folding's result per byte of Latin-1, and the results of more than one byte."""
    table, longer = [b"\x00"], {}
    for code in range(1, 256):
        mark = chr(code)
        folded_mark = "".join(c if c.isalnum() else " " for c in folded(f"x{mark}")[1:])
        if len(folded_mark) > 1:
            longer[mark.encode("latin-1")] = folded_mark.encode("latin-1")
        table.append((folded_mark if len(folded_mark) == 1 else " ").encode("latin-1"))
    return b"".join(table), longer


_ALNUM = rb"0-9A-Za-z\xaa\xb2\xb3\xb5\xb9\xba\xc0-\xd6\xd8-\xf6\xf8-\xff"
_DIGIT = rb"[0-9\xb2\xb3\xb9]"
_BLANK = rb"[\t \x1c-\x1f\xa0\xa8\xaf\xb4\xb8]"
# All controls except blanks and NUL, which separates texts.
_UNSEEN = bytes({*range(1, 9), *range(14, 28), *range(0x7F, 0xA0)} - {0x85}) + b"\xad"
_LINE_ENDS = (b"\r\n", b"\r", b"\v", b"\f", b"\x85")
# Starting at the hyphen, not before it, is far faster.
_PARTED = re.compile(rb"-(?<=[%b]-)%b*\n%b*(?=[%b])" % (_ALNUM, _BLANK, _BLANK, _ALNUM))
_NUMBERS = re.compile(
    rb"\n[^%b\n]*%b+(?:[^%b\n]+%b+)*(?![%b])" % (_ALNUM, _DIGIT, _ALNUM, _DIGIT, _ALNUM)
)


def _folded(latin_1: bytes) -> bytes:
    """Fold texts as docs/method.md does."""
    table, longer = _folding()
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
    "paper": _Reading(separated_in_latin_1, _in_lower_case, words),
    "unicode": _Reading(_in_ascii, _in_lower_case, _words_of_any_script),
}
_AS_FOLDED = _Reading(_foldable, _folded, passage_words)


# --- bytes cut into words ------------------------------------------------------------------


def _counting(text: str) -> NDArray[np.bool_]:
    counted = np.zeros(256, dtype=np.bool_)
    counted[list(text.encode("latin-1"))] = True
    return counted


_ASCII_ALNUM = "0123456789abcdefghijklmnopqrstuvwxyz\x00"
_IN_PAPER_MODE = _counting(_ASCII_ALNUM + _BEYOND_LATIN_1.decode())
_IN_UNICODE_MODE = _counting(_ASCII_ALNUM + "\x7f" + "".join(map(chr, range(0x80, 0x100))))


def _cut(joined: bytes, counted: NDArray[np.bool_] | None) -> Keyed:
    """Return the words between the spaces; with `counted`, those with such a byte."""
    letters = np.frombuffer(joined, dtype=np.uint8)
    inside = letters != _SPACE
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    edges = np.concatenate(([0], edges))  # the first byte is the first TEXT_END
    if len(edges) % 2:
        edges = np.concatenate((edges, [len(letters)]))
    start, end = np.ascontiguousarray(edges[::2]), np.ascontiguousarray(edges[1::2])
    kept = None if counted is None else _counted(letters, start, end, counted)
    dropped = start[:0]
    if kept is not None:
        start, end, dropped = start[kept], end[kept], start[~kept]
    keys = _keys(joined, start, end)
    return Keyed(keys, start, end, joined, np.flatnonzero(keys == TEXT_END), dropped)


def _counted(
    letters: NDArray[np.uint8], start: Positions, end: Positions, counted: NDArray[np.bool_]
) -> NDArray[np.bool_] | None:
    """Return which words have a byte that counts; None for all. Nearly all begin with one."""
    open_ = np.flatnonzero(~counted[letters[start]])
    if not len(open_):
        return None
    kept = np.ones(len(start), dtype=np.bool_)
    at = start[open_] + 1
    for _ in range(_LONGEST_USUAL):
        over = at >= end[open_]
        kept[open_[over]] = False
        going = ~over
        going[going] = ~counted[letters[at[going]]]
        open_, at = open_[going], at[going] + 1
        if not len(open_):
            return kept
    for word in open_.tolist():
        kept[word] = counted[letters[start[word] : end[word]]].any()
    return kept


def _eights(joined: bytes) -> Keys:
    """Return the eight bytes from each place on, as numbers."""
    size = len(joined) - _KEY_BYTES + 1
    return np.ndarray(shape=(size,), dtype="<u8", buffer=joined, strides=(1,))


def _keys(joined: bytes, start: Positions, end: Positions) -> Keys:
    eight, length = _eights(joined), end - start
    keys: Keys = eight.take(start)
    keys &= _MASKS.take(np.minimum(length, _KEY_BYTES))
    long = np.flatnonzero((length > _KEY_BYTES) | ((keys >> _LAST_BYTE) == LONG))
    if len(long):
        keys[long] = _hashes(joined, eight, start[long], length[long])
    return keys


def _hashes(joined: bytes, eight: Keys, start: Positions, length: Positions) -> Keys:
    """Hash words that eight bytes do not identify."""
    hashes = np.zeros(len(start), dtype=np.uint64)
    unusual = length > _LONGEST_USUAL
    for word_number in np.flatnonzero(unusual).tolist():
        word = joined[start[word_number] : start[word_number] + length[word_number]]
        hashes[word_number] = int.from_bytes(blake2b(word, digest_size=8).digest(), "little")
    at = np.flatnonzero(~unusual)
    done = 0
    while len(at):
        # `take` would copy all of `eight` each time.
        piece = eight[start[at] + done]
        piece &= _MASKS.take(np.minimum(length[at] - done, _KEY_BYTES))
        mixed = (hashes[at] ^ piece) * _MIX
        hashes[at] = mixed ^ (mixed >> _FOLD)
        done += _KEY_BYTES
        at = at[length[at] > done]
    hashes *= _MIX
    return hashes | _LONG_MARK
