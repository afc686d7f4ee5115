"""Caps on the size of a book's file, checked before each step.

Every step of reading and cutting takes time proportional to these amounts, so they cap the cost of
hostile files.
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
    """The amounts that may still be read of the file `place`."""

    def __init__(self, place: str | None = None) -> None:
        self.place = place
        self._left = dict(_MOST)

    def left(self, what: Amount) -> int:
        """Return the amount that may still be read."""
        return self._left[what]

    def allow(self, amount: int, what: Amount) -> None:
        """Raise BookError if `amount` exceeds what is left."""
        if amount > self._left[what]:
            raise BookError(
                f"has more than {_MOST[what]:,} {what}, the maximum per book",
                location=self.place,
                hint="split a collection into its books: the longest novels have ten million"
                " characters",
            )

    def spend(self, amount: int, what: Amount) -> None:
        """Subtract `amount` from what is left. Raises BookError if it is more."""
        self.allow(amount, what)
        self._left[what] -= amount
