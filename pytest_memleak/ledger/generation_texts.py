"""Generations in the ledger: a row each, and the texts of a call compressed together.

The chain has the SHA-256 of each text, so the texts may be compressed again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.hash_chain import Row, image
from pytest_memleak.ledger.tables import (
    call_texts,
    compress_texts,
    decompress_texts,
    generations,
    in_parts,
)


def insert_generations(
    connection: Connection,
    brought: Iterable[tuple[int, int, Sequence[int], Sequence[Completion]]],
) -> dict[int, Row]:
    """Store what calls brought: their prompt, id, ordinals, and generations.

    Returns what the chain has of it, by call.
    """
    rows: list[Row] = []
    texts: list[Row] = []
    images: dict[int, Row] = {}
    for question, call, ordinals, sources in brought:
        if not sources:
            continue
        call_rows = [
            {
                "question": question,
                "ordinal": ordinal,
                "call": call,
                "place": place,
                "finish_reason": source.finish_reason,
                "finish_word": source.finish_word,
                "prompt_tokens": source.prompt_tokens,
                "completion_tokens": source.completion_tokens,
            }
            for place, (ordinal, source) in enumerate(
                zip(ordinals, sources, strict=True)
            )
        ]
        pairs = [(source.text, source.reasoning) for source in sources]
        rows += call_rows
        texts += [
            {"call": call, "part": part, "data": data}
            for part, data in enumerate(compress_texts(pairs))
        ]
        images[call] = {"generations": generation_images(call_rows, pairs)}
    if rows:
        connection.execute(_INSERT, rows)
        connection.execute(_INSERT_TEXTS, texts)
    return images


def generation_images(
    rows: Iterable[Mapping[Any, Any]], texts: Sequence[tuple[str, str]]
) -> list[Row]:
    """Return a call's generations as the chain has them, by ordinal."""
    images = []
    for row in sorted(rows, key=lambda row: row["ordinal"]):
        written = dict(row)
        if 0 <= row["place"] < len(texts):
            text, reasoning = texts[row["place"]]
            written |= {"text": text, "reasoning": reasoning or None}
        images.append(image(generations, written))
    return images


_INSERT = generations.insert()
_INSERT_TEXTS = call_texts.insert()
_TEXTS = (
    sa.select(call_texts)
    .where(call_texts.c.call.in_(sa.bindparam("calls", expanding=True)))
    .order_by(call_texts.c.call, call_texts.c.part)
)


def texts_of_calls(
    connection: Connection, call_ids: Iterable[int]
) -> dict[int, list[tuple[str, str]]]:
    """Return the texts and reasoning that calls brought, by call."""
    return {
        call: decompress_texts((part, data) for _, part, data in rows)
        for some in in_parts(list(set(call_ids)))
        for call, rows in itertools.groupby(
            connection.execute(_TEXTS, {"calls": some}), key=lambda row: row.call
        )
    }
