"""Completions that calls requested: those that the server delivered, and lost ones.

A completion is lost if the server had the request, and it never came or came empty
(docs/method.md): a choice that an answer lacks, one without text, or all that a failed
call requested. Failures with no answer between them are one outage, and only the first
counts.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pytest_memleak.ledger.call_states import (
    IS_ANSWERED,
    NO_RESPONSE_IN_BATCH,
    CallState,
    loses_completions,
)
from pytest_memleak.ledger.generation_ordinals import is_requested
from pytest_memleak.ledger.ledger_queries import stored_prompt_ids
from pytest_memleak.ledger.statements import split_for_statement
from pytest_memleak.ledger.tables import calls, generations, stored_prompts
from pytest_memleak.records import FinishReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.prompts import PairPrompts


@dataclass(frozen=True, slots=True)
class Delivered:
    """Completions of some prompts, per excerpt.

    requested: delivered and lost ones
    lost: those that never came or came empty
    missing_choices: of all lost ones, choices that an answer lacked
    """

    requested: Mapping[str, int]
    lost: Mapping[str, int]
    missing_choices: int

    @property
    def all_requested(self) -> int:
        """The requested completions of all excerpts."""
        return sum(self.requested.values())

    @property
    def all_lost(self) -> int:
        """The lost completions of all excerpts."""
        return sum(self.lost.values())


def count_delivered_and_lost(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    *,
    until: float,
) -> Delivered:
    """Count what the prompts' calls that ended by `until` (since 1970) requested.

    Calls beyond the requested samples count, too: each could be lost.
    """
    ids = stored_prompt_ids(ledger, endpoint_id, prompts.specs)
    excerpts = {
        ids[prompt.key]: prompt.excerpt_id
        for prompt in prompts.specs
        if prompt.key in ids
    }
    most = _most_in_one_call(ledger, endpoint_id, until)
    requested: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for row in _delivered_and_missing(ledger, excerpts, most, until):
        excerpt = excerpts[row.prompt]
        lost[excerpt] += row.missing
        requested[excerpt] += row.came + row.missing
    missing_choices = lost.total()
    for prompt, count in _empty_completions(ledger, excerpts, until):
        lost[excerpts[prompt]] += count
    for row in _calls_that_lost(ledger, endpoint_id, until):
        if row.prompt in excerpts:
            excerpt = excerpts[row.prompt]
            completions = min(row.asked, max(most, 1))
            lost[excerpt] += completions
            requested[excerpt] += completions
    return Delivered(requested, lost, missing_choices)


def _most_in_one_call(
    ledger: Ledger,
    endpoint_id: str,
    until: float,
) -> int:
    """Return the most completions that any call to the endpoint returned.

    A server that caps or ignores `n` doesn't lose what lies beyond.
    """
    query = (
        sa.select(sa.func.max(calls.c.came))
        .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
        .where(stored_prompts.c.endpoint == endpoint_id, calls.c.ended <= until)
    )
    ((most,),) = ledger.rows(query)
    return most or 0


def _delivered_and_missing(
    ledger: Ledger,
    prompt_ids: Iterable[int],
    most: int,
    until: float,
) -> Iterator[Any]:
    """Yield per prompt the completions that came, and the choices that were missing."""
    expected = sa.case((calls.c.asked < most, calls.c.asked), else_=most)
    lacking = sa.case((calls.c.came < expected, expected - calls.c.came), else_=0)
    sums = (
        sa.select(
            calls.c.prompt,
            sa.cast(sa.func.sum(calls.c.came), sa.Integer).label("came"),
            sa.cast(sa.func.sum(lacking), sa.Integer).label("missing"),
        )
        .where(IS_ANSWERED, calls.c.ended <= until)
        .group_by(calls.c.prompt)
    )
    for some in split_for_statement(list(prompt_ids)):
        yield from ledger.rows(sums.where(calls.c.prompt.in_(some)))


def _empty_completions(
    ledger: Ledger,
    prompt_ids: Iterable[int],
    until: float,
) -> Iterator[Any]:
    """Yield each prompt with the number of its completions that came without text."""
    query = (
        sa.select(generations.c.prompt, sa.func.count())
        .join(calls, calls.c.id == generations.c.call)
        .where(
            generations.c.finish_reason == FinishReason.EMPTY.value,
            calls.c.ended <= until,
        )
        .group_by(generations.c.prompt)
    )
    for some in split_for_statement(list(prompt_ids)):
        yield from ledger.rows(query.where(generations.c.prompt.in_(some)))


def _calls_that_lost(
    ledger: Ledger,
    endpoint_id: str,
    until: float,
) -> Iterator[Any]:
    """Yield the endpoint's calls that lost completions; of an outage, the first."""
    of_endpoint = (
        sa.select(
            calls.c.id,
            calls.c.prompt,
            calls.c.state,
            calls.c.asked,
            calls.c.cause,
            calls.c.ended,
        )
        .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
        .where(stored_prompts.c.endpoint == endpoint_id, calls.c.ended <= until)
        .order_by(calls.c.ended, calls.c.id)
    )
    unanswered = calls.c.state.in_((CallState.FAILED, CallState.LOST))
    failures = [
        row
        for row in ledger.rows(of_endpoint.where(unanswered))
        if loses_completions(row.state, row.cause)
    ]
    answers: list[tuple[float, int]] = []
    if len(failures) > 1:
        first, last = failures[0].ended, failures[-1].ended
        between = of_endpoint.where(IS_ANSWERED, calls.c.ended.between(first, last))
        answers = [(row.ended, row.id) for row in ledger.rows(between)]
    yield from _first_failure_of_outage(failures, answers)


def _first_failure_of_outage(
    failures: Sequence[Any],
    answers: Sequence[tuple[float, int]],
) -> Iterator[Any]:
    """Yield the failures that an answer separates from the one before them.

    A batch's results come all at once: each request without one counts.

    answers: end and row id of each, in order
    """
    answers_before_last = -1
    for row in failures:
        answers_before = bisect.bisect(answers, (row.ended, row.id))
        if row.cause == NO_RESPONSE_IN_BATCH:
            yield row
            continue
        if answers_before > answers_before_last:
            yield row
        answers_before_last = answers_before


def answered_calls(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> dict[str, int]:
    """Count per excerpt the calls that returned a requested generation, not withheld.

    Completions of one call may be alike, so that they count as one.
    """
    ids = stored_prompt_ids(ledger, endpoint_id, prompts.specs)
    withheld = [reason.value for reason in FinishReason if reason.withheld]
    number = sa.func.count(generations.c.call.distinct()).label("calls")
    query = (
        sa.select(generations.c.prompt, number)
        .where(
            is_requested(prompts.samples),
            generations.c.finish_reason.not_in(withheld),
        )
        .group_by(generations.c.prompt)
    )
    counts: dict[int, int] = {}
    for some in split_for_statement(list(ids.values())):
        rows = ledger.rows(query.where(generations.c.prompt.in_(some)))
        counts.update((row.prompt, row.calls) for row in rows)
    return {
        prompt.excerpt_id: counts.get(ids.get(prompt.key, 0), 0)
        for prompt in prompts.specs
    }
