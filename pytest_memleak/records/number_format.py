"""Numbers and days in sentences: `1 excerpt`, `1,002 excerpts`; 0.1568; 2026-11-25."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, overload

_MINUTE = 60
_HOUR = 3_600


def amount(
    number: int,
    noun: str,
    plural: str | None = None,
) -> str:
    """Format a count with its noun; the default plural appends an s."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {plural or f'{noun}s'}"


def first_three(names: Sequence[str]) -> str:
    """List three names, and say whether there are more."""
    shown = ", ".join(names[:3])
    return f"{shown}, ..." if names[3:] else shown


def figure(value: float) -> str:
    """Format the value of a measure or a limit: four digits, or the whole count."""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def duration_text(seconds: float) -> str:
    """Format a duration, rounded up: "40 seconds", "12 minutes", "3.5 hours"."""
    if seconds <= _MINUTE:
        return amount(max(1, math.ceil(seconds)), "second")
    if seconds <= _HOUR:
        return amount(math.ceil(seconds / _MINUTE), "minute")
    hours = math.ceil(2 * seconds / _HOUR) / 2
    return f"{hours:g} hours"


@overload
def day(seconds: float) -> str: ...
@overload
def day(seconds: None) -> None: ...
def day(seconds: float | None) -> str | None:
    """Format the UTC day of a time in seconds since 1970."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def moment(seconds: float | None) -> str | None:
    """Format a time in seconds since 1970 as UTC, to the microsecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def percent(share: float) -> str:
    """Format a share as a percentage, to two decimals below 1%."""
    hundredths = 100 * share
    places = 2 if hundredths and abs(hundredths) < 1 else 1
    return f"{hundredths:.{places}f}%".replace("-", "−")


def percent_at_most(share: float) -> str:
    """Format a share like `percent`, never rounded down."""
    two_places = share < 0.01  # noqa: PLR2004 - as in `percent`
    steps = 10_000 if two_places else 1_000
    return percent(min(math.ceil(share * steps - 1e-9) / steps, 1.0))


class TimeText:
    """Marks a time in seconds since 1970 that JSON has as text, for the codec."""

    def __init__(self, write: Callable[[float | None], str | None]) -> None:
        self._write = write

    def read(self, text: object) -> float | None:
        """Invert the writing. Raises ValueError for other texts."""
        if text is None:
            return None
        when = datetime.fromisoformat(str(text))
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        try:
            seconds = when.timestamp()
            canonical = self._write(seconds)
        except OverflowError:
            canonical = None
        if canonical != text:
            raise ValueError("not a time in this program's format")
        return seconds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # an idle plugin doesn't load it

        return core_schema.no_info_before_validator_function(
            self.read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(self._write),
        )


DAY, MOMENT = TimeText(day), TimeText(moment)
