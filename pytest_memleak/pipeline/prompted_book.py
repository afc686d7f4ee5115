"""A book as a pair's probe prompts for it, and the prompts.

An instruction asks for an excerpt by its summary; a continuation gives its beginning,
and only the rest is measured. An extraction and named prompts ask for the book.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.books.instructions import (
    BARE_PREFIX,
    CONTINUE_INSTRUCTION,
    beginnings,
)
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.ledger.prompts import PairPrompts, build_prompts
from pytest_memleak.pipeline.extraction_conversation import (
    ConversationStyle,
    opening_prompts,
)
from pytest_memleak.scoring.words import count_about_as_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.records import Book, BookPrompt, Pair


def book_for_probe(
    pair: Pair,
    book: Book,
    endpoint: Endpoint | None,
) -> Book:
    """Return the book as `endpoint` is prompted for it and as it is measured."""
    match pair.probe.kind:
        case "instruction":
            return book
        case "extraction":
            prompts = opening_prompts(
                book, conversation_style(endpoint), seed=pair.sampling.seed or 0
            )
            return _replace_instructions(book, prompts)
        case "prompts":
            return _replace_instructions(book, book.prompts)
    default = (
        BARE_PREFIX if continuation_endpoint(pair, endpoint) else CONTINUE_INSTRUCTION
    )
    return beginnings(
        book,
        prefix_words=pair.probe.prefix_words,
        template=pair.probe.continuation_template or default,
        mode=pair.scoring.word_mode,
    )


def continuation_endpoint(pair: Pair, endpoint: Endpoint | None) -> Endpoint | None:
    """Return the endpoint that continues prompts as text; None for instructions.

    Prompts are instructions if the endpoint can't continue a text, or if the suite's
    template adds to the prefix.
    """
    match pair.probe.kind:
        case "instruction" | "prompts":
            return None
        case "continuation":
            if pair.probe.continuation_template not in (None, BARE_PREFIX):
                return None
    continuing = abilities_of(endpoint).continuing
    return continuing() if continuing is not None else None


def conversation_style(endpoint: Endpoint | None) -> ConversationStyle:
    """Return how a conversation with the endpoint is held."""
    abilities = abilities_of(endpoint)
    if abilities.continuing is not None and abilities.continuing() is not None:
        return ConversationStyle.TEXT
    return (
        ConversationStyle.ALONE
        if abilities.converses is None
        else ConversationStyle.CHAT
    )


def _replace_instructions(book: Book, prompts: Sequence[BookPrompt]) -> Book:
    """Return the book with these prompts, and without instructions."""
    excerpts = tuple(replace(excerpt, instruction=None) for excerpt in book.excerpts)
    return replace(book, excerpts=excerpts, prompts=tuple(prompts))


def pair_prompts(pair: Pair, book: Book) -> PairPrompts:
    """Return the pair's prompts; `book` as it is prompted for."""
    count = partial(count_about_as_tokens, mode=pair.scoring.word_mode)
    return build_prompts(pair.id, book, pair.sampling, words=count)
