"""The floor: what Python itself needs to look at each word of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPACES = str.maketrans(
    {chr(c): " " for c in range(128) if not (chr(c).isalnum() or c == 0x5F)}
)


def vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """A number for each word of the texts."""
    words = (word for text in texts for word in text.lower().translate(_SPACES).split())
    return {word: number for number, word in enumerate(dict.fromkeys(words))}


def look_up(text: str, known: dict[str, int]) -> list[int | None]:
    """`str.lower`, `translate`, `split`, dictionary look-up."""
    return list(map(known.get, text.lower().translate(_SPACES).split()))
