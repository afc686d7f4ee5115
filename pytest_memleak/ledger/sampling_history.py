"""Sampling history: which model generated a pair's texts, when, and in which attempt.

docs/method.md defines the rules.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError, SettingsError
from pytest_memleak.interfaces.protocols import Served
from pytest_memleak.ledger.call_states import IS_LOST, IS_OPEN, CallState, call_end
from pytest_memleak.ledger.generation_ordinals import (
    IS_PLACED,
    IS_SURPLUS,
    is_requested,
)
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import stored_prompt_numbers
from pytest_memleak.ledger.prompts import PairPrompts
from pytest_memleak.ledger.same_model import (
    SERIES_MARK,
    WEIGHTS_VERSION_MARK,
    same_model_endpoints,
)
from pytest_memleak.ledger.statements import count_where, split_for_statement
from pytest_memleak.ledger.tables import (
    SETTING,
    calls,
    claims,
    generations,
    stored_prompts,
)
from pytest_memleak.records import FinishReason


def with_weights_version(endpoint_id: str, release: str) -> str:
    """Return the ledger's name of an endpoint with this weights version, if any.

    Raises SettingsError if the id already contains a version.
    """
    if WEIGHTS_VERSION_MARK in endpoint_id:
        raise SettingsError(
            f"The endpoint id {endpoint_id!r} contains {WEIGHTS_VERSION_MARK!r}",
            hint=f"rename the endpoint without {WEIGHTS_VERSION_MARK!r}",
        )
    if not release:
        return endpoint_id
    return f"{endpoint_id}{WEIGHTS_VERSION_MARK}{release}"


def next_series(endpoint_id: str) -> str:
    """Return the ledger's name of the series that follows `endpoint_id`."""
    name, series, number = endpoint_id.rpartition(SERIES_MARK)
    if not series:
        return f"{endpoint_id}{SERIES_MARK}2"
    return f"{name}{SERIES_MARK}{int(number) + 1}"


@dataclass(frozen=True, slots=True)
class SamplingHistory:
    """The source of a pair's generations. Times are seconds since 1970.

    first, last:           when the first and the last were sampled; None without any
    first_call, last_call: row ids, whose order no clock changes; 0 without any
    calls_this_run:        answered calls of the ledger's run that returned some
    calls:                 answered calls of any run that returned some
    served:                the models that answered, each with its number of calls,
                           without response ids
    writers:               the names that servers gave the models whose calls brought
                           text, each with its number of calls; None for no name
    refused:               settings that the server rejected in any call
    """

    first: float | None
    last: float | None
    first_call: int
    last_call: int
    calls_this_run: int
    calls: int
    served: tuple[tuple[Served, int], ...]
    writers: Mapping[str | None, int]
    refused: tuple[str, ...]

    @property
    def is_reused(self) -> bool:
        """Whether some generations are of other runs than the ledger's."""
        return self.calls > self.calls_this_run


def summarize_history(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> SamplingHistory:
    """Summarize where the pair's generations (ordinals below `samples`) come from."""
    numbers = stored_prompt_numbers(ledger, endpoint_id, prompts)
    own_calls = _SAMPLING_CALLS.where(is_requested(prompts.samples))

    def select_calls(connection: Connection) -> list[Any]:
        rows: list[Any] = []
        for some in split_for_statement(numbers):
            query = own_calls.where(generations.c.prompt.in_(some))
            rows += connection.execute(query)
        return rows

    sampled = ledger.read(select_calls)
    times = [row.ended or row.began for row in sampled]
    call_numbers = [row.id for row in sampled]
    served = Counter(Served(row.model, row.fingerprint) for row in sampled)
    return SamplingHistory(
        first=min(times, default=None),
        last=max(times, default=None),
        first_call=min(call_numbers, default=0),
        last_call=max(call_numbers, default=0),
        calls_this_run=sum(row.run == ledger.run for row in sampled),
        calls=len(sampled),
        served=tuple(served.most_common()),
        writers=Counter(row.model for row in sampled if row.has_text),
        refused=_rejected_settings(ledger, (row.refused for row in sampled)),
    )


def _rejected_settings(ledger: Ledger, lists: Iterable[str | None]) -> tuple[str, ...]:
    names: set[str] = set()
    try:
        for listed in lists:
            names.update(json.loads(listed or "[]"))
        return tuple(sorted(names))
    except (ValueError, TypeError):
        raise LedgerError(
            "The ledger is damaged: a call's rejected settings aren't a list of names",
            location=ledger.place,
            hint="run memleak ledger verify, and restore a copy",
        ) from None


# What a filter rejected, or what reasoning used up, names no model.
_WITHOUT_TEXT = (FinishReason.CONTENT_FILTER, FinishReason.EMPTY)
_HAS_TEXT = sa.case((generations.c.finish_reason.in_(_WITHOUT_TEXT), 0), else_=1)
_SAMPLING_CALLS = (
    sa.select(
        calls.c.id,
        calls.c.run,
        calls.c.began,
        calls.c.ended,
        calls.c.model,
        calls.c.fingerprint,
        calls.c.refused,
        sa.func.max(_HAS_TEXT).label("has_text"),
    )
    .join(calls, calls.c.id == generations.c.call)
    .group_by(calls.c.id)
)


def first_open_call(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> int | None:
    """Return the first call that may still bring another run's generation for the pair.

    By row id; None without any. Batches are read by later runs.
    """
    numbers = stored_prompt_numbers(ledger, endpoint_id, prompts)
    first_open = (
        sa.select(sa.func.min(calls.c.id))
        .join(claims, claims.c.call == calls.c.id)
        .where(IS_OPEN, calls.c.run != ledger.run, claims.c.ordinal < prompts.samples)
    )
    first_calls = []
    for some in split_for_statement(numbers):
        ((call,),) = ledger.rows(first_open.where(claims.c.prompt.in_(some)))
        if call is not None:
            first_calls.append(call)
    return min(first_calls, default=None)


def lost_calls(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    *,
    until: float,
) -> int:
    """Count the pair's lost calls that ended by then (since 1970): maybe billed."""
    numbers = stored_prompt_numbers(ledger, endpoint_id, prompts)
    lost = sa.select(sa.func.count()).where(IS_LOST, calls.c.ended <= until)
    count = 0
    for some in split_for_statement(numbers):
        lost_of_some = lost.where(calls.c.prompt.in_(some))
        ((part,),) = ledger.rows(lost_of_some)
        count += part
    return count


def list_attempts(
    ledger: Ledger,
    endpoint_id: str,
    book_id: str | None = None,
) -> Sequence[Any]:
    """List every attempt of an endpoint's model for a book (None: any), oldest first.

    An attempt is one run's samples with one setting:

    kind:        sample or batch
    run:         the run
    excerpts:    prompts sent
    calls:       all of them
    answered, lost, failed: calls with that outcome
    generations: those with a place
    surplus:     those whose place was taken
    removed:     those received that are no longer in the ledger
    first, last: when it began and ended, in seconds since 1970

    Endpoints with the same weights count as one, as do books with the same words,
    whatever their ids. Raises LedgerError if there is none.
    """
    book: sa.ColumnElement[bool] = sa.true()
    if book_id is not None:
        is_book = stored_prompts.c.book == book_id
        same_words = sa.select(stored_prompts.c.book_words).where(is_book)
        book = stored_prompts.c.book_words.in_(same_words)
    history = settings_sampled(ledger, endpoint_id, book, until=math.inf)
    if not history:
        of_book = f" for book {book_id!r}" if book_id else ""
        raise LedgerError(
            f"No samples from endpoint {endpoint_id!r}{of_book}",
            location=ledger.place,
            hint="see `memleak ledger list`",
        )
    return history


def called_between(
    ledger: Ledger,
    endpoint_id: str,
    book_words: str,
    after: float,
    until: float,
) -> bool:
    """Tell whether a call for a book ended after `after`, up to `until`."""
    query = (
        sa.select(calls.c.id)
        .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
        .where(
            stored_prompts.c.endpoint == endpoint_id,
            stored_prompts.c.book_words == book_words,
            call_end > after,
            call_end <= until,
        )
        .limit(1)
    )
    return bool(ledger.rows(query))


def settings_sampled(
    ledger: Ledger,
    endpoint_id: str,
    book: sa.ColumnElement[bool],
    *,
    until: float,
) -> Sequence[Any]:
    """List the attempts of an endpoint's model for a book, under any endpoint id."""
    same_model = same_model_endpoints(ledger, endpoint_id, book, until=until)
    query = _ATTEMPTS.where(stored_prompts.c.endpoint.in_(same_model), book)
    return ledger.rows(query)


_RECEIVED = (
    sa.select(
        generations.c.call,
        count_where(IS_PLACED).label("placed"),
        count_where(IS_SURPLUS).label("surplus"),
    )
    .group_by(generations.c.call)
    .subquery()
)
_PLACED = sa.func.coalesce(_RECEIVED.c.placed, 0)
_SURPLUS = sa.func.coalesce(_RECEIVED.c.surplus, 0)
_REMOVED = sa.func.coalesce(calls.c.came, 0) - _PLACED - _SURPLUS


def _count_calls_in_state(state: CallState) -> sa.ColumnElement[int]:
    return count_where(calls.c.state == state).label(state)


def _total(counts: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.sum(counts), sa.Integer)


_ATTEMPT = (*SETTING, calls.c.kind, calls.c.run)
_ATTEMPTS = (
    sa.select(
        *_ATTEMPT,
        sa.func.count(calls.c.prompt.distinct()).label("excerpts"),
        sa.func.count().label("calls"),
        _count_calls_in_state(CallState.ANSWERED),
        _count_calls_in_state(CallState.LOST),
        _count_calls_in_state(CallState.FAILED),
        _total(_PLACED).label("generations"),
        _total(_SURPLUS).label("surplus"),
        _total(_REMOVED).label("removed"),
        sa.func.min(calls.c.began).label("first"),
        sa.func.max(call_end).label("last"),
    )
    .select_from(calls)
    .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
    .outerjoin(_RECEIVED, _RECEIVED.c.call == calls.c.id)
    .group_by(*_ATTEMPT)
    .order_by(sa.func.min(calls.c.began), *_ATTEMPT)
)
