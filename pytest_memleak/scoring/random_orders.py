"""Random orders by the thousand, as permutation tests take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def random_orders(rng: np.random.Generator, *, rows: int, n: int) -> NDArray[np.int64]:
    """Independent random orders of 0..n-1; shape (rows, n).

    Random numbers are sorted that hold the index in their lowest bits: four times as fast as
    sorting indices by random numbers.
    """
    lowest = np.uint64((1 << n.bit_length()) - 1)
    keys = rng.integers(1 << 64, size=(rows, n), dtype=np.uint64)
    keys &= ~lowest
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort(axis=1)
    keys &= lowest
    return keys.view(np.int64)
