"""What a ledger holds: endpoints and their generations, jobs, batches. Times are since 1970."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.call_outcomes import OPEN, CallState
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import (
    batches,
    calls,
    count_where,
    generations,
    jobs,
    questions,
)
from pytest_memleak.records import FinishReason

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{16,}$")
_LEAST_DIGITS = 4


def list_endpoints(ledger: Ledger) -> Sequence[Any]:
    """List the sums of each endpoint, book, temperature, and seed, in that order.

    excerpts: prompts sent; generations: completions stored, including withheld ones;
    surplus: those without a place; calls: paid ones, including lost ones; open: calls
    without an outcome; cost: US$, lost calls at their highest cost, None without a
    price.
    """
    return ledger.rows(_ENDPOINTS)


def resolve_endpoint(ledger: Ledger, name: str) -> str:
    """Return the endpoint whose id or digest starts with `name`; `name` if none does.

    A digest needs at least four digits; a trailing "..." is ignored. Raises LedgerError
    if several endpoints match.
    """
    start = name.removesuffix("…").removesuffix("...")
    ids = [
        row.endpoint for row in ledger.rows(sa.select(questions.c.endpoint).distinct())
    ]
    if name in ids:
        return name
    matches = [endpoint_id for endpoint_id in ids if _begins(endpoint_id, start)]
    if len(matches) > 1:
        raise LedgerError(
            f"{name!r} matches {len(matches)} endpoints: {', '.join(sorted(matches))}",
            location=ledger.place,
            hint="type more of the id",
        )
    return matches[0] if matches else name


def _begins(endpoint: str, begin: str) -> bool:
    digest = _DIGEST.search(endpoint)
    if digest is None:
        return False
    whole = digest[0].startswith(begin) and len(begin) >= _LEAST_DIGITS
    return whole or (
        endpoint.startswith(begin) and len(begin) >= digest.start() + _LEAST_DIGITS
    )


def list_jobs(ledger: Ledger) -> Sequence[Any]:
    """List every fine-tune, oldest first."""
    return ledger.rows(_JOBS)


def list_batches(ledger: Ledger) -> Sequence[Any]:
    """List every batch, oldest first, with the number of its requests and those answered."""
    return ledger.rows(_BATCHES)


_JOBS = sa.select(
    *(jobs.c[name] for name in ("provider", "digest", "job_id", "state", "endpoint")),
    *(jobs.c[name] for name in ("examples", "tokens", "cause", "began", "ended")),
).order_by(jobs.c.id)
_REQUESTS = sa.select(sa.func.count()).where(calls.c.batch == batches.c.id)
_BATCHES = sa.select(
    *(batches.c[name] for name in ("provider", "endpoint", "digest")),
    batches.c.job_id.label("batch_id"),
    batches.c.state,
    _REQUESTS.scalar_subquery().label("requests"),
    _REQUESTS.where(calls.c.state == CallState.ANSWERED)
    .scalar_subquery()
    .label("answered"),
    *(batches.c[name] for name in ("cause", "began", "ended")),
).order_by(batches.c.id)


def _sum(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)


_PAID = calls.c.state.in_([CallState.ANSWERED, CallState.LOST])
_WITHHELD = generations.c.finish_reason.in_(
    [
        reason
        for reason in FinishReason
        if reason.withheld and reason is not FinishReason.EMPTY
    ]
)
_GENERATIONS = (
    sa.select(
        generations.c.question,
        count_where(generations.c.ordinal >= 0).label("generations"),
        count_where(sa.and_(generations.c.ordinal >= 0, _WITHHELD)).label("withheld"),
        count_where(generations.c.ordinal < 0).label("surplus"),
    )
    .group_by(generations.c.question)
    .subquery()
)
_CALLS = (
    sa.select(
        calls.c.question,
        count_where(_PAID).label("calls"),
        count_where(calls.c.state == CallState.LOST).label("lost"),
        count_where(calls.c.state.in_(OPEN)).label("open"),
        sa.func.sum(calls.c.prompt_tokens).label("prompt_tokens"),
        sa.func.sum(calls.c.completion_tokens).label("completion_tokens"),
        sa.func.sum(calls.c.cost).label("cost"),
        sa.func.count(calls.c.estimate).label("priced"),
    )
    .group_by(calls.c.question)
    .subquery()
)
_GROUP = (
    questions.c.endpoint,
    questions.c.book,
    questions.c.temperature,
    questions.c.seed,
)
_SUMS = {column.name: _sum(column) for column in (*_GENERATIONS.c, *_CALLS.c)}
_COST = sa.case((_SUMS["priced"] > 0, sa.cast(_SUMS["cost"], sa.Float) / 1e9))
_ENDPOINTS = (
    sa.select(
        *_GROUP,
        sa.func.count().label("excerpts"),
        *(
            total.label(name)
            for name, total in _SUMS.items()
            if name not in {"question", "cost", "priced"}
        ),
        _COST.label("cost"),
    )
    .select_from(questions)
    .outerjoin(_GENERATIONS, _GENERATIONS.c.question == questions.c.id)
    .outerjoin(_CALLS, _CALLS.c.question == questions.c.id)
    .group_by(*_GROUP)
    .order_by(*_GROUP)
)
