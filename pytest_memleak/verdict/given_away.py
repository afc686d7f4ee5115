"""Whether a book's instructions ask, and do not tell (METRICS section 10)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.recital_words import recital_words
from pytest_memleak.scoring.words import words
from pytest_memleak.verdict.shingles import KnownRuns, WordKeys, run_hashes

if TYPE_CHECKING:
    from pytest_memleak.records import Book
    from pytest_memleak.verdict.asked import Asked

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
    told = total = 0
    length = max(asked.trim, _SHORTEST_RUN)
    keys = WordKeys({})
    for excerpt in book.excerpts:
        its = words(excerpt.text, asked.words)
        total += len(its)
        if asked.trim and excerpt.instruction:
            said = words(excerpt.instruction, asked.words)
            plainly = _told(keys, said, its, length)
            folded = recital_words(excerpt.instruction)
            if folded != said:  # near-verbatim recitals are trimmed by these
                near = _told(keys, folded, recital_words(excerpt.text), length)
                plainly = min(max(plainly, near), len(its))
            told += plainly
    return GivenAway(
        share=Fraction(told, max(total, 1)) if asked.trim else None,
        unasked=tuple(one.id for one in book.excerpts if not one.instruction),
        vague=tuple(
            one.id
            for one in book.excerpts
            if one.instruction
            and not asked.continuation
            and len(words(one.instruction, "unicode")) < _FEWEST_WORDS
        ),
    )


def _told(keys: WordKeys, said: list[str], its: list[str], length: int) -> int:
    """How many of an excerpt's words lie in runs of `length` words or more that were said."""
    at = KnownRuns([run_hashes(keys.of(said), length)]).places(run_hashes(keys.of(its), length))
    return int(np.minimum(np.diff(at), length).sum()) + (length if len(at) else 0)
