"""What the ledger holds for a pair's questions beside the generations that are asked for.

    surplus(ledger, endpoint_id, questionnaire, until=now)   -> Iterator[Generation], all of it
    unasked(ledger, endpoint_id, questionnaire, until=now)   -> Iterator[Generation]

Some were drawn while `samples` was higher, some came after their call had been given up and drawn
again: they were asked for once. Those that a server sends over what a call asks for never were.
METRICS section 10 has a surplus told, and tells the two apart: races between processes and late
answers are nobody's fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.calls import QUESTIONS_AT_ONCE
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import numbers_of
from pytest_memleak.ledger.prompts import PairPrompts
from pytest_memleak.ledger.tables import calls
from pytest_memleak.ledger.tables import generations as generations_
from pytest_memleak.records import FinishReason, Generation


def surplus(
    ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts, *, until: float
) -> Iterator[Generation]:
    """All that came by then (seconds since 1970) and has no place below `samples`.

    By excerpt, those that once had a place first; ordinals are numbered anew from 0.
    """
    there: Counter[str] = Counter()
    for excerpt_id, row in _rows(ledger, endpoint_id, questionnaire, until):
        yield _generation(excerpt_id, there[excerpt_id], row)
        there[excerpt_id] += 1


def unasked(
    ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts, *, until: float
) -> Iterator[Generation]:
    """What servers sent by then over what a call asked for; ordinals go on from `samples`.

    An answer that was found again at the provider may hold that of a second try: it is no fault.
    """
    over: Counter[int] = Counter()
    there: Counter[str] = Counter()
    for excerpt_id, row in _rows(ledger, endpoint_id, questionnaire, until):
        if row.ordinal < 0 and not row.recovered and over[row.call] < (row.came or 0) - row.asked:
            over[row.call] += 1
            yield _generation(excerpt_id, questionnaire.samples + there[excerpt_id], row)
            there[excerpt_id] += 1


def _generation(excerpt_id: str, ordinal: int, row: Any) -> Generation:
    return Generation(
        excerpt_id,
        ordinal,
        row.text,
        FinishReason(row.finish_reason),
        finish_word=row.finish_word,
        reasoning=row.reasoning or "",
    )


def _rows(
    ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts, until: float
) -> Iterator[tuple[str, Any]]:
    """With each row the excerpt that it is for."""
    known = numbers_of(ledger, endpoint_id, questionnaire.questions)
    excerpts = {
        number: one.excerpt_id
        for one in questionnaire.questions
        if (number := known.get(one.key)) is not None
    }
    numbers = list(excerpts)
    for start in range(0, len(numbers), QUESTIONS_AT_ONCE):
        wanted = _BESIDE.where(
            generations_.c.question.in_(numbers[start : start + QUESTIONS_AT_ONCE]),
            sa.or_(generations_.c.ordinal < 0, generations_.c.ordinal >= questionnaire.samples),
            sa.func.coalesce(calls.c.ended, calls.c.began) <= until,
        )

        def work(connection: Connection, wanted: sa.Select[Any] = wanted) -> list[Any]:
            return list(connection.execute(wanted))

        for row in ledger.read(work):
            yield excerpts[row.question], row


_BESIDE = (
    sa.select(
        *(
            generations_.c[name]
            for name in ("question", "ordinal", "call", "text", "finish_reason", "finish_word")
        ),
        generations_.c.reasoning,
        *(calls.c[name] for name in ("asked", "came", "recovered")),
    )
    .join(calls, calls.c.id == generations_.c.call)
    .order_by(
        generations_.c.question,
        generations_.c.ordinal < 0,
        sa.func.abs(generations_.c.ordinal),
    )
)
