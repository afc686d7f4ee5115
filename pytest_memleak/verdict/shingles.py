"""Runs of words as 64-bit hashes: equal runs, equal hashes."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.ngram_prefilter import gram_hashes
from pytest_memleak.scoring.word_hashes import keys_of
from pytest_memleak.scoring.word_ranges import distinct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_memleak.scoring.array_types import Flags
    from pytest_memleak.scoring.word_ranges import Positions

    Keys = NDArray[np.uint64]

# Odd, and otherwise arbitrary.
_MIX = 0x9E3779B97F4A7C15
_HALF = np.uint64(32)

_SLOT_BITS = 17
_BITS_A_RUN = 4  # two to this power


def digest64(data: bytes) -> int:
    """Return 64 bits of the data's BLAKE2 hash."""
    digest = blake2b(data, digest_size=8).digest()
    return int.from_bytes(digest, "little")


def run_hashes(keys: Keys, length: int) -> Keys:
    """Hash each run of `length` words, by its start; empty for fewer words.

    keys: as `Keyed` has them, mixed first: often two words of a run differ in their
    last letters alone, and those must reach all bits before words are added up.
    """
    first_bits = keys >> _HALF
    mixed = keys ^ first_bits
    mixed *= np.uint64(_MIX)
    mixed ^= mixed >> _HALF
    return gram_hashes(mixed, length)


class WordNumbers:
    """The numbers of some words, from 1 on, found without a search.

    The words' keys are multiplied by a factor under which no two share a slot.
    """

    def __init__(self, words: Iterable[str]) -> None:
        no_word = np.zeros(1, dtype=np.uint64)
        word_keys = keys_of(list(words))
        self._keys = np.concatenate((no_word, word_keys))
        odd_numbers = np.arange(1, 1 << 16, 2, dtype=np.uint64)
        factors = odd_numbers * np.uint64(_MIX)
        self._factor = next(filter(self._separates, factors))
        own_slots = slots(self._keys * self._factor, _SLOT_BITS)
        numbers = np.arange(len(self._keys))
        self._number_in_slot = np.zeros(1 << _SLOT_BITS, dtype=np.uint16)
        self._number_in_slot[own_slots] = numbers

    def _separates(self, factor: np.uint64) -> bool:
        """Tell whether no two words share a slot."""
        own_slots = slots(self._keys * factor, _SLOT_BITS)
        distinct_slots = np.unique(own_slots)
        return len(distinct_slots) == len(self._keys)

    def of(self, keys: Keys) -> NDArray[np.intp]:
        """Return each word's number; 0 for a word without one."""
        word_slots = slots(keys * self._factor, _SLOT_BITS)
        stored = self._number_in_slot[word_slots]
        numbers = stored.astype(np.intp)
        is_word = self._keys[numbers] == keys
        numbers *= is_word
        return numbers


class RunSet:
    """A set of hashes; a small table first rejects most hashes that aren't in it."""

    def __init__(self, hashes: Iterable[Keys]) -> None:
        no_hashes = np.empty(0, dtype=np.uint64)
        every: Keys = np.concatenate([no_hashes, *hashes])
        self._hashes = distinct(every)
        count_bits = len(self._hashes).bit_length()
        self._slot_bits = count_bits + _BITS_A_RUN
        filled = np.zeros(1 << self._slot_bits, dtype=np.bool_)
        own_slots = slots(self._hashes, self._slot_bits)
        filled[own_slots] = True
        self._filled_slots = np.packbits(filled, bitorder="little")

    def __len__(self) -> int:
        return len(self._hashes)

    def among(self, hashes: Keys) -> Flags:
        """Tell which of `hashes` are in the set."""
        flags = np.zeros(len(hashes), dtype=np.bool_)
        places = self.places(hashes)
        flags[places] = True
        return flags

    def places(self, hashes: Keys) -> Positions:
        """Return the places in `hashes` of those in the set, ascending."""
        if not len(self._hashes):
            return np.empty(0, dtype=np.intp)
        candidates = self._places_in_filled_slots(hashes)
        chosen = hashes[candidates]
        insertion = self._hashes.searchsorted(chosen)
        is_past_end = insertion == len(self._hashes)
        insertion[is_past_end] = 0
        is_equal = self._hashes[insertion] == chosen
        matching: Positions = candidates[is_equal]
        return matching

    def _places_in_filled_slots(self, hashes: Keys) -> Positions:
        slot = slots(hashes, self._slot_bits)
        byte = slot >> 3
        bit_of_byte = slot & 7
        bit = bit_of_byte.astype(np.uint8)
        packed = self._filled_slots.take(byte)
        shifted = packed >> bit
        is_filled = shifted & 1
        return np.flatnonzero(is_filled)


def slots(hashes: Keys, bits: int) -> Positions:
    """Return the first bits of each hash: its slot in a table of 2**bits."""
    first_bits = hashes >> np.uint64(64 - bits)
    return first_bits.view(np.intp)  # numpy is slow on other indices


def count_distinct(hashes: Keys) -> int:
    """Count the hashes that differ.

    These are one for each filled slot, and those that aren't the last in theirs.
    """
    hash_slots = slots(hashes, _SLOT_BITS)
    filled = np.zeros(1 << _SLOT_BITS, np.bool_)
    filled[hash_slots] = True
    last_in_slot = np.empty(1 << _SLOT_BITS, dtype=np.uint64)
    last_in_slot[hash_slots] = hashes
    is_other = hashes != last_in_slot[hash_slots]
    others = distinct(hashes[is_other])
    return int(np.count_nonzero(filled)) + len(others)
