"""N-gram prefilter: hashes of n-grams locate the runs that texts share with books.

Every place of the books is an entry of 64 bits, the first bits of its n-gram's hash and
the place, sorted. A table of bits rejects nearly all n-grams of a text that no book
contains; the rest are looked up by the first bits. A hit matters only where a run
begins: where the words before it differ. The words from there on are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.word_hashes import NO_WORD
from pytest_memleak.scoring.word_ranges import count_up, differs_from_previous

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_memleak.scoring.word_hashes import Keys
    from pytest_memleak.scoring.word_ranges import Positions

    PlacesAndGrams = tuple[Positions, Positions]
    PlacesInTextAndTable = tuple[Positions, Positions]

BORDER = 1
"""The key that no run in a book crosses: before, between and after its parts."""

# Odd, and otherwise arbitrary.
_FACTORS = [
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0xD6E8FEB86659FD93),
    np.uint64(0xA0761D6478BD642F),
    np.uint64(0xE7037ED1A0B428DB),
    np.uint64(0x8EBC6AF09C88C6E3),
    np.uint64(0x589965CC75374CC3),
    np.uint64(0x1D8E4E27C47D124F),
]
_FINAL = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)
_HASH_BITS = 64
_BITS_A_GRAM = 3  # log2
# So that 32 bits of a hash are enough beside those of its place and its bucket.
_LEAST_PLACE_BITS = 22
_LEAST_BITS = 10
# Words compared.
_ONE_BY_ONE = 8
_TOGETHER = 64
_MADE_TOGETHER = 1 << 20
_BITS_TOGETHER = 22


class Runs(NamedTuple):
    """Maximal runs of words that texts share with a table.

    text:  place of the first word among the texts'
    place: its place in the table
    """

    text: Positions
    place: Positions
    words: Positions

    def where(self, chosen: NDArray[np.bool_] | Positions) -> Runs:
        """Return the `chosen` runs, by truth value or by number."""
        return Runs(
            text=self.text[chosen],
            place=self.place[chosen],
            words=self.words[chosen],
        )


def gram_hashes(keys: Keys, n: int) -> Keys:
    """Return a hash of the `n` words from each place; n >= 1.

    Shape (len(keys) - n + 1,), uint64.
    """
    size = max(len(keys) - n + 1, 0)
    longest_first = reversed(_power_hashes(keys, n))
    (whole, length), *shorter = longest_first
    whole = whole[:size]
    for part, part_length in shorter:
        part_behind = part[length : length + size]
        whole = whole * _FACTORS[7] + part_behind
        length += part_length
    # In sums of products, last bits reach the first bits only.
    first_bits = whole >> _HALF
    whole = whole ^ first_bits
    whole *= _FINAL
    return whole


def _power_hashes(keys: Keys, n: int) -> list[tuple[Keys, int]]:
    """Return hashes of 1, 2, 4, ... words, where these add up to `n`, and how many."""
    powers: list[tuple[Keys, int]] = []
    hashes = keys * _FACTORS[0]
    length = 1
    while True:
        if n & length:
            powers.append((hashes, length))
        if length * 2 > n:
            return powers
        number_of_factor = 1 + length.bit_length() % 7
        first = hashes[:-length]
        second = hashes[length:]
        hashes = first * _FACTORS[number_of_factor] + second
        length *= 2


class NgramPrefilter:
    """Books' n-grams: `keys` of all words, with `BORDER` first, last and between."""

    def __init__(self, keys: Keys, n: int) -> None:
        self.keys = keys
        self.n = n
        place_bits = max(len(keys).bit_length(), _LEAST_PLACE_BITS)
        self._place_bits = np.uint64(place_bits)
        self._gram_bits = _HASH_BITS - place_bits
        greatest_place = (1 << place_bits) - 1
        self._place_mask = np.uint64(greatest_place)
        entries = self._hashes_and_places()
        places = entries & self._place_mask
        self._places = places.astype(np.uint32)
        del places
        entries >>= self._place_bits
        is_first = differs_from_previous(entries)
        grams = entries[is_first]
        del entries
        size = len(grams) + 1
        self._first_place = np.full(size, len(is_first), dtype=np.uint32)
        self._first_place[:-1] = np.flatnonzero(is_first)
        del is_first
        size_bits = len(grams).bit_length()
        self._filter_bits = max(_LEAST_BITS, size_bits + _BITS_A_GRAM)
        self._bucket_bits = max(_LEAST_BITS, size_bits - 2)
        self._filter = self._bit_table(grams)
        self._buckets = self._first_gram_by_first_bits(grams)
        self._grams = grams.astype(np.uint32)  # their bucket has the other bits

    def _hashes_and_places(self) -> Keys:
        """Return hash and place of every n-gram, ascending.

        Built in parts, since intermediate arrays take more memory than the result.
        """
        entries: Keys = np.empty(len(self.keys), dtype=np.uint64)
        filled = 0
        for begin in range(0, len(self.keys), _MADE_TOGETHER):
            last_gram_end = begin + _MADE_TOGETHER + self.n - 1
            keys = self.keys[begin:last_gram_end]
            whole = whole_grams(keys, self.n)
            hashes = gram_hashes(keys, self.n)
            part = hashes[whole]
            part &= ~self._place_mask
            place = whole + begin
            part |= place.astype(np.uint64)
            filled_before = filled
            filled += len(part)
            entries[filled_before:filled] = part
        entries = entries[:filled]
        entries.sort()
        return entries

    def _bit_table(self, grams: Keys) -> NDArray[np.uint8]:
        """Build a bit table of the first bits of the ascending grams, part by part."""
        tables = []
        for part in _by_first_bits(grams, self._filter_bits, width=self._gram_bits):
            is_present = np.zeros(part.size, dtype=np.bool_)
            is_present[part.bits] = True
            tables.append(np.packbits(is_present, bitorder="little"))
        return np.concatenate(tables)

    def _first_gram_by_first_bits(self, grams: Keys) -> NDArray[np.uint32]:
        """Return, per value of the first bits, the first gram from that value on."""
        buckets = np.zeros((1 << self._bucket_bits) + 1, dtype=np.uint32)
        reached = 0
        for part in _by_first_bits(grams, self._bucket_bits, width=self._gram_bits):
            counts = np.bincount(part.bits, minlength=part.size)
            first = part.begin + 1
            behind = first + part.size
            buckets[first:behind] = counts.cumsum() + reached
            reached += len(part.bits)
        return buckets

    @property
    def nbytes(self) -> int:
        """Return the bytes of memory that the tables take, the keys included."""
        tables = (
            self.keys,
            self._filter,
            self._places,
            self._grams,
            self._first_place,
            self._buckets,
        )
        return sum(table.nbytes for table in tables)

    def hits(self, hashes: Keys) -> PlacesAndGrams:
        """Return which of these n-grams the books contain, in order, and their grams.

        hashes: of n-grams, as `gram_hashes` returns them.
        """
        at = self._places_that_may_hit(hashes)
        hashes = hashes.take(at)
        gram = self._gram_of(hashes)
        is_hit = np.flatnonzero(gram < len(self._grams))
        return at.take(is_hit), gram.take(is_hit)

    def _places_that_may_hit(self, hashes: Keys) -> Positions:
        """Return which n-grams the bit table doesn't reject."""
        bits = _first_bits(hashes, self._filter_bits)
        byte = self._filter.take(bits >> 3)
        bit = (bits & 7).astype(np.uint8)
        is_set = (byte >> bit) & 1
        return np.flatnonzero(is_set.view(np.bool_))

    def _gram_of(self, hashes: Keys) -> Positions:
        """Return the number of each hash's gram; that of no gram if there is none."""
        none = len(self._grams)
        bucket = _first_bits(hashes, self._bucket_bits)
        last_bits = (hashes >> self._place_bits).astype(np.uint32)
        gram = self._buckets.take(bucket).astype(np.intp)
        bucket_end = self._buckets.take(bucket + 1).astype(np.intp)
        bits_of_gram = self._grams.take(gram, mode="clip")
        searching = np.flatnonzero(bits_of_gram != last_bits)
        while len(searching):
            following = gram.take(searching) + 1
            is_past_bucket = following >= bucket_end.take(searching)
            following[is_past_bucket] = none
            gram[searching] = following
            following_bits = self._grams.take(following, mode="clip")
            differs = following_bits != last_bits.take(searching)
            goes_on = differs & (following < none)
            searching = searching.take(np.flatnonzero(goes_on))
        return gram

    def runs(self, text: Keys, hashes: Keys | None = None) -> Runs:
        """Return the maximal runs of at least n keys that texts and books share.

        text: words, with a key that no book has before the first text, between and
        behind them.
        hashes: its n-grams', if already computed.
        """
        if hashes is None:
            hashes = gram_hashes(text, self.n)
        # The last n-gram contains the key behind the last text: it matches by chance
        # only.
        all_but_last = hashes[: len(text) - self.n]
        at, gram = self.hits(all_but_last)
        at, place = self._places_of(at, gram)
        text_before = text.take(at - 1)
        book_before = self.keys.take(place - 1)
        begins = np.flatnonzero(text_before != book_before)
        at = at.take(begins)
        place = place.take(begins)
        for nth in range(self.n):
            same = text.take(at + nth) == self.keys.take(place + nth)
            if not same.all():
                at = at[same]
                place = place[same]
        further_words = self._equal_words(text, at + self.n, place + self.n)
        return Runs(
            text=at,
            place=place,
            words=self.n + further_words,
        )

    def _places_of(self, at: Positions, gram: Positions) -> PlacesInTextAndTable:
        """Return each place in the books of each gram, and `at` as often."""
        first = self._first_place.take(gram).astype(np.intp)
        first_of_next = self._first_place.take(gram + 1)
        count = first_of_next - first
        numbers = count_up(first, count)
        place = self._places.take(numbers)
        return at.repeat(count), place.astype(np.intp)

    def _equal_words(
        self,
        text: Keys,
        at: Positions,
        place: Positions,
    ) -> Positions:
        """Return how many words from each place on are equal.

        Beyond the end of either stands its last key, which the other side never has.
        """
        words = np.zeros(len(at), dtype=np.intp)
        going = np.arange(len(at))
        for _ in range(_ONE_BY_ONE):
            of_text = text.take(at, mode="clip")
            of_book = self.keys.take(place, mode="clip")
            alike = np.flatnonzero(of_text == of_book)
            going = going.take(alike)
            words[going] += 1
            at = at.take(alike) + 1
            place = place.take(alike) + 1
        ahead = np.arange(_TOGETHER)
        while len(going):
            of_text = text.take(at[:, None] + ahead, mode="clip")
            of_book = self.keys.take(place[:, None] + ahead, mode="clip")
            same = of_text == of_book
            alike = np.flatnonzero(same.all(axis=1))
            same_words = same.argmin(axis=1)
            same_words[alike] = _TOGETHER
            words[going] += same_words
            going = going.take(alike)
            at = at.take(alike) + _TOGETHER
            place = place.take(alike) + _TOGETHER
        return words


def _first_bits(hashes: Keys, bits: int) -> Positions:
    """Return the first bits of each hash, as a place in a table."""
    return (hashes >> np.uint64(_HASH_BITS - bits)).view(np.intp)


class _BitRange(NamedTuple):
    """First bits of numbers, `size` values from `begin` on; bits: less `begin`."""

    begin: int
    bits: Positions
    size: int


def _by_first_bits(
    ascending: Keys,
    bits: int,
    *,
    width: int,
) -> Iterator[_BitRange]:
    """Yield the first bits of numbers of `width` bits, range by range."""
    shift = width - bits
    size = 1 << min(bits, _BITS_TOGETHER)
    first = 0
    values = 1 << bits
    for begin in range(0, values, size):
        end = begin + size
        greatest = np.uint64((end << shift) - 1)
        last = int(ascending.searchsorted(greatest, side="right"))
        first_bits = ascending[first:last] >> np.uint64(shift)
        yield _BitRange(
            begin=begin,
            bits=first_bits.view(np.intp) - begin,
            size=size,
        )
        first = last


def whole_grams(keys: Keys, n: int) -> Positions:
    """Return the places from which all n keys are words."""
    if len(keys) < n:
        return np.empty(0, dtype=np.intp)
    others_before = np.zeros(len(keys) + 1, dtype=np.int32)
    np.cumsum(keys <= NO_WORD, out=others_before[1:])
    before_end = others_before[n:]
    before_start = others_before[:-n]
    return np.flatnonzero(before_end == before_start)
