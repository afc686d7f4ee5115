"""Words as numbers of 64 bits, cut in numpy from the bytes of many texts.

A word's bytes are Latin-1 or, if it has no such form, a mark and UTF-8. A word of up to
8 bytes is its own key; a longer one has a hash with a last byte of `LONG`, which no
word of 8 bytes has, so only equal keys of long words need a second look. Stored keys
are scrambled, so no word can be read from them; scrambling a dictionary still tells
which word each is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.records import WordMode

    Keys = NDArray[np.uint64]
    Positions = NDArray[np.intp]
    StartsAndEnds = tuple[Positions, Positions]

TEXT_END = 0
"""The key before the first text and after each."""

NO_WORD = 2
"""A key that no word has."""

LONG = 0xFF
"""The last byte of a long word's key."""

BEYOND_LATIN_1 = b"\x7f"
"""The mark before a word in UTF-8."""

BEFORE = b"\x00 "
"""The bytes before all texts."""

BEHIND = b" \x00" + b" " * 16
"""The bytes behind all texts: so many that eight can be read from any word's place."""

_KEY_BYTES = 8
_LONGEST_USUAL = 256  # bytes; no word of a language is longer
_MANY = 8
_LAST_BYTE = np.uint64(56)
_LONG_MARK = np.uint64(LONG << 56)
_SPACE = 0x20
_FIRST_BITS = 0xC0  # of a byte of UTF-8
_CONTINUED = 0x80  # the first bits of a continuation
# Masks of the first 0 to 8 bytes.
_MASKS = np.array(
    [(1 << 8 * size) - 1 for size in range(_KEY_BYTES + 1)],
    dtype=np.uint64,
)
_SCRAMBLE = np.uint64(0xD6E8FEB86659FD93)
_SPREAD = np.uint64(32)
_UNSCRAMBLE = np.uint64(pow(0xD6E8FEB86659FD93, -1, 1 << 64))
_SCRAMBLED_TOGETHER = 1 << 20
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FOLD = np.uint64(32)


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class Keyed:
    """The words of some texts, one after the other.

    `TEXT_END` stands before, between and behind the texts.

    keys:  shape (n,)
    start, end: where each word's bytes are, shape (n,)
    joined: of all texts, as they were cut
    ends:  places of the `TEXT_END`, one more than texts
    dropped: first bytes of the parts between spaces that are no words
    mode:  in which the words are counted; None for folded ones
    """

    keys: Keys
    start: Positions
    end: Positions
    joined: bytes
    ends: Positions
    dropped: Positions
    mode: WordMode | None = None

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
        first = self.ends[text] + 1
        end = self.ends[text + 1]
        return self.keys[first:end]

    def characters_per_word(self) -> Positions:
        """Return how many characters each word has."""
        length = self.end - self.start
        if BEYOND_LATIN_1 not in self.joined:
            return length
        letters = np.frombuffer(self.joined, dtype=np.uint8)
        first_letter = letters[self.start]
        beyond = np.flatnonzero(first_letter == BEYOND_LATIN_1[0])
        first = self.start[beyond]
        last = self.end[beyond] - 1
        # Only the first byte of each UTF-8 sequence counts; the mark is no character.
        is_continued = letters & _FIRST_BITS == _CONTINUED
        continued = np.cumsum(is_continued, dtype=np.intp)
        length[beyond] -= continued[last] - continued[first]
        length[beyond] -= 1
        return length

    def text_of(self, place: Positions) -> Positions:
        """Return the number of the text that contains each place."""
        if len(place) * _MANY < len(self.keys):
            return self.ends.searchsorted(place) - 1
        numbers = np.arange(self.texts, dtype=np.int32)
        keys_of_text = self.lengths() + 1
        text_of_key = numbers.repeat(keys_of_text)  # without the first end
        text = text_of_key[place - 1]
        return text.astype(np.intp)

    def is_long(self) -> NDArray[np.bool_]:
        """Return, per word, whether its key is a hash."""
        long: NDArray[np.bool_] = (self.keys >> _LAST_BYTE) == LONG
        return long

    def spelled_alike(
        self,
        place: Positions,
        other: Keyed,
        other_place: Positions,
    ) -> NDArray[np.bool_]:
        """Return whether words have the spelling of others with the same keys."""
        start = self.start[place]
        length = self.end[place] - start
        other_start = other.start[other_place]
        other_length = other.end[other_place] - other_start
        alike: NDArray[np.bool_] = length == other_length
        eight = _eight_bytes_from_each_place(self.joined)
        other_eight = _eight_bytes_from_each_place(other.joined)
        at = np.flatnonzero(alike)
        done = 0
        while len(at):
            mask = _MASKS.take(length[at] - done, mode="clip")
            own_bytes = eight.take(start[at] + done)
            other_bytes = other_eight.take(other_start[at] + done)
            differs = (own_bytes ^ other_bytes) & mask > 0
            alike[at[differs]] = False
            done += _KEY_BYTES
            at = at[length[at] > done]
        return alike

    def spelling(self, place: int) -> bytes:
        """Return the bytes of one word."""
        return self.joined[self.start[place] : self.end[place]]


def keys_of(some_words: Sequence[str]) -> Keys:
    """Return the keys of words, as `words` returns them."""
    joined = BEFORE + spelled(some_words) + BEHIND
    cut = cut_into_words(joined, None)
    return cut.keys[1:-1]


def spelled(some_words: Sequence[str]) -> bytes:
    """Return words as bytes with spaces between them."""
    try:
        return " ".join(some_words).encode("latin-1")
    except UnicodeEncodeError:
        return b" ".join(map(_spelled_alone, some_words))


def _spelled_alone(word: str) -> bytes:
    try:
        return word.encode("latin-1")
    except UnicodeEncodeError:
        return BEYOND_LATIN_1 + word.encode("utf-8", "surrogatepass")


# --- stored keys


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class BookKeys:
    """A book as keys of its words, with `BORDER` first, last and between parts.

    words:  N
    digest: SHA-256 of its words' keys (hexadecimal), independent of its excerpts
    exact:  keys of its words as the measures count them; shape (n,), uint64
    folded: keys of its folded words; `exact` itself if folding changes none
    icu:    the version of ICU that separates its words, if any
    """

    words: int
    digest: str
    exact: Keys = field(repr=False)
    folded: Keys = field(repr=False)
    icu: str | None = None


def scrambled(keys: Keys) -> Keys:
    """Scramble the keys of words in place; different keys stay different.

    A word of up to eight bytes is its own key and would be readable.
    """
    for begin in range(0, len(keys), _SCRAMBLED_TOGETHER):
        chunk = keys[begin : begin + _SCRAMBLED_TOGETHER]
        is_word = chunk > NO_WORD
        mixed = chunk * _SCRAMBLE
        mixed ^= mixed >> _SPREAD
        mixed *= _SCRAMBLE
        np.maximum(mixed, NO_WORD + 1, out=mixed)
        np.copyto(chunk, mixed, where=is_word)
    return keys


def unscrambled(keys: Keys) -> Keys:
    """Return the keys before they were scrambled."""
    restored = keys * _UNSCRAMBLE
    restored ^= restored >> _SPREAD
    restored *= _UNSCRAMBLE
    return np.where(keys > NO_WORD, restored, keys)


# --- bytes cut into words


def cut_into_words(joined: bytes, counted: NDArray[np.bool_] | None) -> Keyed:
    """Return the words between the spaces; with `counted`, those with such a byte."""
    letters = np.frombuffer(joined, dtype=np.uint8)
    start, end = _between_spaces(letters)
    dropped = start[:0]
    may_drop = not joined.isascii() or b"_" in joined
    if counted is not None and may_drop:
        is_word = _has_counted_byte(letters, start, end, counted)
        if is_word is not None:
            dropped = start[~is_word]
            start = start[is_word]
            end = end[is_word]
    keys = _keys_of_words(joined, start, end)
    return Keyed(
        keys=keys,
        start=start,
        end=end,
        joined=joined,
        ends=np.flatnonzero(keys == TEXT_END),
        dropped=dropped,
    )


def _between_spaces(letters: NDArray[np.uint8]) -> StartsAndEnds:
    """Return where each part between spaces starts and ends."""
    is_inside = letters != _SPACE
    is_edge = np.empty(len(letters), dtype=np.bool_)
    is_edge[0] = True  # the first byte is the first TEXT_END
    np.not_equal(is_inside[1:], is_inside[:-1], out=is_edge[1:])
    edges = np.flatnonzero(is_edge)
    if len(edges) % 2:
        edges = np.concatenate((edges, [len(letters)]))
    start = np.ascontiguousarray(edges[::2])
    end = np.ascontiguousarray(edges[1::2])
    return start, end


def _has_counted_byte(
    letters: NDArray[np.uint8],
    start: Positions,
    end: Positions,
    counted: NDArray[np.bool_],
) -> NDArray[np.bool_] | None:
    """Return which words have a byte that counts; None for all.

    Nearly all begin with one.
    """
    first_letter = letters.take(start)
    begins_counted = counted.take(first_letter)
    open_ = np.flatnonzero(~begins_counted)
    if not len(open_):
        return None
    has_counted = np.ones(len(start), dtype=np.bool_)
    at = start[open_] + 1
    for _ in range(_LONGEST_USUAL):
        is_over = at >= end[open_]
        has_counted[open_[is_over]] = False
        open_ = open_[~is_over]
        at = at[~is_over]
        goes_on = ~counted[letters[at]]
        open_ = open_[goes_on]
        at = at[goes_on] + 1
        if not len(open_):
            return has_counted
    for word in open_.tolist():
        word_letters = letters[start[word] : end[word]]
        has_counted[word] = counted[word_letters].any()
    return has_counted


def _eight_bytes_from_each_place(joined: bytes) -> Keys:
    """Return the eight bytes from each place on, as numbers."""
    size = len(joined) - _KEY_BYTES + 1
    return np.ndarray(
        shape=(size,),
        dtype="<u8",
        buffer=joined,
        strides=(1,),
    )


def _keys_of_words(
    joined: bytes,
    start: Positions,
    end: Positions,
) -> Keys:
    """Return the key of each word: its bytes, or for long words a hash."""
    eight = _eight_bytes_from_each_place(joined)
    length = end - start
    keys: Keys = eight[start]  # `take` would copy all of `eight`
    keys &= _MASKS.take(length, mode="clip")
    is_long = length > _KEY_BYTES
    if LONG in joined:
        is_long |= (keys >> _LAST_BYTE) == LONG
    long = np.flatnonzero(is_long)
    if len(long):
        keys[long] = _hashes_of_long_words(
            joined=joined,
            eight=eight,
            start=start[long],
            length=length[long],
        )
    return keys


def _hashes_of_long_words(
    joined: bytes,
    eight: Keys,
    start: Positions,
    length: Positions,
) -> Keys:
    """Hash words that eight bytes do not identify."""
    hashes = np.zeros(len(start), dtype=np.uint64)
    is_unusual = length > _LONGEST_USUAL
    for number in np.flatnonzero(is_unusual).tolist():
        word_start = start[number]
        word_end = word_start + length[number]
        word = joined[word_start:word_end]
        digest = blake2b(word, digest_size=8).digest()
        hashes[number] = int.from_bytes(digest, "little")
    at = np.flatnonzero(~is_unusual)
    done = 0
    while len(at):
        piece = eight[start[at] + done]
        piece &= _MASKS.take(length[at] - done, mode="clip")
        mixed = (hashes[at] ^ piece) * _MIX
        hashes[at] = mixed ^ (mixed >> _FOLD)
        done += _KEY_BYTES
        at = at[length[at] > done]
    hashes *= _MIX
    return hashes | _LONG_MARK
