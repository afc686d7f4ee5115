"""Numbers and days in sentences: `1 excerpt`, `1,002 excerpts`; 0.1568, 12,345; 2026-11-25."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import overload


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


def moment(seconds: float | None) -> str | None:
    """A time in seconds since 1970, to the microsecond, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def percent(share: float) -> str:
    """Format a share as a percentage, to two decimals below 1%."""
    hundredths = 100 * share
    places = 2 if hundredths and abs(hundredths) < 1 else 1
    return f"{hundredths:.{places}f}%".replace("-", "−")


def percent_at_most(share: float) -> str:
    """The same, never rounded down."""
    steps = 10_000 if share < 0.01 else 1_000  # noqa: PLR2004 - where `percent` gives two places
    return percent(min(math.ceil(share * steps - 1e-9) / steps, 1.0))
