"""Extraction: recall computed from the probabilities that a model gives to the book itself.

A window is `prefix_tokens` of the book and the `suffix_tokens` after them. With p_z the
probability that the model, given the prefix, writes exactly that suffix (arXiv 2505.12546),

    ln p_z  =  the sum of the suffix tokens' log-probabilities under the sampling scheme
    a window is extractable          where  p_z >= 0.001
    ... in n tries with certainty p  where  1 - (1 - p_z)^n >= p

Windows slide over the book and map recall along it. Nothing is sampled, so there is no sampling
error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import WindowSettings

EXTRACTABLE = 0.001
"""The least p_z of an extractable window."""


def window_starts(tokens: int, settings: WindowSettings) -> range:
    """Return where the windows of a text of that many tokens begin; partial windows have none.

    Raises SettingsError for windows without a prefix, a suffix or a stride.
    """
    for name in ("prefix_tokens", "suffix_tokens", "stride"):
        if (value := getattr(settings, name)) < 1:
            raise SettingsError(f"{name} must be at least 1, not {value}")
    whole = settings.prefix_tokens + settings.suffix_tokens
    return range(0, max(tokens - whole + 1, 0), settings.stride)


def in_top_k(logits: NDArray[np.float64], token: int, *, top_k: int, temperature: float) -> float:
    """Return the natural logarithm of a token's probability under top-k sampling.

    logits: of every token, up to a constant, shape (V,); log-probabilities are logits too.
    The likeliest `top_k` share the whole probability; a token outside them has -inf, and a tie
    with the last of them is inside. top_k 0 means all. Raises SettingsError for a temperature that
    is not above 0.
    """
    if not temperature > 0:
        raise SettingsError(f"the temperature must be above 0, not {temperature}")
    own = logits[token]
    if own == -np.inf:
        return -math.inf
    kept = logits
    if 0 < top_k < len(logits):
        kept = np.partition(logits, len(logits) - top_k)[len(logits) - top_k :]
        if own < kept[0]:
            return -math.inf
    highest = kept.max()
    total = np.exp((kept - highest) / temperature).sum()
    return float((own - highest) / temperature - np.log(total))


def among_likeliest(
    likeliest: Mapping[int, float], token: int, log_p: float, *, top_k: int, temperature: float
) -> float:
    """Return `in_top_k` from the log-probabilities of the likeliest tokens alone.

    likeliest: at least `top_k` of them, perhaps with others; log_p: the token's own.
    """
    others = [log for other, log in likeliest.items() if other != token]
    return in_top_k(np.array([log_p, *others]), 0, top_k=top_k, temperature=temperature)


def seen_in_tries(log_p: float, n: int) -> float:
    """Return 1 - (1 - p)^n for p = exp(log_p): the probability of at least one hit in n tries."""
    p = math.exp(log_p)
    return 1.0 if p >= 1.0 else -math.expm1(n * math.log1p(-p))


@dataclass(frozen=True, slots=True)
class Extraction:
    """The windows of one book under one model, in order.

    tokens: of the book, as the model counts them
    plain:  per window the natural logarithm of p_z as the plain product of the tokens' own
            probabilities; None if unknown
    scheme: the same under top-k sampling with `settings.top_k` and its temperature; None if the
            model returns too few tokens
    chapters: titles and the tokens at which they begin
    """

    settings: WindowSettings
    tokens: int
    plain: tuple[float | None, ...] = field(repr=False)
    scheme: tuple[float | None, ...] | None = field(repr=False)
    chapters: tuple[tuple[str | None, int], ...] = ()

    @property
    def log_p(self) -> tuple[float | None, ...]:
        """Return ln p_z per window under the scheme, or plain without one."""
        return self.plain if self.scheme is None else self.scheme

    @property
    def windows(self) -> int:
        """Return the number of windows."""
        return len(self.plain)

    @property
    def extractable(self) -> float | None:
        """Return the share of windows with a known p_z >= 0.001 under the scheme; None without."""
        return None if self.scheme is None else _extractable(self.scheme)

    @property
    def extractable_plain(self) -> float:
        """Return the same share for the plain product."""
        return _extractable(self.plain)

    @property
    def discoverable(self) -> tuple[bool, ...]:
        """Return, per window, whether it appears in n tries with probability p or more."""
        n, p = self.settings.n, self.settings.p
        return tuple(log_p is not None and seen_in_tries(log_p, n) >= p for log_p in self.log_p)

    @property
    def discoverable_share(self) -> float:
        """Return the share of all windows that are `discoverable`."""
        return _share(self.discoverable)


def _extractable(log_p: Sequence[float | None]) -> float:
    least = math.log(EXTRACTABLE) * (1 + 1e-12)  # exp(log(x)) may round to less than x
    return _share([value is not None and value >= least for value in log_p])


def _share(windows: Sequence[bool]) -> float:
    return sum(windows) / len(windows) if windows else 0.0
