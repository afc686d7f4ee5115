"""A pair's generations in the ledger, their counts and costs, and summaries of excerpts.

Only some prompts' generations are in memory at a time.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.call_outcomes import CallState, prompt_ids_by_key
from pytest_memleak.ledger.generation_texts import texts_of_calls
from pytest_memleak.ledger.hash_chain import changed, text_digest
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import PairPrompts, PromptSpec
from pytest_memleak.ledger.tables import (
    calls,
    claims,
    in_parts,
    insert_where_new,
    leases,
)
from pytest_memleak.ledger.tables import generations as generations_
from pytest_memleak.ledger.tables import summaries as summaries_
from pytest_memleak.records import FinishReason, Generation


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """The counts of a pair's generations and calls.

    asked, got: generations that the suite requests, and those that are stored, withheld
    ones
                included; withheld: counts by finish reason
    calls, lost, recovered: calls made; those with an unknown outcome, counted as
    billed; those
                whose interrupted answer was recovered from the provider
    cost:       US$, lost calls at their highest cost; None without a price
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
    """A pair's missing generations, by prompt in order.

    free:       ordinals that no open call is sampling
    elsewhere:  the number of ordinals that open calls are sampling; holder: the process
    that has
                done so for the longest
    in_batches: the number of ordinals in batches whose results weren't read yet
    """

    free: dict[PromptSpec, list[int]]
    elsewhere: int
    in_batches: int
    holder: str

    @property
    def count(self) -> int:
        """The number of ordinals that no open call is sampling."""
        return sum(map(len, self.free.values()))


def generations(
    ledger: Ledger, endpoint_id: str, prompts: PairPrompts
) -> Iterator[Generation]:
    """Yield the pair's stored generations, by excerpt in book order, then by ordinal."""
    numbers = stored_prompt_ids(ledger, endpoint_id, prompts.questions)
    columns = generations_.c
    query = (
        sa.select(generations_)
        .where(columns.ordinal >= 0, columns.ordinal < prompts.samples)
        .order_by(columns.ordinal)
    )
    sent = [question for question in prompts.questions if question.key in numbers]
    at_once = max(1, _AT_ONCE // max(1, prompts.samples))
    for some in (
        sent[start : start + at_once] for start in range(0, len(sent), at_once)
    ):
        of_some = query.where(
            columns.question.in_([numbers[question.key] for question in some])
        )
        with ledger.explaining_damage():
            by_prompt: dict[int, list[tuple[Any, str, str]]] = defaultdict(list)
            for row, *texts in rows_with_texts(ledger, of_some):
                by_prompt[row.question].append((row, *texts))
            generations = [
                _generation(question.excerpt_id, row.ordinal, row, *texts)
                for question in some
                for row, *texts in by_prompt[numbers[question.key]]
            ]
        yield from generations


_AT_ONCE = 500  # generations


def _generation(
    excerpt_id: str, ordinal: int, row: Any, text: str, reasoning: str
) -> Generation:
    return Generation(
        excerpt_id,
        ordinal,
        text,
        FinishReason(row.finish_reason),
        row.prompt_tokens,
        row.completion_tokens,
        row.finish_word,
        reasoning,
    )


def rows_with_texts(
    ledger: Ledger, query: sa.Select[Any]
) -> Sequence[tuple[Any, str, str]]:
    """Return the rows of a query for generations, each with its text and reasoning.

    Raises LedgerError unless each of their calls has as many texts as came, in places
    from 0.
    """

    def work(connection: Connection) -> Sequence[tuple[Any, str, str]]:
        rows = connection.execute(query).all()
        texts = texts_of_calls(connection, (row.call for row in rows))
        stored: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
        for some in in_parts(list({row.question for row in rows})):
            for call, place, came in connection.execute(_PLACES, {"questions": some}):
                stored[call].append((place, came))
        for call in {row.call for row in rows}:
            came = len(texts.get(call, ()))
            if sorted(stored[call]) != [(place, came) for place in range(came)]:
                raise LedgerError(
                    f"The ledger is damaged: the generations of call {call} aren't "
                    "those received",
                    location=ledger.place,
                    hint="run memleak ledger verify, and restore a copy",
                )
        return [(row, *texts[row.call][row.place]) for row in rows]

    return ledger.read(work)


_PLACES = (
    sa.select(generations_.c.call, generations_.c.place, calls.c.came)
    .join(calls, calls.c.id == generations_.c.call)
    .where(generations_.c.question.in_(sa.bindparam("questions", expanding=True)))
)


def tally(ledger: Ledger, endpoint_id: str, prompts: PairPrompts) -> LedgerCounts:
    """Count the pair's generations and calls, and add up their cost."""
    numbers = list(stored_prompt_ids(ledger, endpoint_id, prompts.questions).values())

    def work(connection: Connection) -> LedgerCounts:
        reasons: Counter[str] = Counter()
        states: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        priced = False
        for some in in_parts(numbers):
            column = generations_.c
            for reason, count in connection.execute(
                sa.select(column.finish_reason, sa.func.count())
                .where(column.question.in_(some))
                .where(column.ordinal >= 0, column.ordinal < prompts.samples)
                .group_by(column.finish_reason)
            ):
                reasons[reason] += count
            for row in connection.execute(_SUMS.where(calls.c.question.in_(some))):
                states[row.state] += row.calls
                priced = priced or row.priced > 0
                for name in ("recovered", "prompt_tokens", "completion_tokens", "cost"):
                    sums[name] += int(getattr(row, name) or 0)
        return LedgerCounts(
            asked=prompts.asked,
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


_SUMS = sa.select(
    calls.c.state,
    sa.func.count().label("calls"),
    sa.func.sum(sa.case((calls.c.recovered, 1), else_=0)).label("recovered"),
    sa.func.sum(calls.c.prompt_tokens).label("prompt_tokens"),
    sa.func.sum(calls.c.completion_tokens).label("completion_tokens"),
    sa.func.sum(calls.c.cost).label("cost"),
    sa.func.count(calls.c.estimate).label("priced"),
).group_by(calls.c.state)


def missing(ledger: Ledger, endpoint_id: str, prompts: PairPrompts) -> Missing:
    """Find the ordinals that aren't stored. A dead process's ordinals count as free."""
    numbers = stored_prompt_ids(ledger, endpoint_id, prompts.questions)
    samples = prompts.samples

    def work(connection: Connection) -> tuple[dict[int, set[int]], list[Any]]:
        present: dict[int, set[int]] = defaultdict(set)
        held: list[Any] = []
        for some in in_parts(list(numbers.values())):
            column = generations_.c
            for number, ordinal in connection.execute(
                sa.select(column.question, column.ordinal)
                .where(column.question.in_(some))
                .where(column.ordinal >= 0, column.ordinal < samples)
            ):
                present[number].add(ordinal)
            rows = connection.execute(
                _HELD.where(claims.c.question.in_(some), claims.c.ordinal < samples)
            )
            held += [row for row in rows if row.ordinal not in present[row.question]]
        return present, held

    with ledger.explaining_damage():
        present, held = ledger.read(work)
        for row in held:
            present[row.question].add(row.ordinal)
        free = {}
        for question in prompts.questions:
            occupied = present.get(numbers.get(question.key, 0), ())
            absent = [ordinal for ordinal in range(samples) if ordinal not in occupied]
            if absent:
                free[question] = absent
        elsewhere = [row for row in held if row.batch is None]
        holder = ""
        if first := min(elsewhere, key=lambda row: row.began, default=None):
            since = time.strftime("%H:%M:%S", time.localtime(first.began))
            holder = f"process {first.pid} on {first.host} (since {since})"
        return Missing(free, len(elsewhere), len(held) - len(elsewhere), holder)


# Reserved ordinals of calls that will be finished: a batch's, and a running process's.
_HELD = (
    sa.select(
        *(claims.c.question, claims.c.ordinal),
        *(calls.c.batch, calls.c.began, leases.c.host, leases.c.pid),
    )
    .join(calls, calls.c.id == claims.c.call)
    .join(leases, leases.c.id == calls.c.lease, isouter=True)
    .where(
        sa.or_(
            calls.c.batch.is_not(None),
            sa.and_(leases.c.id.is_not(None), leases.c.ended.is_(None)),
        )
    )
)


def stored_prompt_ids(
    ledger: Ledger, endpoint_id: str, prompt_specs: Iterable[PromptSpec]
) -> dict[tuple[str, str], int]:
    """Return the row ids of those prompts that were sent to the endpoint, by key."""
    keys = {question.key for question in prompt_specs}
    return ledger.read(
        lambda connection: prompt_ids_by_key(connection, endpoint_id, keys)
    )


def surplus(
    ledger: Ledger, endpoint_id: str, prompts: PairPrompts, *, until: float
) -> Iterator[Generation]:
    """Yield what was received by `until` (seconds since 1970) beyond the requested samples.

    By excerpt, those that once had a place first; ordinals start again at 0.
    docs/method.md reports a surplus: races between processes and late answers cause
    some of it.
    """
    counts: Counter[str] = Counter()
    for excerpt_id, row, *texts in _surplus_rows(ledger, endpoint_id, prompts, until):
        yield _generation(excerpt_id, counts[excerpt_id], row, *texts)
        counts[excerpt_id] += 1


def unrequested(
    ledger: Ledger, endpoint_id: str, prompts: PairPrompts, *, until: float
) -> Iterator[Generation]:
    """Yield what servers sent by `until` beyond what a call requested; ordinals start at `samples`.

    An answer recovered from the provider may include that of a second attempt, which is
    no fault.
    """
    extra: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    for excerpt_id, row, *texts in _surplus_rows(ledger, endpoint_id, prompts, until):
        if (
            row.ordinal < 0
            and not row.recovered
            and extra[row.call] < (row.came or 0) - row.asked
        ):
            extra[row.call] += 1
            ordinal = prompts.samples + counts[excerpt_id]
            yield _generation(excerpt_id, ordinal, row, *texts)
            counts[excerpt_id] += 1


def _surplus_rows(
    ledger: Ledger, endpoint_id: str, prompts: PairPrompts, until: float
) -> Iterator[tuple[str, Any, str, str]]:
    """Yield the excerpt of each surplus row, the row, its text, and its reasoning."""
    numbers_by_key = stored_prompt_ids(ledger, endpoint_id, prompts.questions)
    excerpts = {
        number: prompt.excerpt_id
        for prompt in prompts.questions
        if (number := numbers_by_key.get(prompt.key)) is not None
    }
    for some in in_parts(list(excerpts)):
        query = _BESIDE.where(
            generations_.c.question.in_(some),
            sa.or_(
                generations_.c.ordinal < 0, generations_.c.ordinal >= prompts.samples
            ),
            sa.func.coalesce(calls.c.ended, calls.c.began) <= until,
        )
        for row, text, reasoning in rows_with_texts(ledger, query):
            yield excerpts[row.question], row, text, reasoning


_BESIDE = (
    sa.select(generations_, calls.c.asked, calls.c.came, calls.c.recovered)
    .join(calls, calls.c.id == generations_.c.call)
    .order_by(
        generations_.c.question,
        generations_.c.ordinal < 0,
        sa.func.abs(generations_.c.ordinal),
    )
)


def stored_summaries(
    ledger: Ledger, summarizer: str, texts: Iterable[str]
) -> dict[str, str]:
    """Return this summarizer's stored summaries, by the text they summarize.

    `summarizer` identifies model, prompt, and settings: whatever changes a summary.
    """
    by_digest = {text_digest(text): text for text in texts}
    own = sa.select(summaries_.c.text_digest, summaries_.c.text).where(
        summaries_.c.summarizer == text_digest(summarizer)
    )

    def work(connection: Connection) -> dict[str, str]:
        return {
            by_digest[row.text_digest]: row.text
            for some in in_parts(list(by_digest))
            for row in connection.execute(own.where(summaries_.c.text_digest.in_(some)))
        }

    return ledger.read(work)


def keep_summary(ledger: Ledger, summarizer: str, text: str, summary: str) -> None:
    """Store a summary unless one is stored already, so that none is paid for twice."""
    row = {
        "text_digest": text_digest(text),
        "summarizer": text_digest(summarizer),
        "text": summary,
        "made": time.time(),
    }

    def work(connection: Connection) -> None:
        added = connection.execute(insert_where_new(connection, summaries_).values(row))
        if added.rowcount:
            changed(connection, summaries_, [row])

    ledger.write(work)
