"""Listings of a ledger: endpoints with their generations, fine-tunes, and batches.

Times are in seconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.call_states import (
    IS_ANSWERED,
    IS_BILLED,
    IS_LOST,
    IS_OPEN,
    TOKEN_AND_COST_SUMS,
)
from pytest_memleak.ledger.generation_ordinals import IS_PLACED, IS_SURPLUS
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.statements import count_where
from pytest_memleak.ledger.tables import (
    SETTING,
    batches,
    calls,
    generations,
    jobs,
    stored_prompts,
)
from pytest_memleak.records import FinishReason

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{16,}$")
_LEAST_DIGITS = 4


def list_endpoints(ledger: Ledger) -> Sequence[Any]:
    """List the sums of each endpoint, book, temperature, and seed, in that order.

    excerpts:    prompts sent
    generations: completions stored, including withheld ones
    surplus:     those without a place
    calls:       paid ones, including lost ones
    open:        calls without an outcome
    billed:      US$ of answered calls; None without a price
    cost:        the same, with lost calls at their highest cost
    """
    return ledger.rows(_ENDPOINTS)


def resolve_endpoint(ledger: Ledger, name: str) -> str:
    """Return the endpoint whose id or digest starts with `name`; `name` if none does.

    A digest needs at least four digits; a trailing "..." is ignored. Raises LedgerError
    if several endpoints match.
    """
    start = name.removesuffix("…").removesuffix("...")
    rows = ledger.rows(sa.select(stored_prompts.c.endpoint).distinct())
    ids = [row.endpoint for row in rows]
    if name in ids:
        return name
    matches = [endpoint_id for endpoint_id in ids if _digest_begins(endpoint_id, start)]
    if len(matches) > 1:
        raise LedgerError(
            f"{name!r} matches {len(matches)} endpoints: {', '.join(sorted(matches))}",
            location=ledger.place,
            hint="type more of the id",
        )
    return matches[0] if matches else name


def _digest_begins(endpoint: str, begin: str) -> bool:
    digest = _DIGEST.search(endpoint)
    if digest is None:
        return False
    if digest[0].startswith(begin):
        return len(begin) >= _LEAST_DIGITS
    digits = len(begin) - digest.start()
    return endpoint.startswith(begin) and digits >= _LEAST_DIGITS


def list_jobs(ledger: Ledger) -> Sequence[Any]:
    """List every fine-tune, oldest first."""
    return ledger.rows(_JOBS)


def list_batches(ledger: Ledger) -> Sequence[Any]:
    """List every batch, oldest first, with the numbers of requests and of answers."""
    return ledger.rows(_BATCHES)


_JOBS = sa.select(
    jobs.c.provider,
    jobs.c.digest,
    jobs.c.job_id,
    jobs.c.state,
    jobs.c.endpoint,
    jobs.c.examples,
    jobs.c.tokens,
    jobs.c.cause,
    jobs.c.began,
    jobs.c.ended,
).order_by(jobs.c.id)
_REQUESTS = sa.select(sa.func.count()).where(calls.c.batch == batches.c.id)
_BATCHES = sa.select(
    batches.c.provider,
    batches.c.endpoint,
    batches.c.digest,
    batches.c.job_id.label("batch_id"),
    batches.c.state,
    _REQUESTS.scalar_subquery().label("requests"),
    _REQUESTS.where(IS_ANSWERED).scalar_subquery().label("answered"),
    batches.c.cause,
    batches.c.began,
    batches.c.ended,
).order_by(batches.c.id)


def _sum(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)


_WITHHELD_REASONS = [
    reason
    for reason in FinishReason
    if reason.withheld and reason is not FinishReason.EMPTY
]
_IS_WITHHELD = generations.c.finish_reason.in_(_WITHHELD_REASONS)
_GENERATIONS = (
    sa.select(
        generations.c.prompt,
        count_where(IS_PLACED).label("generations"),
        count_where(sa.and_(IS_PLACED, _IS_WITHHELD)).label("withheld"),
        count_where(IS_SURPLUS).label("surplus"),
    )
    .group_by(generations.c.prompt)
    .subquery()
)
_CALLS = (
    sa.select(
        calls.c.prompt,
        count_where(IS_BILLED).label("calls"),
        count_where(IS_LOST).label("lost"),
        count_where(IS_OPEN).label("open"),
        *TOKEN_AND_COST_SUMS,
    )
    .group_by(calls.c.prompt)
    .subquery()
)


def _dollars(column: sa.ColumnElement[int]) -> sa.ColumnElement[float]:
    """Return a sum in US$; null if no call was priced."""
    dollars = sa.cast(_sum(column), sa.Float) / 1e9
    return sa.case((_sum(_CALLS.c.priced) > 0, dollars))


_ENDPOINTS = (
    sa.select(
        *SETTING,
        sa.func.count().label("excerpts"),
        _sum(_GENERATIONS.c.generations).label("generations"),
        _sum(_GENERATIONS.c.withheld).label("withheld"),
        _sum(_GENERATIONS.c.surplus).label("surplus"),
        _sum(_CALLS.c.calls).label("calls"),
        _sum(_CALLS.c.lost).label("lost"),
        _sum(_CALLS.c.open).label("open"),
        _sum(_CALLS.c.prompt_tokens).label("prompt_tokens"),
        _sum(_CALLS.c.completion_tokens).label("completion_tokens"),
        _dollars(_CALLS.c.billed).label("billed"),
        _dollars(_CALLS.c.cost).label("cost"),
    )
    .select_from(stored_prompts)
    .outerjoin(_GENERATIONS, _GENERATIONS.c.prompt == stored_prompts.c.id)
    .outerjoin(_CALLS, _CALLS.c.prompt == stored_prompts.c.id)
    .group_by(*SETTING)
    .order_by(*SETTING)
)
