"""Types of arrays by what their numbers are; docstrings say their shapes."""

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
"""Yes or no, of each row."""

Counts = NDArray[np.int64]
"""Whole numbers of 64 bits."""

Floats = NDArray[np.float64]
"""Shares, variances and other fractions."""

PerWord = NDArray[np.intc]
"""A count of 32 bits for each word of a book; shape (N,)."""
