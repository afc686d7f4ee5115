"""A release gate that measures how much of a book a language model reproduces.

    from pytest_memleak import score

measures without pytest, a suite file, or a network; everything else needs a suite.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_memleak.interfaces.hookspecs import hookimpl
    from pytest_memleak.providers.http_provider import HttpProvider
    from pytest_memleak.records import (
        Block,
        Book,
        Excerpt,
        Generation,
        Measure,
        Measurement,
        Span,
    )
    from pytest_memleak.scoring import score
    from pytest_memleak.scoring.nv_recall import near_verbatim
    from pytest_memleak.verdict.judge import judge

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Book",
    "Excerpt",
    "Generation",
    "HttpProvider",
    "Measure",
    "Measurement",
    "Span",
    "__version__",
    "hookimpl",
    "judge",
    "near_verbatim",
    "score",
]

# Loaded on first use, since pytest imports this package at every start.
_HOMES = {
    "HttpProvider": "providers.http_provider",
    "hookimpl": "interfaces.hookspecs",
    "judge": "verdict.judge",
    "near_verbatim": "scoring.nv_recall",
    "score": "scoring",
    **dict.fromkeys(
        ("Block", "Book", "Excerpt", "Generation", "Measure", "Measurement", "Span"),
        "records",
    ),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
