"""Whether a book's instructions ask, and do not tell (METRICS section 10)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.keys import keyed, keyed_folded
from pytest_memleak.scoring.words import words
from pytest_memleak.verdict.shingles import run_hashes

if TYPE_CHECKING:
    from pytest_memleak.records import Book
    from pytest_memleak.verdict.asked import Asked
    from pytest_memleak.verdict.shingles import Keys

__all__ = ["GivenAway", "given_away"]

_SHORTEST_RUN = 5
_FEWEST_WORDS = 10


@dataclass(frozen=True, slots=True)
class GivenAway:
    """What instructions tell of the book.

    share:    of the measured words, those in runs that their own instruction has; None for trim = 0
    unasked:  ids of the excerpts that have no instruction
    vague:    ids of those whose instruction has under 10 words (none under continuation)
    """

    share: Fraction | None
    unasked: tuple[str, ...]
    vague: tuple[str, ...]


def given_away(book: Book, asked: Asked) -> GivenAway:
    """Hold each excerpt against its own instruction, as it is measured and folded."""
    return GivenAway(
        share=_share(book, asked) if asked.trim else None,
        unasked=tuple(one.id for one in book.excerpts if not one.instruction),
        vague=tuple(
            one.id
            for one in book.excerpts
            if one.instruction
            and not asked.continuation
            and len(words(one.instruction, "unicode")) < _FEWEST_WORDS
        ),
    )


def _share(book: Book, asked: Asked) -> Fraction:
    texts = [one.text for one in book.excerpts]
    instructions = [one.instruction or "" for one in book.excerpts]
    its, said = keyed(texts, asked.words), keyed(instructions, asked.words)
    as_measured = zip(its.each(), said.each(), strict=True)
    as_folded = zip(keyed_folded(texts).each(), keyed_folded(instructions).each(), strict=True)
    length = max(asked.trim, _SHORTEST_RUN)
    told = 0
    for plain, folded in zip(as_measured, as_folded, strict=True):
        plainly = _told(*plain, length)
        if not np.array_equal(folded[1], plain[1]):  # near-verbatim recitals are trimmed by these
            plainly = min(max(plainly, _told(*folded, length)), len(plain[0]))
        told += plainly
    return Fraction(told, max(int(its.lengths().sum()), 1))


def _told(its: Keys, said: Keys, length: int) -> int:
    """How many of an excerpt's words lie in runs of `length` words or more that were said."""
    at = np.flatnonzero(np.isin(run_hashes(its, length), run_hashes(said, length)))
    return int(np.minimum(np.diff(at), length).sum()) + (length if len(at) else 0)
