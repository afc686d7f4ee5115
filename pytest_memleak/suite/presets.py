"""Sets of limits that stand under one name; docs/limits.md gives their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["PRESETS", "Preset"]


class Preset(NamedTuple):
    """Limits by measure, and the `detect` that goes with them; None for any."""

    limits: Mapping[str, float]
    detect: float | None


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "strict": Preset(
            MappingProxyType(
                {
                    "longest_recital": 38,
                    "nv_longest_recital": 38,
                    "bmc": 0.15,
                    "longest_block": 50,
                    "longest_span": 38,
                    "spans_over": 0,
                }
            ),
            detect=0.05,
        ),
        "paper": Preset(
            MappingProxyType(
                {"bmc": 0.15, "longest_block": 100, "longest_span": 38, "spans_over": 0}
            ),
            detect=None,
        ),
    }
)
