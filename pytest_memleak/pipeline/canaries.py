"""Five short questions at temperature 0, by whose answers weights behind a name are known again.

They are asked when a pair is first drawn from an endpoint that is only a name, and again by every
run that takes answers of an earlier one (METRICS section 10). Servers are not exact even at
temperature 0, so most of them have to begin alike, not all. Of windows five are asked again
(`sampling.windows`). `Canaries` makes the questions of so many rounds.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.probes import questions_of
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.pipeline.ledger_endpoint import LedgerEndpoint
    from pytest_memleak.records import Book, Pair

    Canaries = Callable[[int], PairPrompts]
    Alike = Callable[[Collection[Sequence[str]]], bool | None]

__all__ = ["answer_alike", "canary_book", "canary_questions", "canary_rounds", "same_weights"]

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


def canary_rounds(source: LedgerEndpoint, canaries: Canaries) -> int:
    """How often they were asked and all answered."""
    rounds = _answers(source, canaries)
    return min(map(len, rounds)) if rounds else 0


def same_weights(source: LedgerEndpoint, canaries: Canaries, alike: Alike) -> bool | None:
    """Whether the last round of canaries answers as the first; None without two rounds."""
    asked = _asked_by(source, canaries, canary_rounds(source, canaries))
    return alike([one[:asked] for one in _answers(source, canaries)])


def answer_alike(answers: Collection[Sequence[str]]) -> bool | None:
    """Whether the last answers to most questions begin as the first; None without two of each."""
    if not answers or min(map(len, answers)) <= 1:
        return None
    alike = sum(_beginning(one[0]) == _beginning(one[-1]) for one in answers)
    return 2 * alike > len(answers)


def _asked_by(source: LedgerEndpoint, canaries: Canaries, rounds: int) -> int:
    """How many of the rounds had been asked at the time that is looked at."""
    from pytest_memleak.ledger.sampling_history import provenance

    while rounds:
        last = provenance(source.ledger, source.endpoint_id, canaries(rounds)).last
        if last is None or last <= source.resources.now:
            break
        rounds -= 1
    return rounds


def _answers(source: LedgerEndpoint, canaries: Canaries) -> Sequence[Sequence[str]]:
    """Per canary its answers, in the order of the rounds."""
    asked = canaries(1 << 30)
    found: dict[str, list[str]] = {one.excerpt_id: [] for one in asked.questions}
    for one in source.drawn(asked):
        found[one.excerpt_id].append(one.text)
    return list(found.values())


def _beginning(text: str) -> list[str]:
    return words(text, "unicode")[:_WORDS_ALIKE]
