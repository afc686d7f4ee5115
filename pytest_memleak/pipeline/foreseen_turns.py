"""The prompts that an extraction may still need, for a plan, at their longest."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.ledger.prompts import (
    TOKENS_PER_WORD,
    PairPrompts,
    PromptSpec,
    digest_of_parts,
)
from pytest_memleak.pipeline.extraction_conversation import max_turn_words
from pytest_memleak.pipeline.prompted_book import pair_prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.pipeline.extraction_conversation import (
        Conversation,
        ConversationStyle,
    )
    from pytest_memleak.records import Book, Pair


def longest_further_prompts(
    pair: Pair,
    book: Book,
    style: ConversationStyle,
    conversation: Conversation | None = None,
) -> PairPrompts:
    """Return the prompts behind the last that was asked: openings, then turns.

    book: with its openings
    conversation: as the ledger has it; None before its first call
    """
    every_opening = pair_prompts(pair, book)
    asked = len(conversation.prompts) if conversation else 0
    openings = every_opening.specs[asked:]
    turns_asked = 0
    if conversation and conversation.opened_by is not None:
        openings = ()
        turns_asked = conversation.facts.turns + 1  # the last has no answer yet
    first = every_opening.specs[0]
    turns = _longest_turns(pair, first, style, first_turn=turns_asked + 1)
    return replace(every_opening, specs=(*openings, *turns))


def _longest_turns(
    pair: Pair,
    opening: PromptSpec,
    style: ConversationStyle,
    *,
    first_turn: int,
) -> Iterator[PromptSpec]:
    answer_words = math.ceil(opening.max_tokens / TOKENS_PER_WORD)
    for turn in range(first_turn, pair.probe.turns + 1):
        words = max_turn_words(turn, answer_words, opening.prompt_words, style)
        yield replace(
            opening,
            excerpt_id=f"turn-{turn}",
            instruction_digest=digest_of_parts(
                "foreseen", opening.instruction_digest, turn
            ),
            prompt_words=words,
            most_prompt_tokens=math.ceil(words * TOKENS_PER_WORD),
        )
