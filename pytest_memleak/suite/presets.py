"""Sets of limits that stand under one name; docs/limits.md gives their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "strict": MappingProxyType(
            {
                "longest_passage": 38,
                "nv_longest_passage": 38,
                "passages_over": 5,
                "bmc": 0.15,
                "longest_block": 50,
                "longest_span": 38,
                "spans_over": 0,
                "greedy_bmc": 0.15,
                "greedy_longest_span": 38,
            }
        ),
        "paper": MappingProxyType(
            {"bmc": 0.15, "longest_block": 100, "longest_span": 38, "spans_over": 0}
        ),
    }
)
