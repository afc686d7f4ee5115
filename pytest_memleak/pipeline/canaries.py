"""Five short prompts at temperature 0: a passage that sampling misses, and which weights answer.

Each pair's endpoint gets them before its first generation, and an endpoint that is only a name
before every run that reuses generations (METRICS section 10). Servers are not exact even at
temperature 0, so most of them have to begin alike, not all. Of windows five are asked again
(`sampling.windows`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.probes import questions_of
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.records import Book, Pair


_CANARIES = 5
_TOKENS = 64
_WORDS_ALIKE = 12


def canary_book(book: Book) -> Book:
    """Five excerpts, spread over the book."""
    asked = [one for one in book.excerpts if one.instruction]
    step = max(1, len(asked) // _CANARIES)
    return dataclasses.replace(book, excerpts=tuple(asked[::step][:_CANARIES]))


def canary_questions(pair: Pair, book: Book, rounds: int) -> PairPrompts:
    """What is asked: the instructions of the canary book's excerpts."""
    sampling = dataclasses.replace(
        pair.sampling, samples=rounds, temperature=0.0, seed=0, max_tokens=_TOKENS
    )
    return questions_of(dataclasses.replace(pair, sampling=sampling), canary_book(book))


def answer_alike(answers: Collection[Sequence[str]]) -> bool | None:
    """Whether the last answers to most questions begin as the first; None without two of each."""
    if not answers or min(map(len, answers)) <= 1:
        return None
    alike = sum(_beginning(one[0]) == _beginning(one[-1]) for one in answers)
    return 2 * alike > len(answers)


def _beginning(text: str) -> list[str]:
    return words(text, "unicode")[:_WORDS_ALIKE]
