"""How a pair's probe asks an endpoint: by instructions, or by the beginnings of excerpts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.protocols import ContinuingEndpoint

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.records import Book, Pair, Sampling


def as_probed(pair: Pair, book: Book, endpoint: Endpoint | None) -> Book:
    """The book as `endpoint` is asked for it and as it is measured."""
    if pair.probe.kind == "instruction":
        return book
    from pytest_memleak.books.continuation import AS_IT_STANDS, ASKED_TO_CONTINUE, beginnings

    default = AS_IT_STANDS if text_side(pair, endpoint) else ASKED_TO_CONTINUE
    return beginnings(
        book,
        prefix_words=pair.probe.prefix_words,
        template=pair.probe.continuation_template or default,
        mode=pair.scoring.word_mode,
    )


def text_side(pair: Pair, endpoint: Endpoint | None) -> Endpoint | None:
    """What goes on with the pair's prompts as they stand; None where they are instructions.

    They are where the endpoint has no such side, and where the suite's template says more than
    the prefix.
    """
    from pytest_memleak.books.continuation import AS_IT_STANDS

    if pair.probe.kind == "instruction" or not isinstance(endpoint, ContinuingEndpoint):
        return None
    return (
        endpoint.continuing() if pair.probe.continuation_template in (None, AS_IT_STANDS) else None
    )


def as_greedy(sampling: Sampling) -> Sampling:
    """The settings of the likeliest answer: at temperature 0, twice, since not all servers obey."""
    return dataclasses.replace(sampling, samples=2, temperature=0.0)


def questions_of(pair: Pair, book: Book) -> PairPrompts:
    """What the pair asks of its endpoint; `book` as it is asked for."""
    from pytest_memleak.ledger.prompts import questionnaire
    from pytest_memleak.scoring.words import words

    return questionnaire(
        pair.id, book, pair.sampling, words=lambda text: len(words(text, pair.scoring.word_mode))
    )
