"""Settings by dotted keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def flatten(settings: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting that has a value; keys of inner tables are joined by dots."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{name}{key}.")
        elif value is not None:
            yield f"{name}{key}", value
