"""Long prompts, shortened to what may excuse words of protected books."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.library.library import Library

_LONG = 100_000  # characters; shorter ones are read whole, whenever a passage shows
_PIECE = 20_000  # characters
_OVERLAP = 400  # characters, so that no run of a few words is parted
MOST_EXCUSING = 1_000_000
"""The most characters of a long prompt that excuse."""


def shortened(prompt: str, library: Library) -> str:
    """Return the pieces of a long prompt that share words in a row with a book.

    The guard reads a prompt again for each passage, which would hold up all others. Of
    pieces that are equal, the first is enough.
    """
    if len(prompt) <= _LONG:
        return prompt
    pieces: dict[str, None] = {}
    size = 0
    for piece in _pieces(prompt):
        if piece in pieces or not _has_matches(piece, library):
            continue
        pieces[piece] = None
        size += len(piece)
        if size >= MOST_EXCUSING:
            break
    return "\n".join(pieces)


def _pieces(prompt: str) -> Iterator[str]:
    for start in range(0, len(prompt), _PIECE):
        yield prompt[max(start - _OVERLAP, 0) : start + _PIECE]


def _has_matches(piece: str, library: Library) -> bool:
    matched = library.index.matches([piece])
    readings = [matched.matches, *(near.matches for near in matched.near)]
    return any(len(reading.text) for reading in readings)
