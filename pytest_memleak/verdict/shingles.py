"""Runs of words as 64-bit hashes: equal runs, equal hashes."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.intervals import distinct
from pytest_memleak.scoring.ngram_prefilter import gram_hashes
from pytest_memleak.scoring.word_hashes import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_memleak.scoring.intervals import Positions

    Keys = NDArray[np.uint64]

# Odd, and otherwise arbitrary.
_MIX = 0x9E3779B97F4A7C15
_HALF = np.uint64(32)

_SLOT_BITS = 17
_BITS_A_RUN = 4  # two to this power


def digest64(data: bytes) -> int:
    """Return 64 bits of the data's BLAKE2 hash."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def run_hashes(keys: Keys, length: int) -> Keys:
    """Hash each run of `length` words, by its start; empty for fewer words.

    keys: as `Keyed` has them, mixed first: often two words of a run differ in their
    last letters alone, and those must reach all bits before words are added up.
    """
    mixed = (keys ^ (keys >> _HALF)) * np.uint64(_MIX)
    mixed ^= mixed >> _HALF
    return gram_hashes(mixed, length)


class WordNumbers:
    """The numbers of some words, from 1 on, found without a search: no two share a slot."""

    def __init__(self, words: Iterable[str]) -> None:
        self._keys = np.concatenate(
            (np.zeros(1, dtype=np.uint64), keys_of(list(words)))
        )
        odd = np.arange(1, 1 << 16, 2, dtype=np.uint64) * np.uint64(_MIX)
        self._factor = next(filter(self._parts, odd))
        self._at = np.zeros(1 << _SLOT_BITS, dtype=np.uint16)
        self._at[slots(self._keys * self._factor, _SLOT_BITS)] = np.arange(
            len(self._keys)
        )

    def _parts(self, factor: np.uint64) -> bool:
        """Tell whether no two words share a slot."""
        return len(np.unique(slots(self._keys * factor, _SLOT_BITS))) == len(self._keys)

    def of(self, keys: Keys) -> NDArray[np.intp]:
        """Return each word's number; 0 for a word without one."""
        numbers = self._at[slots(keys * self._factor, _SLOT_BITS)].astype(np.intp)
        numbers *= self._keys[numbers] == keys
        return numbers


class RunSet:
    """A set of hashes; a small table first rejects most hashes that aren't in it."""

    def __init__(self, hashes: Iterable[Keys]) -> None:
        every: Keys = np.concatenate([np.empty(0, dtype=np.uint64), *hashes])
        self._hashes = distinct(every)
        self._bits = len(self._hashes).bit_length() + _BITS_A_RUN
        may_be = np.zeros(1 << self._bits, dtype=np.bool_)
        may_be[slots(self._hashes, self._bits)] = True
        self._may_be = np.packbits(may_be, bitorder="little")

    def __len__(self) -> int:
        return len(self._hashes)

    def among(self, hashes: Keys) -> NDArray[np.bool_]:
        """Tell which of `hashes` are in the set."""
        flags = np.zeros(len(hashes), dtype=np.bool_)
        flags[self.places(hashes)] = True
        return flags

    def places(self, hashes: Keys) -> Positions:
        """Return the places in `hashes` of those in the set, ascending."""
        if not len(self._hashes):
            return np.empty(0, dtype=np.intp)
        slot = slots(hashes, self._bits)
        at = np.flatnonzero(
            self._may_be.take(slot >> 3) >> (slot & 7).astype(np.uint8) & 1
        )
        chosen = hashes[at]
        insertion = self._hashes.searchsorted(chosen)
        insertion[insertion == len(self._hashes)] = 0
        matching: Positions = at[self._hashes[insertion] == chosen]
        return matching


def slots(hashes: Keys, bits: int) -> Positions:
    """Return the first bits of each hash: its slot in a table of 2**bits."""
    return (hashes >> np.uint64(64 - bits)).view(
        np.intp
    )  # numpy is slow on other indices


def count_distinct(hashes: Keys) -> int:
    """Count the hashes that differ: one for each slot, and those that aren't the last in theirs."""
    at = slots(hashes, _SLOT_BITS)
    last, filled = (
        np.empty(1 << _SLOT_BITS, dtype=np.uint64),
        np.zeros(1 << _SLOT_BITS, np.bool_),
    )
    last[at], filled[at] = hashes, True
    others = hashes[hashes != last[at]]
    return int(np.count_nonzero(filled)) + len(distinct(others))
