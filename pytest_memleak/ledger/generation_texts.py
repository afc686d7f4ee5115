"""Generations in the ledger: a row each, and the texts of a call compressed together.

The chain has the SHA-256 of each text, so the texts may be compressed again.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.hash_chain import Row, row_without_nulls
from pytest_memleak.ledger.statements import bound_list, split_for_statement
from pytest_memleak.ledger.stored_text import compress_texts, decompress_texts
from pytest_memleak.ledger.tables import call_texts, generations


class CallCompletions(NamedTuple):
    """What a call brought: completions, and the ordinals that they got."""

    prompt: int
    call: int
    ordinals: Sequence[int]
    completions: Sequence[Completion]


def insert_generations(
    connection: Connection,
    results: Iterable[CallCompletions],
) -> dict[int, Row]:
    """Store what calls brought; return what the chain has of it, by call."""
    rows: list[Row] = []
    text_rows: list[Row] = []
    images: dict[int, Row] = {}
    for brought in results:
        if not brought.completions:
            continue
        call_rows = _generation_rows(brought)
        texts = [(source.text, source.reasoning) for source in brought.completions]
        rows += call_rows
        for part, data in enumerate(compress_texts(texts)):
            text_row = {"call": brought.call, "part": part, "data": data}
            text_rows.append(text_row)
        call_images = generation_chain_rows(call_rows, texts)
        images[brought.call] = {"generations": call_images}
    if rows:
        connection.execute(_INSERT, rows)
        connection.execute(_INSERT_TEXTS, text_rows)
    return images


def _generation_rows(brought: CallCompletions) -> list[Row]:
    rows = []
    placed = zip(brought.ordinals, brought.completions, strict=True)
    for place, (ordinal, source) in enumerate(placed):
        row = {
            "prompt": brought.prompt,
            "ordinal": ordinal,
            "call": brought.call,
            "place": place,
            "finish_reason": source.finish_reason,
            "finish_word": source.finish_word,
            "prompt_tokens": source.prompt_tokens,
            "completion_tokens": source.completion_tokens,
        }
        rows.append(row)
    return rows


def generation_chain_rows(
    rows: Iterable[Mapping[Any, Any]],
    texts: Sequence[tuple[str, str]],
) -> list[Row]:
    """Return a call's generations as the chain has them, by ordinal."""
    images = []
    for row in sorted(rows, key=lambda row: row["ordinal"]):
        written = dict(row)
        place = row["place"]
        if 0 <= place < len(texts):
            text, reasoning = texts[place]
            written |= {"text": text, "reasoning": reasoning or None}
        images.append(row_without_nulls(generations, written))
    return images


_INSERT = generations.insert()
_INSERT_TEXTS = call_texts.insert()
_TEXTS = (
    sa.select(call_texts)
    .where(call_texts.c.call.in_(bound_list("calls")))
    .order_by(call_texts.c.call, call_texts.c.part)
)


def texts_of_calls(
    connection: Connection,
    call_ids: Iterable[int],
) -> dict[int, list[tuple[str, str]]]:
    """Return the texts and reasoning that calls brought, by call."""
    texts: dict[int, list[tuple[str, str]]] = {}
    distinct_calls = list(set(call_ids))
    by_call = operator.attrgetter("call")
    for some in split_for_statement(distinct_calls):
        rows = connection.execute(_TEXTS, {"calls": some})
        for call, call_rows in itertools.groupby(rows, key=by_call):
            parts = ((part, data) for _, part, data in call_rows)
            texts[call] = decompress_texts(parts)
    return texts
