"""Long texts of a request, shortened to what shares words with protected books.

Reading one as a whole would hold up all other requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.library.library import Library

LONG = 100_000
"""Characters up to which a text is read whole, whenever a passage shows."""

_PIECE = 20_000  # characters
_OVERLAP = 400  # characters, so that no run of a few words is parted
MOST_EXCUSING = 1_000_000
"""The most characters of a long prompt that excuse."""


def shortened(prompt: str, library: Library) -> str:
    """Return the pieces of a long prompt that share words in a row with a book.

    The guard reads a prompt again for each passage. Of pieces that are equal, the first
    is enough.
    """
    if len(prompt) <= LONG:
        return prompt
    kept: dict[str, None] = {}
    size = 0
    for piece in overlapping_pieces(prompt):
        if piece in kept or not _has_matches(piece, library):
            continue
        kept[piece] = None
        size += len(piece)
        if size >= MOST_EXCUSING:
            break
    return "\n".join(kept)


def shorten_history(text: str, library: Library) -> str:
    """Return the pieces of a long text that share words with a book, and its end.

    An answer may continue the end.
    """
    if len(text) <= LONG:
        return text
    *pieces, end = overlapping_pieces(text)
    kept = [piece for piece in pieces if _has_matches(piece, library)]
    return "\n".join([*kept, end])


def overlapping_pieces(text: str) -> Iterator[str]:
    """Yield a text, a long one in pieces that overlap."""
    if len(text) <= LONG:
        yield text
        return
    for start in range(0, len(text), _PIECE):
        yield text[max(start - _OVERLAP, 0) : start + _PIECE]


def _has_matches(piece: str, library: Library) -> bool:
    matched = library.index.matches([piece])
    readings = [matched.matches, *(near.matches for near in matched.near)]
    return any(len(reading.text) for reading in readings)
