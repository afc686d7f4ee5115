"""The date of a row, where its writer says when it was written."""

from __future__ import annotations

import datetime
import re
from typing import Any

from pytest_memleak.formats.log_messages import value_at

_KEYS = (
    "timestamp",
    "created_at",
    "createdAt",
    "created",
    "start_time",
    "startTime",
    "date",
    "time",
)
_PARTS = ((), ("response",), ("response", "body"), ("body",), ("metadata",))
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?=$|[T ])")
# Seconds since 1970, or thousandths and so on of these.
_EARLIEST = 946_684_800  # of 2000
_LATEST = 4_102_444_800  # of 2100
_UNITS = (1, 1_000, 1_000_000, 1_000_000_000)


def date_of(row: Any) -> str | None:
    """Return a row's date, as in 2026-12-02, UTC; None where none is to be seen."""
    for path in _PARTS:
        part = value_at(row, path)
        if not isinstance(part, dict):
            continue
        for key in _KEYS:
            date = _date(part.get(key))
            if date is not None:
                return date
    return None


def _date(value: Any) -> str | None:
    if isinstance(value, datetime.datetime):  # of Parquet
        return value.date().isoformat()
    if isinstance(value, str):
        return _date_in(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    for unit in _UNITS:
        seconds = value / unit
        if _EARLIEST <= seconds < _LATEST:
            moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
            return moment.date().isoformat()
    return None


def _date_in(text: str) -> str | None:
    match = _ISO.match(text)
    if match is None:
        return None
    try:
        return datetime.date.fromisoformat(match[0]).isoformat()
    except ValueError:
        return None
