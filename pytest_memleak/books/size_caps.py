"""How much of a file is read: what costs more than any book is refused before it is worked on.

Every step of reading and cutting takes time in proportion to what stands here, so that no file
can take more than these amounts allow.
"""

from __future__ import annotations

from typing import Literal

from pytest_memleak.errors import BookError

Amount = Literal["characters of text", "paragraphs", "lines", "tags", "bytes of markup"]

MAX_CHARACTERS = 20_000_000
MAX_TAGS = 2_000_000

_MOST: dict[Amount, int] = {
    "characters of text": MAX_CHARACTERS,
    "paragraphs": 300_000,
    "lines": 1_000_000,
    "tags": MAX_TAGS,
    "bytes of markup": 64 << 20,
}


class Budget:
    """What may still be read of the file `place`."""

    def __init__(self, place: str | None = None) -> None:
        self.place = place
        self._left = dict(_MOST)

    def left(self, what: Amount) -> int:
        """How much may still be read."""
        return self._left[what]

    def allow(self, amount: int, what: Amount) -> None:
        """Raise BookError where `amount` is more than is left."""
        if amount > self._left[what]:
            raise BookError(
                f"has more than the {_MOST[what]:,} {what} that are read of a book",
                location=self.place,
                hint="the longest novels have ten million characters: split a collection into"
                " its books",
            )

    def spend(self, amount: int, what: Amount) -> None:
        """Take `amount` from what is left. Raises BookError where it is more."""
        self.allow(amount, what)
        self._left[what] -= amount
