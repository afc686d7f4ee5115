"""JSON objects without a key twice: parsers differ in which of its values they read."""

from __future__ import annotations

import json
from typing import Any

_LONGEST_KEY = 60


class DuplicateKey(ValueError):
    """An object has a key twice."""

    def __init__(self, key: str) -> None:
        """Name the key, cut to 60 characters."""
        super().__init__(f"the key {key[:_LONGEST_KEY]!a} occurs twice in an object")


def distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's pairs, as an `object_pairs_hook`; raise DuplicateKey."""
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DuplicateKey(next(key for key in keys if keys.count(key) > 1))
    return members


def json_with_distinct_keys(text: str | bytes) -> Any:
    """Parse JSON of which each value counts.

    Raises DuplicateKey, which is a ValueError as other faults are, and RecursionError.
    """
    return json.loads(text, object_pairs_hook=distinct_keys)
