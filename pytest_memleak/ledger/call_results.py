"""After a paid call: its completions, or why there are none.

    record(ledger, Answer(call, completions, ...))
    give_up(ledger, call, billed=True, cause="...")     # lost; with billed=False: failed
    postpone(ledger, call)                              # turned away, to be made again

An answer that arrives after its call was given up is recorded all the same. A completion whose
ordinal has been drawn by another call meanwhile is kept below 0: it was paid for.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.calls import OPEN, Call, CallState, add_to_runs
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import calls, claims, generations

_SERVED = ("model", "fingerprint", "response_id", "refused")
_AT_ONCE = 400  # calls that one statement names


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call brought; `cost` is what it was billed, in billionths of a US$."""

    call: Call
    completions: Sequence[Completion]
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: int | None
    recovered: bool = False


def record(ledger: Ledger, answer: Answer) -> bool:
    """Keep an answer, whatever has become of its call; False where it was kept before."""
    return ledger.write_each(record_each, answer)


def record_each(connection: Connection, answers: Sequence[Answer]) -> list[bool | Exception]:
    """Keep several answers; a work for `Ledger.write_each`."""
    before = {
        row.id: row
        for row in connection.execute(_BEFORE, {"calls": [one.call.id for one in answers]})
    }
    new = [one for one in answers if before[one.call.id].state != CallState.ANSWERED]
    if new:
        connection.execute(_FREE, {"calls": [one.call.id for one in new]})
        rows = list(_placed(connection, new))
        if rows:
            connection.execute(generations.insert(), rows)
        connection.execute(_ANSWERED, [_outcome(answer) for answer in new])
        changed(connection, calls, (one.call.id for one in new), brought=rows)
        add_to_runs(
            connection,
            (
                (before[one.call.id].run, (one.cost or 0) - _reserved(before[one.call.id]))
                for one in new
            ),
        )
    kept = {id(answer) for answer in new}
    return [id(answer) in kept for answer in answers]


_BEFORE = sa.select(calls.c.id, calls.c.state, calls.c.estimate, calls.c.run).where(
    calls.c.id.in_(sa.bindparam("calls", expanding=True))
)
_FREE = claims.delete().where(claims.c.call.in_(sa.bindparam("calls", expanding=True)))
_DRAWN = sa.select(generations.c.question, generations.c.ordinal).where(
    generations.c.question.in_(sa.bindparam("questions", expanding=True)),
    sa.or_(
        generations.c.ordinal < 0,
        generations.c.ordinal.between(sa.bindparam("least"), sa.bindparam("most")),
    ),
)
_ANSWERED = (
    calls.update()
    .where(calls.c.id == sa.bindparam("call"))
    .values(
        {
            name: sa.bindparam(f"new_{name}")
            for name in (
                "state",
                "came",
                "recovered",
                "prompt_tokens",
                "completion_tokens",
                "cost",
                "ended",
                *_SERVED,
            )
        }
    )
)


def _outcome(answer: Answer) -> dict[str, Any]:
    served = [one.served for one in answer.completions if one.served is not None]
    said = {
        "model": _all_of(one.model for one in served),
        "fingerprint": _all_of(one.fingerprint for one in served),
        "response_id": _all_of(one.response_id for one in served),
    }
    refused = dict.fromkeys(name for one in served for name in one.refused)
    return {
        **{f"new_{name}": value for name, value in said.items()},
        "new_refused": json.dumps(list(refused)) if served else None,
        "call": answer.call.id,
        "new_state": CallState.ANSWERED,
        "new_came": len(answer.completions),
        "new_recovered": answer.recovered,
        "new_prompt_tokens": answer.prompt_tokens,
        "new_completion_tokens": answer.completion_tokens,
        "new_cost": answer.cost,
        "new_ended": time.time(),
    }


def _all_of(said: Iterable[str | None]) -> str | None:
    """What a call's completions say, each once: servers that differ must not go unseen."""
    return ", ".join(dict.fromkeys(one for one in said if one is not None)) or None


def _placed(connection: Connection, answers: Sequence[Answer]) -> Iterable[dict[str, Any]]:
    """The rows of the completions: at the call's ordinals, and below 0 what has no place there."""
    there: dict[int, set[int]] = defaultdict(set)
    asked = list({one.call.question for one in answers})
    ordinals = [ordinal for one in answers for ordinal in one.call.ordinals] or [0]
    wanted = {"questions": asked, "least": min(ordinals), "most": max(ordinals)}
    for question, ordinal in connection.execute(_DRAWN, wanted):
        there[question].add(ordinal)
    for answer in answers:
        drawn = there[answer.call.question]
        free = iter([one for one in answer.call.ordinals if one not in drawn])
        for completion in answer.completions:
            ordinal = next(free, None)
            if ordinal is None:
                ordinal = min(0, *drawn) - 1
            drawn.add(ordinal)
            yield {
                "question": answer.call.question,
                "ordinal": ordinal,
                "call": answer.call.id,
                "finish_reason": completion.finish_reason,
                "finish_word": completion.finish_word,
                "reasoning": completion.reasoning or None,
                "prompt_tokens": completion.prompt_tokens,
                "completion_tokens": completion.completion_tokens,
                "text": completion.text,
            }


def give_up(ledger: Ledger, call: Call, *, billed: bool, cause: str | None) -> None:
    """End an open call without an answer: `lost` if it may have been billed, else `failed`.

    `cause` must have gone through `masked`.
    """
    ledger.write(
        lambda connection: end_open_calls(connection, [call.id], billed=billed, cause=cause)
    )


def end_open_calls(
    connection: Connection, numbers: Sequence[int], *, billed: bool, cause: str | None
) -> None:
    """End those of the calls that are open still, and free their ordinals."""
    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        still_open = connection.execute(
            sa.select(calls.c.id, calls.c.estimate, calls.c.run).where(
                calls.c.id.in_(some), calls.c.state.in_(OPEN)
            )
        ).all()
        ids = [row.id for row in still_open]
        connection.execute(claims.delete().where(claims.c.call.in_(ids)))
        connection.execute(
            calls.update()
            .where(calls.c.id.in_(ids))
            .values(
                state=CallState.LOST if billed else CallState.FAILED,
                cost=calls.c.estimate if billed else 0,
                cause=cause,
                ended=time.time(),
            )
        )
        changed(connection, calls, ids)
        if not billed:
            add_to_runs(connection, ((row.run, -(row.estimate or 0)) for row in still_open))


def postpone(ledger: Ledger, call: Call) -> None:
    """Note that a call was turned away unbilled and will be made again."""
    _move(ledger, call, CallState.ASKED, CallState.WAITING)


def resume(ledger: Ledger, call: Call) -> None:
    """Note that a postponed call is about to be made again."""
    _move(ledger, call, CallState.WAITING, CallState.ASKED)


def _move(ledger: Ledger, call: Call, before: CallState, after: CallState) -> None:
    def work(connection: Connection) -> None:
        connection.execute(
            calls.update()
            .where(calls.c.id == call.id, calls.c.state == before)
            .values(state=after, began=time.time())
        )
        changed(connection, calls, [call.id])

    ledger.write(work)


def _reserved(row: Any) -> int:
    """What of a call is counted as spent already: nothing once it failed."""
    return 0 if row.state == CallState.FAILED else row.estimate or 0
