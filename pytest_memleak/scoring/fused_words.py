"""Texts whose words nothing parts: no answer has such words, so that whatever is recited passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records import WordMode

__all__ = ["refuse_fused"]

# No language has longer words, but in jest: so many letters, and such a share, may be of those.
_LONGEST_WORD = 40
_JEST = 300
_MOST = 0.02


def refuse_fused(texts: Iterable[str], *, mode: WordMode, place: str) -> None:
    """Raise BookError, naming `place`, where words run together in more than 2 % of the texts."""
    fused = letters = 0
    for text in texts:
        lengths = [*map(len, text.split())]
        letters += sum(lengths)
        if max(lengths, default=0) > _LONGEST_WORD:
            its = (len(word) for word in words(text, mode))
            fused += sum(length for length in its if length > _LONGEST_WORD)
    if fused > max(_JEST, _MOST * letters):
        raise BookError(
            f"{fused / letters:.0%} of its letters are in words of over {_LONGEST_WORD}, so that "
            "no answer could have them",
            place=place,
            hint="nothing but a style sheet parts its words, say: take another edition",
        )
