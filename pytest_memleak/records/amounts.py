"""Numbers and days in sentences: `1 excerpt`, `1,002 excerpts`; 0.1568, 12,345; 2026-11-25."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload

__all__ = ["amount", "day", "figure"]


def amount(number: int, noun: str, plural: str | None = None) -> str:
    """So many of something; the plural takes an s where it is not given."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def figure(value: float) -> str:
    """A value of a measure or a limit as a reason gives it: four digits, or the whole count."""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


@overload
def day(seconds: float) -> str: ...
@overload
def day(seconds: None) -> None: ...
def day(seconds: float | None) -> str | None:
    """The day in UTC of a time in seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).date().isoformat()
