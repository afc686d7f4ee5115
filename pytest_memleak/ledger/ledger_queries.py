"""What the ledger has for a pair: its generations, how many, and what they cost.

    generations(ledger, endpoint_id, questionnaire)  -> Iterator[Generation]
    tally(ledger, endpoint_id, questionnaire)        -> Tally
    missing(ledger, endpoint_id, questionnaire)      -> Missing

Nothing here writes, and no more than one question's generations are in memory at a time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.calls import QUESTIONS_AT_ONCE, CallState
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import PairPrompts, PromptSpec
from pytest_memleak.ledger.tables import calls, claims, leases, questions
from pytest_memleak.ledger.tables import generations as generations_
from pytest_memleak.records import FinishReason, Generation


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """What there is for a pair.

    asked, got: generations that the suite asks for, and those that are there, withheld ones
                included; withheld: counts by finish reason
    calls, lost, recovered: calls made; those whose fate nobody knows, counted as billed; those
                whose answer was cut off and found again at the provider
    cost:       US$, lost calls at their worst; None where no price was known
    """

    asked: int
    got: int
    withheld: dict[FinishReason, int]
    calls: int = 0
    lost: int = 0
    recovered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not there yet, per question in order.

    free:      ordinals that nobody draws now
    elsewhere: how many are being drawn by calls that are open
    in_batches: how many belong to batches that have not been read
    """

    free: dict[PromptSpec, list[int]]
    elsewhere: int
    in_batches: int

    @property
    def count(self) -> int:
        """How many ordinals nobody draws now."""
        return sum(map(len, self.free.values()))


def generations(
    ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts
) -> Iterator[Generation]:
    """Every generation of the pair that is there: by excerpt in the book's order, by ordinal."""
    numbers = numbers_of(ledger, endpoint_id, questionnaire.questions)
    for question in questionnaire.questions:
        number = numbers.get(question.key)
        if number is not None:
            for row in ledger.read(_RowsOf(number, questionnaire.samples)):
                yield Generation(
                    question.excerpt_id,
                    row.ordinal,
                    row.text,
                    FinishReason(row.finish_reason),
                    row.prompt_tokens,
                    row.completion_tokens,
                    row.finish_word,
                    row.reasoning or "",
                )


@dataclass(frozen=True, slots=True)
class _RowsOf:
    question: int
    samples: int

    def __call__(self, connection: Connection) -> Sequence[Any]:
        columns = generations_.c
        return connection.execute(
            sa.select(
                columns.ordinal,
                columns.text,
                columns.finish_reason,
                columns.prompt_tokens,
                columns.completion_tokens,
                columns.finish_word,
                columns.reasoning,
            )
            .where(
                columns.question == self.question,
                columns.ordinal >= 0,
                columns.ordinal < self.samples,
            )
            .order_by(columns.ordinal)
        ).all()


def tally(ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts) -> LedgerCounts:
    """Counts of what is there for the pair, and what its calls have cost."""
    numbers = list(numbers_of(ledger, endpoint_id, questionnaire.questions).values())

    def work(connection: Connection) -> LedgerCounts:
        reasons: Counter[str] = Counter()
        states: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        priced = False
        for some in _in_parts(numbers):
            column = generations_.c
            for reason, count in connection.execute(
                sa.select(column.finish_reason, sa.func.count())
                .where(column.question.in_(some))
                .where(column.ordinal >= 0, column.ordinal < questionnaire.samples)
                .group_by(column.finish_reason)
            ):
                reasons[reason] += count
            for row in connection.execute(_SUMS.where(calls.c.question.in_(some))):
                states[row.state] += row.calls
                priced = priced or row.priced > 0
                for name in ("recovered", "prompt_tokens", "completion_tokens", "cost"):
                    sums[name] += int(getattr(row, name) or 0)
        return LedgerCounts(
            asked=questionnaire.asked,
            got=reasons.total(),
            withheld={
                reason: reasons[reason]
                for reason in FinishReason
                if reason.withheld and reasons[reason]
            },
            calls=states[CallState.ANSWERED] + states[CallState.LOST],
            lost=states[CallState.LOST],
            recovered=sums["recovered"],
            prompt_tokens=sums["prompt_tokens"],
            completion_tokens=sums["completion_tokens"],
            cost=sums["cost"] / 1e9 if priced else None,
        )

    return ledger.read(work)


_SUMS = (
    sa.select(
        calls.c.state,
        sa.func.count().label("calls"),
        sa.func.sum(sa.case((calls.c.recovered, 1), else_=0)).label("recovered"),
        sa.func.sum(calls.c.prompt_tokens).label("prompt_tokens"),
        sa.func.sum(calls.c.completion_tokens).label("completion_tokens"),
        sa.func.sum(calls.c.cost).label("cost"),
        sa.func.count(calls.c.estimate).label("priced"),
    )
    .where(calls.c.kind != "import")
    .group_by(calls.c.state)
)


def missing(ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts) -> Missing:
    """The ordinals that are not there yet. What a dead process was drawing counts as free."""
    numbers = numbers_of(ledger, endpoint_id, questionnaire.questions)
    samples = questionnaire.samples

    def work(connection: Connection) -> tuple[dict[int, set[int]], int, int]:
        there: dict[int, set[int]] = defaultdict(set)
        elsewhere = in_batches = 0
        for some in _in_parts(list(numbers.values())):
            column = generations_.c
            for number, ordinal in connection.execute(
                sa.select(column.question, column.ordinal)
                .where(column.question.in_(some))
                .where(column.ordinal >= 0, column.ordinal < samples)
            ):
                there[number].add(ordinal)
            for number, ordinal, batch in connection.execute(
                _HELD.where(claims.c.question.in_(some), claims.c.ordinal < samples)
            ):
                if ordinal in there[number]:
                    continue
                there[number].add(ordinal)
                if batch is None:
                    elsewhere += 1
                else:
                    in_batches += 1
        return there, elsewhere, in_batches

    there, elsewhere, in_batches = ledger.read(work)
    free = {}
    for question in questionnaire.questions:
        drawn = there.get(numbers.get(question.key, 0), ())
        left = [ordinal for ordinal in range(samples) if ordinal not in drawn]
        if left:
            free[question] = left
    return Missing(free, elsewhere, in_batches)


# Claims of calls that somebody will see through: a batch's, and a living lease's.
_HELD = (
    sa.select(claims.c.question, claims.c.ordinal, calls.c.batch)
    .join(calls, calls.c.id == claims.c.call)
    .join(leases, leases.c.id == calls.c.lease, isouter=True)
    .where(
        sa.or_(
            calls.c.batch.is_not(None),
            sa.and_(leases.c.id.is_not(None), leases.c.ended.is_(None)),
        )
    )
)


def numbers_of(
    ledger: Ledger, endpoint_id: str, wanted: Iterable[PromptSpec]
) -> dict[tuple[str, str], int]:
    """The rows of those questions that were put to the endpoint before, by key."""
    keys = {question.key for question in wanted}
    found = ledger.read(
        lambda connection: connection.execute(
            sa.select(
                questions.c.instruction_digest, questions.c.settings_digest, questions.c.id
            ).where(questions.c.endpoint == endpoint_id)
        ).all()
    )
    return {(a, b): number for a, b, number in found if (a, b) in keys}


def _in_parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), QUESTIONS_AT_ONCE):
        yield numbers[start : start + QUESTIONS_AT_ONCE]
