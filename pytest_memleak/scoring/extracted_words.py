"""How much of a book the answers of an extraction hold together (docs/method.md).

Near-verbatim recall of the joined answers, after arXiv 2601.02671.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import BookError
from pytest_memleak.scoring.excused_words import SHARED_RUN
from pytest_memleak.scoring.folding import folded_words
from pytest_memleak.scoring.nv_recall import near_verbatim

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.scoring.array_types import Flags


@dataclass(frozen=True, slots=True)
class ExtractedWords:
    """The book's words that answers hold, in blocks of 100 or more.

    share: of the book's words, without excused ones; words: their number
    """

    share: float
    words: int


def extracted_words(
    book: str,
    answers: Iterable[str],
    excusing: Iterable[str] = (),
) -> ExtractedWords:
    """Measure what of the book's text the joined answers reproduce.

    excusing: texts that anyone may quote: what the book has of them doesn't count.
    Raises BookError for a book without words of its own.
    """
    recall = near_verbatim(book, "\n\n".join(answers))
    words = folded_words(book)
    is_reproduced = np.zeros(len(words), dtype=np.bool_)
    for run in chain.from_iterable(block.runs for block in recall.blocks):
        is_reproduced[run.i : run.i_end] = True
    counts = np.ones(len(words), dtype=np.bool_)
    for text in excusing:
        counts &= ~_is_in_shared_run(words, folded_words(text))
    total = int(np.count_nonzero(counts))
    if not total:
        raise BookError("texts that may be quoted hold all its words")
    reproduced = int(np.count_nonzero(is_reproduced & counts))
    return ExtractedWords(reproduced / total, reproduced)


def _is_in_shared_run(words: Sequence[str], others: Sequence[str]) -> Flags:
    """Tell which of the words lie in runs of 12 or more that the others have."""
    runs_of_others = {
        tuple(others[start : start + SHARED_RUN])
        for start in range(len(others) - SHARED_RUN + 1)
    }
    shared = np.zeros(len(words), dtype=np.bool_)
    for start in range(len(words) - SHARED_RUN + 1):
        if tuple(words[start : start + SHARED_RUN]) in runs_of_others:
            shared[start : start + SHARED_RUN] = True
    return shared
