"""What a ledger holds: endpoints and their generations, jobs, batches.

list_endpoints(ledger) -> [EndpointRow(...)]      one per endpoint, book, and settings
list_jobs(ledger)      -> [JobListing(...)]
list_batches(ledger)   -> [BatchListing(...)]
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.call_outcomes import OPEN, CallState
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import batches, calls, count_where, generations, jobs, questions
from pytest_memleak.records import FinishReason

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{16,}$")
_LEAST_DIGITS = 4


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint's generations for a book with some settings.

    excerpts: prompts sent; generations: completions stored, including withheld ones; surplus: those
    without a place; calls: paid ones, including lost ones; open: calls without an outcome; cost:
    US$, lost calls at their highest cost, None without a price.
    """

    endpoint: str
    book: str
    temperature: float
    seed: int
    excerpts: int
    generations: int
    withheld: int
    surplus: int
    calls: int
    lost: int
    open: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class JobListing:
    """A fine-tune. Times are seconds since 1970."""

    provider: str
    digest: str
    job_id: str | None
    state: str
    endpoint: str | None
    examples: int
    tokens: int | None
    cause: str | None
    began: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class BatchListing:
    """A batch, and how many of its requests were answered. Times are seconds since 1970."""

    provider: str
    endpoint: str
    digest: str
    batch_id: str | None
    state: str
    requests: int
    answered: int
    cause: str | None
    began: float
    ended: float | None


def list_endpoints(ledger: Ledger) -> list[EndpointRow]:
    """List one row per endpoint, book, temperature, and seed, in that order."""
    return [
        EndpointRow(*(*sums, cost / 1e9 if priced else None))
        for *sums, cost, priced in ledger.rows(_ENDPOINTS)
    ]


def resolve_endpoint(ledger: Ledger, name: str) -> str:
    """Return the endpoint whose id or digest starts with `name`; `name` if none does.

    A digest needs at least four digits; a trailing "..." is ignored. Raises LedgerError if several
    endpoints match.
    """
    start = name.removesuffix("…").removesuffix("...")
    ids = [row.endpoint for row in ledger.rows(sa.select(questions.c.endpoint).distinct())]
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
    return whole or (endpoint.startswith(begin) and len(begin) >= digest.start() + _LEAST_DIGITS)


def list_jobs(ledger: Ledger) -> list[JobListing]:
    """List every fine-tune, oldest first."""
    columns = [jobs.c[name] for name in JobListing.__dataclass_fields__]
    return [JobListing(*row) for row in ledger.rows(sa.select(*columns).order_by(jobs.c.id))]


def list_batches(ledger: Ledger) -> list[BatchListing]:
    """List every batch, oldest first."""
    requests = sa.select(sa.func.count()).where(calls.c.batch == batches.c.id)
    answered = requests.where(calls.c.state == CallState.ANSWERED)
    computed = {
        "batch_id": batches.c.job_id,
        "requests": requests.scalar_subquery(),
        "answered": answered.scalar_subquery(),
    }
    names = BatchListing.__dataclass_fields__
    columns = [computed[column] if column in computed else batches.c[column] for column in names]
    return [BatchListing(*row) for row in ledger.rows(sa.select(*columns).order_by(batches.c.id))]


# --- sums by endpoint, book and settings ---------------------------------------------------


def _sum(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.coalesce(sa.func.sum(column), 0), sa.BigInteger)


_PAID = sa.and_(calls.c.state.in_([CallState.ANSWERED, CallState.LOST]), calls.c.kind != "import")
_WITHHELD = generations.c.finish_reason.in_(
    [reason for reason in FinishReason if reason.withheld and reason is not FinishReason.EMPTY]
)
_DRAWN = (
    sa.select(
        generations.c.question,
        count_where(generations.c.ordinal >= 0).label("generations"),
        count_where(sa.and_(generations.c.ordinal >= 0, _WITHHELD)).label("withheld"),
        count_where(generations.c.ordinal < 0).label("surplus"),
    )
    .group_by(generations.c.question)
    .subquery()
)
_MADE = (
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
_GROUP = (questions.c.endpoint, questions.c.book, questions.c.temperature, questions.c.seed)
_ENDPOINTS = (
    sa.select(
        *_GROUP,
        sa.func.count(),
        *(
            _sum(column).label(column.name)
            for table in (_DRAWN, _MADE)
            for column in table.c
            if column.name != "question"
        ),
    )
    .select_from(questions)
    .outerjoin(_DRAWN, _DRAWN.c.question == questions.c.id)
    .outerjoin(_MADE, _MADE.c.question == questions.c.id)
    .group_by(*_GROUP)
    .order_by(*_GROUP)
)
