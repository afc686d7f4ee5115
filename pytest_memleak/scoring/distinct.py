"""Sets of whole numbers, millions of them, in numpy; and three numbers in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Positions = NDArray[np.intp]

# So many numbers wait before they are sorted in among the others.
_WAITING = 1 << 17


class Packing(NamedTuple):
    """How three numbers of at least 0 are one, in their order: bits of the last two of them."""

    middle: int
    low: int

    @property
    def high(self) -> int:
        """Bits that are left for the first."""
        return 63 - self.middle - self.low

    def pack(self, high: Numbers, middle: Numbers, low: Numbers) -> Numbers:
        """The numbers as one."""
        return (((high << self.middle) | middle) << self.low) | low

    def unpack(self, packed: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """The numbers again."""
        middle = (packed >> self.low) & ((1 << self.middle) - 1)
        return packed >> (self.middle + self.low), middle, packed & ((1 << self.low) - 1)

    def without_high(self, packed: Numbers) -> Numbers:
        """The same with 0 for the first of the three."""
        return packed & ((1 << (self.middle + self.low)) - 1)

    def greatest_alike(self, packed: Numbers) -> Numbers:
        """The greatest with the same first of the three."""
        return packed | ((1 << (self.middle + self.low)) - 1)


class Distinct:
    """A set of whole numbers that grows by arrays of them; 8 bytes each."""

    def __init__(self) -> None:
        self._known: Numbers = np.empty(0, dtype=np.int64)
        self._waiting: list[Numbers] = []
        self._count = 0

    def add(self, numbers: Numbers) -> None:
        """Add numbers, which may be known already, in any order; the array itself is sorted."""
        self._wait(distinct(numbers))

    def update(self, other: Distinct) -> None:
        """Add the other set's numbers, whose arrays are left as they are: Ray's are read-only."""
        self._wait(other.ascending())

    def _wait(self, numbers: Numbers) -> None:
        self._waiting.append(numbers)
        self._count += len(numbers)
        if self._count > max(_WAITING, len(self._known)):
            self.ascending()

    def ascending(self) -> Numbers:
        """All numbers so far, each once."""
        if self._waiting:
            self._known = distinct(np.concatenate([self._known, *self._waiting]), in_runs=True)
            self._waiting, self._count = [], 0
        return self._known


def distinct(numbers: Numbers, *, in_runs: bool = False) -> Numbers:
    """The numbers in ascending order, each once; the array itself is sorted.

    in_runs: whether they are some ascending runs end to end, which are faster merged.
    `np.unique` hashes first, and takes three times as long.
    """
    numbers.sort(kind="stable" if in_runs else None)
    first = np.ones(len(numbers), dtype=np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    return numbers[first]
