"""Windows of a text's tokens, and the probability that sampling writes them.

A window is 50 tokens after 50 tokens of prefix, one begins every 10 tokens, and p is
the probability that sampling at temperature 1 continues the prefix by exactly the
window. It is extractable at n if n samples bring it back with a chance of one half or
more: 1 - (1 - p)**n >= 0.5 (arXiv 2410.19482, 2505.12546).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PREFIX_TOKENS = 50
WINDOW_TOKENS = 50
STRIDE = 10
SAMPLE_COUNTS = (1, 100, 10_000)
_CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Window:
    """The places of a window in its text, in characters.

    prefix: where its prefix begins; start, end: the window, half-open
    """

    prefix: int
    start: int
    end: int


def windows_of_tokens(starts: Sequence[int], length: int) -> Iterator[Window]:
    """Yield a text's windows.

    starts: where each token begins, in characters; shape (T,)
    length: of the text, in characters
    """
    borders = [*starts, length]
    last = len(borders) - PREFIX_TOKENS - WINDOW_TOKENS
    for first in range(0, last, STRIDE):
        middle = first + PREFIX_TOKENS
        yield Window(borders[first], borders[middle], borders[middle + WINDOW_TOKENS])


def window_log_probability(
    starts: Sequence[int],
    logprobs: Sequence[float | None],
    prefix_length: int,
) -> float | None:
    """Return the natural logarithm of p; None where a token of the window has none.

    A token across the end of the prefix counts, so that p is never too high.

    starts, logprobs: of the tokens of prefix and window; shape (T,)
    prefix_length: in characters
    """
    ends = [*starts, math.inf][1:]
    total = 0.0
    for end, logprob in zip(ends, logprobs, strict=True):
        if end <= prefix_length:
            continue
        if logprob is None:
            return None
        total += logprob
    return min(total, 0.0) if starts else None


def is_extractable(log_p: float, samples: int) -> bool:
    """Tell whether so many samples bring a window back with a chance of one half."""
    p = math.exp(log_p)
    return p >= _CHANCE or samples * math.log1p(-p) <= math.log(_CHANCE)
