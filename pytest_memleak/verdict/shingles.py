"""Words as 64-bit keys, and runs of them as 64-bit hashes: equal runs, equal hashes.

A key is 54 bits of the word's BLAKE2 hash over ten low bits that say what of the book's prose
depends on the word: MARKS is which of the book's marked words it is (0 for none of them), and
SINGLE whether it is one character long.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    Positions = NDArray[np.intp]

__all__ = [
    "MARKS",
    "SINGLE",
    "KnownRuns",
    "WordKeys",
    "digest64",
    "distinct_hashes",
    "run_hashes",
    "slots",
    "spread",
]

MARKS = np.uint64(511)
SINGLE = np.uint64(512)
_HASH_BITS = 10

# Odd, and otherwise arbitrary.
_MIX = (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xC2B2AE3D27D4EB4F, 0xA0761D6478BD642F)

# Words that only answers have are kept up to this number; gibberish has no end of them.
_MOST_KEPT = 1 << 20

_FILTER_BITS = 20


def digest64(data: bytes) -> int:
    """64 bits of the data's BLAKE2 hash."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


class WordKeys(dict[str, int]):
    """The key of each word. `marks`: numbers of the marked words, 1 to 511."""

    def __init__(self, marks: Mapping[str, int]) -> None:
        super().__init__()
        self._marks = marks

    def __missing__(self, word: str) -> int:
        key = digest64(word.encode("utf-8", "surrogatepass")) >> _HASH_BITS << _HASH_BITS
        key |= self._marks.get(word, 0) | (int(SINGLE) if len(word) == 1 else 0)
        if len(self) < _MOST_KEPT:
            self[word] = key
        return key

    def of(self, words: Sequence[str]) -> Keys:
        """The keys of words, in their order."""
        return np.fromiter(map(self.__getitem__, words), dtype=np.uint64, count=len(words))


def run_hashes(keys: Keys, length: int) -> Keys:
    """The hash of each run of `length` words, by where it begins; empty for fewer words.

    Runs of twice the words are made of two runs, so that a few multiplications do for any length.
    """
    if len(keys) < length:
        return np.empty(0, dtype=np.uint64)
    power, level = keys >> np.uint64(_HASH_BITS), 0
    hashed: Keys | None = None
    done = 0
    for bit in range(length.bit_length()):
        size = 1 << bit
        if length & size:
            if hashed is None:
                hashed = power.copy()
            else:
                after = power[done:]
                hashed = hashed[: len(after)] * np.uint64(_MIX[3]) + after
            done += size
        if 2 * size <= length:
            mix = np.uint64(_MIX[level % 3] + 2 * level)
            power = power[:-size] * mix + power[size:]
            level += 1
    assert hashed is not None  # noqa: S101 - length is at least 1
    return hashed[: len(keys) - length + 1]


def spread(starts: Positions, counts: Positions) -> Positions:
    """The whole numbers from each start on, so many of them: [3, 8], [2, 1] gives [3, 4, 8]."""
    nth = np.arange(int(counts.sum())) - (counts.cumsum() - counts).repeat(counts)
    return starts.repeat(counts) + nth


def distinct_hashes(hashes: Keys) -> Keys:
    """The hashes in ascending order, each once; the array itself is sorted.

    `np.unique` would hash them first, which takes three times as long.
    """
    hashes.sort()
    first = np.ones(len(hashes), dtype=np.bool_)
    np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
    return hashes[first]


class KnownRuns:
    """A set of hashes that most others are not in; a small table turns those away first."""

    def __init__(self, hashes: Iterable[Keys]) -> None:
        every = np.concatenate([np.empty(0, dtype=np.uint64), *hashes])
        self._known = distinct_hashes(every)
        self._may_be = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
        self._may_be[slots(self._known, _FILTER_BITS)] = True

    def __len__(self) -> int:
        return len(self._known)

    def places(self, hashes: Keys) -> Positions:
        """Where in `hashes` known ones stand, ascending."""
        if not len(self._known):
            return np.empty(0, dtype=np.intp)
        at = np.flatnonzero(self._may_be[slots(hashes, _FILTER_BITS)])
        chosen = hashes[at]
        found = self._known.searchsorted(chosen)
        found[found == len(self._known)] = 0
        known: Positions = at[self._known[found] == chosen]
        return known


def slots(hashes: Keys, bits: int) -> Keys:
    """The first bits of each: where it stands in a table of 2**bits."""
    return hashes >> np.uint64(64 - bits)
