"""The windows of a book under a model, as a strip along it: numbers only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_memleak.reports.html.coverage_strips import Strip, draw_strip, x_position
from pytest_memleak.scoring.extraction import seen_in_tries

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLUMNS = 600
_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class WindowMap:
    """A strip of the windows, its colour the probability to come in n tries; `ticks` chapters.

    p_z: how its probabilities were taken; discoverable: share of the windows that come in n
    tries with probability p or more.
    """

    strip: Strip
    ticks: tuple[float, ...]
    windows: int
    unknown: int
    n: int
    p: float
    p_z: str
    discoverable: float


def window_map(windows: Mapping[str, Any]) -> WindowMap:
    """Draw what the evidence of a pair says of its windows."""
    probabilities, n = windows["ln_p_z"], windows["n"]
    shares = [_share(probability, n) for probability in probabilities]
    # Whole per cent; what can come at all is never drawn as nothing.
    times = np.array([math.ceil(_ROUNDS * share) for share in shares], dtype=np.intc)
    return WindowMap(
        strip=draw_strip(times, _ROUNDS, columns=_COLUMNS),
        ticks=tuple(x_position(start, windows["tokens"]) for start in windows["chapters"][1:]),
        windows=len(probabilities),
        unknown=sum(probability is None for probability in probabilities),
        n=n,
        p=windows["p"],
        p_z=windows["p_z"],
        discoverable=windows["discoverable"],
    )


def _share(probability: float | str | None, n: int) -> float:
    """The probability to come in n tries; what is under one in a thousand is nothing."""
    share = seen_in_tries(probability, n) if isinstance(probability, int | float) else 0.0
    return share if share >= 1 / 1000 else 0.0
