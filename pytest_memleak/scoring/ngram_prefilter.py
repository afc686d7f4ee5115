"""N-gram prefilter: hashes of n-grams locate the runs of n words that texts share with books.

Every place of the books is an entry of 64 bits, the first bits of its n-gram's hash and
the place, sorted. A table of bits rejects nearly all n-grams of a text that no book
contains; the rest are looked up by the first bits. A hit matters only where a run
begins: where the words before it differ. The words from there on are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.intervals import count_up
from pytest_memleak.scoring.word_hashes import NO_WORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.word_hashes import Keys

BORDER = 1
"""The key that no run in a book crosses: before, between and after its parts."""

_FACTORS = [
    np.uint64(factor)
    for factor in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F,
                0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3, 0x1D8E4E27C47D124F)
]  # fmt: skip
_FINAL = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)
_BITS_A_GRAM = 3  # log2
# So that 32 bits of a hash are enough beside those of its place and its bucket.
_LEAST_PLACE_BITS, _LEAST_BITS = 22, 10
_ONE_BY_ONE, _TOGETHER = 8, 64  # words compared
_MADE_TOGETHER = 1 << 20
_BITS_TOGETHER = 22


class Runs(NamedTuple):
    """Maximal runs of equal words, by place among the texts' words, then among the books'."""

    text: Positions
    book: Positions
    words: Positions

    def where(self, chosen: NDArray[np.bool_] | Positions) -> Runs:
        """Return the `chosen` runs, by truth value or by number."""
        return Runs(self.text[chosen], self.book[chosen], self.words[chosen])


def gram_hashes(keys: Keys, n: int) -> Keys:
    """Return a hash of the `n` words from each place; shape (len(keys) - n + 1,), n >= 1."""
    hashes, length = keys * _FACTORS[0], 1
    powers: list[tuple[Keys, int]] = []  # hashes of 1, 2, 4, ... words
    while True:
        if n & length:
            powers.append((hashes, length))
        if length * 2 > n:
            break
        step = _FACTORS[1 + length.bit_length() % 7]
        hashes = hashes[:-length] * step + hashes[length:]
        length *= 2
    size = max(len(keys) - n + 1, 0)
    whole, at = powers[-1][0][:size], powers[-1][1]
    for part, part_length in powers[-2::-1]:
        whole = whole * _FACTORS[7] + part[at : at + size]
        at += part_length
    # In sums of products, last bits reach the first bits only.
    whole = whole ^ (whole >> _HALF)
    whole *= _FINAL
    return whole


class NgramPrefilter:
    """Books' n-grams: `keys` of all words, with `BORDER` first, last and between."""

    def __init__(self, keys: Keys, n: int) -> None:
        self.keys, self.n = keys, n
        self._place_bits = np.uint64(max(len(keys).bit_length(), _LEAST_PLACE_BITS))
        self._place_mask = np.uint64((1 << int(self._place_bits)) - 1)
        entries = self._entries()
        self._places = (entries & self._place_mask).astype(np.uint32)
        entries >>= self._place_bits
        first = np.ones(len(entries), dtype=np.bool_)
        np.not_equal(entries[1:], entries[:-1], out=first[1:])
        grams = entries[first]
        del entries
        self._first_place = np.full(len(grams) + 1, len(first), dtype=np.uint32)
        self._first_place[:-1] = np.flatnonzero(first)
        del first
        self._filter_bits = max(_LEAST_BITS, len(grams).bit_length() + _BITS_A_GRAM)
        self._bucket_bits = max(_LEAST_BITS, len(grams).bit_length() - 2)
        self._filter = self._filled(grams)
        self._buckets = self._bucketed(grams)
        self._grams = grams.astype(np.uint32)  # their bucket has the other bits

    def _entries(self) -> Keys:
        """Return hash and place of every n-gram, ascending.

        Built in parts, since intermediate arrays take more memory than the result.
        """
        entries: Keys = np.empty(len(self.keys), dtype=np.uint64)
        filled = 0
        for begin in range(0, len(self.keys), _MADE_TOGETHER):
            keys = self.keys[begin : begin + _MADE_TOGETHER + self.n - 1]
            whole = whole_grams(keys, self.n)
            hashes = gram_hashes(keys, self.n)[whole]
            hashes &= ~self._place_mask
            hashes |= (whole + begin).astype(np.uint64)
            entries[filled : filled + len(hashes)] = hashes
            filled += len(hashes)
        entries = entries[:filled]
        entries.sort()
        return entries

    def _filled(self, grams: Keys) -> NDArray[np.uint8]:
        """Build a bit table of the first bits of the ascending grams, part by part."""
        tables = []
        width = 64 - int(self._place_bits)
        for _, bits, size in _by_first_bits(grams, self._filter_bits, width=width):
            present = np.zeros(size, dtype=np.bool_)
            present[bits] = True
            tables.append(np.packbits(present, bitorder="little"))
        return np.concatenate(tables)

    def _bucketed(self, grams: Keys) -> NDArray[np.uint32]:
        """Return, per value of the first bits, the first gram with it or a greater one."""
        buckets = np.zeros((1 << self._bucket_bits) + 1, dtype=np.uint32)
        width = 64 - int(self._place_bits)
        reached = 0
        for begin, bits, size in _by_first_bits(grams, self._bucket_bits, width=width):
            counts = np.bincount(bits, minlength=size).cumsum()
            buckets[begin + 1 : begin + size + 1] = counts + reached
            reached += len(bits)
        return buckets

    @property
    def nbytes(self) -> int:
        """Return the bytes of memory that the tables take, the keys included."""
        tables = (
            self.keys, self._filter, self._places, self._grams, self._first_place, self._buckets,
        )  # fmt: skip
        return sum(table.nbytes for table in tables)

    def hits(self, hashes: Keys) -> tuple[Positions, Positions]:
        """Return which of these n-grams the books contain, in order, and the gram of each."""
        bits = (hashes >> np.uint64(64 - self._filter_bits)).view(np.intp)
        open_ = (self._filter.take(bits >> 3) >> (bits & 7).astype(np.uint8)) & 1
        at = np.flatnonzero(open_.view(np.bool_))
        hashes = hashes.take(at)
        bucket = (hashes >> np.uint64(64 - self._bucket_bits)).view(np.intp)
        rest = (hashes >> self._place_bits).astype(np.uint32)
        none = len(self._grams)
        gram, last = (
            self._buckets.take(bucket + side).astype(np.intp) for side in (0, 1)
        )
        nth = np.flatnonzero(self._grams.take(gram, mode="clip") != rest)
        while len(nth):
            following = gram.take(nth) + 1
            following[following >= last.take(nth)] = none
            gram[nth] = following
            other = self._grams.take(following, mode="clip") != rest.take(nth)
            nth = nth.take(np.flatnonzero(other & (following < none)))
        matching = np.flatnonzero(gram < none)
        return at.take(matching), gram.take(matching)

    def runs(self, text: Keys, hashes: Keys | None = None) -> Runs:
        """Return the maximal runs of at least n words that texts and books share, by keys.

        text: words, with a key that no book has before the first text, between and
        behind them.
        hashes: its n-grams', if already computed.
        """
        if hashes is None:
            hashes = gram_hashes(text, self.n)
        # The last n-gram contains the key behind the last text: it matches by chance
        # only.
        at, gram = self.hits(hashes[: len(text) - self.n])
        first = self._first_place.take(gram).astype(np.intp)
        count = self._first_place.take(gram + 1) - first
        at, place = (
            at.repeat(count),
            self._places.take(count_up(first, count)).astype(np.intp),
        )
        begins = np.flatnonzero(text.take(at - 1) != self.keys.take(place - 1))
        at, place = at.take(begins), place.take(begins)
        for nth in range(self.n):
            same = text.take(at + nth) == self.keys.take(place + nth)
            if not same.all():
                at, place = at[same], place[same]
        return Runs(
            at, place, self.n + self._equal_words(text, at + self.n, place + self.n)
        )

    def _equal_words(self, text: Keys, at: Positions, place: Positions) -> Positions:
        """Return how many words from each place on are equal.

        Beyond the end of either stands its last key, which the other side never has.
        """
        words = np.zeros(len(at), dtype=np.intp)
        going = np.arange(len(at))
        for _ in range(_ONE_BY_ONE):
            same = text.take(at, mode="clip") == self.keys.take(place, mode="clip")
            alike = np.flatnonzero(same)
            going, at, place = (
                going.take(alike),
                at.take(alike) + 1,
                place.take(alike) + 1,
            )
            words[going] += 1
        ahead = np.arange(_TOGETHER)
        while len(going):
            same = text.take(at[:, None] + ahead, mode="clip") == self.keys.take(
                place[:, None] + ahead, mode="clip"
            )
            alike = np.flatnonzero(same.all(axis=1))
            first_other = same.argmin(axis=1)
            first_other[alike] = _TOGETHER
            words[going] += first_other
            going, at = going.take(alike), at.take(alike) + _TOGETHER
            place = place.take(alike) + _TOGETHER
        return words


def _by_first_bits(
    ascending: Keys, bits: int, *, width: int
) -> Iterator[tuple[int, Positions, int]]:
    """Yield the first bits of numbers of `width` bits, less `begin`, range by range.

    Yields `begin`, the bits, and the size of the range.
    """
    shift, size = width - bits, 1 << min(bits, _BITS_TOGETHER)
    first = 0
    for begin in range(0, 1 << bits, size):
        last = int(
            ascending.searchsorted(
                np.uint64(((begin + size) << shift) - 1), side="right"
            )
        )
        yield (
            begin,
            (ascending[first:last] >> np.uint64(shift)).view(np.intp) - begin,
            size,
        )
        first = last


def whole_grams(keys: Keys, n: int) -> Positions:
    """Return the places from which all n keys are words."""
    if len(keys) < n:
        return np.empty(0, dtype=np.intp)
    others = np.zeros(len(keys) + 1, dtype=np.int32)
    np.cumsum(keys <= NO_WORD, out=others[1:])
    return np.flatnonzero(others[n:] == others[:-n])
