"""Names and values of a suite file as messages quote them."""

from __future__ import annotations

_SHOWN = 80


def plain(name: str) -> str:
    """A key as it is written, its control characters shown for what they are."""
    return clipped(name if name.isprintable() else repr(name))


def shown(value: object) -> str:
    """A value as Python writes it, at most so long."""
    return clipped(repr(value))


def clipped(text: str) -> str:
    """The beginning of a long text, and how long it is."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
