"""Sampling history: which model generated a pair's texts, when, and in which attempt.

docs/method.md defines the rules.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError, SettingsError
from pytest_memleak.interfaces.protocols import Served
from pytest_memleak.ledger.call_outcomes import CallState
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import stored_prompt_ids
from pytest_memleak.ledger.prompts import PairPrompts, stored_temperature
from pytest_memleak.ledger.tables import (
    calls,
    count_where,
    generations,
    in_parts,
    questions,
)
from pytest_memleak.records.provenance import Tried, weights_digest

Setting = tuple[str, str, float, int]
"""Endpoint, book id, temperature, and seed of an attempt."""

_RELEASE = "; release "
_SERIES = "; series "


def with_weights_version(endpoint_id: str, release: str) -> str:
    """Return the ledger's name of an endpoint with this weights version; unchanged without one.

    Raises SettingsError if the id already contains a version.
    """
    if _RELEASE in endpoint_id:
        raise SettingsError(
            f"The endpoint id {endpoint_id!r} contains {_RELEASE!r}",
            hint=f"rename the endpoint without {_RELEASE!r}",
        )
    return f"{endpoint_id}{_RELEASE}{release}" if release else endpoint_id


def next_series(endpoint_id: str) -> str:
    """Return the ledger's name of the next series, once those of `endpoint_id` are too old."""
    name, series, number = endpoint_id.rpartition(_SERIES)
    return f"{name}{_SERIES}{int(number) + 1}" if series else f"{endpoint_id}{_SERIES}2"


def _model_place(endpoint_id: str) -> str:
    """Return the model's name and its server, without settings, weights version, and series."""
    for suffix in ("#", _RELEASE, _SERIES):
        endpoint_id = endpoint_id.partition(suffix)[0]
    return endpoint_id


@dataclass(frozen=True, slots=True)
class SamplingHistory:
    """The source of a pair's generations. Times are seconds since 1970.

    first, last:    when the first and the last were sampled; None without any
    first_call, last_call: row ids, whose order no clock changes; 0 without any
    calls:          answered calls that returned them; calls_this_run: those of the
    ledger's run
    served:         the models that answered, with their number of calls; without
    response ids
    refused:        settings that the server rejected in any call
    """

    first: float | None
    last: float | None
    first_call: int
    last_call: int
    calls_this_run: int
    calls: int
    served: tuple[tuple[Served, int], ...]
    refused: tuple[str, ...]


def provenance(
    ledger: Ledger, endpoint_id: str, prompts: PairPrompts
) -> SamplingHistory:
    """Summarize where the pair's generations (ordinals below `samples`) come from."""
    numbers = list(stored_prompt_ids(ledger, endpoint_id, prompts.questions).values())
    own_calls = _SAMPLING_CALLS.where(generations.c.ordinal < prompts.samples)

    def work(connection: Connection) -> list[Any]:
        return [
            row
            for some in in_parts(numbers)
            for row in connection.execute(
                own_calls.where(generations.c.question.in_(some))
            )
        ]

    sampled = ledger.read(work)
    times = [row.ended or row.began for row in sampled]
    numbers = [row.id for row in sampled]
    served = Counter(Served(row.model, row.fingerprint) for row in sampled)
    return SamplingHistory(
        first=min(times, default=None),
        last=max(times, default=None),
        first_call=min(numbers, default=0),
        last_call=max(numbers, default=0),
        calls_this_run=sum(row.run == ledger.run for row in sampled),
        calls=len(sampled),
        served=tuple(served.most_common()),
        refused=_refused(ledger, (row.refused for row in sampled)),
    )


def _refused(ledger: Ledger, lists: Iterable[str | None]) -> tuple[str, ...]:
    try:
        return tuple(
            sorted({name for listed in lists if listed for name in json.loads(listed)})
        )
    except (ValueError, TypeError):
        raise LedgerError(
            "The ledger is damaged: a call's rejected settings aren't a list of names",
            location=ledger.place,
            hint="run memleak ledger verify, and restore a copy",
        ) from None


_SAMPLING_CALLS = (
    sa.select(
        *(calls.c[name] for name in ("id", "run", "began", "ended")),
        *(calls.c[name] for name in ("model", "fingerprint", "refused")),
    )
    .join(calls, calls.c.id == generations.c.call)
    .where(generations.c.ordinal >= 0)
    .group_by(calls.c.id)
)


def lost_calls(
    ledger: Ledger, endpoint_id: str, prompts: PairPrompts, *, until: float
) -> int:
    """Count the pair's unanswered calls that ended by then (since 1970) and may be billed."""
    numbers = list(stored_prompt_ids(ledger, endpoint_id, prompts.questions).values())
    lost = sa.select(sa.func.count()).where(calls.c.state == CallState.LOST)
    by_then = lost.where(calls.c.ended <= until)
    queries = [by_then.where(calls.c.question.in_(some)) for some in in_parts(numbers)]
    return sum(row[0] for query in queries for row in ledger.rows(query))


def attempts(
    ledger: Ledger, endpoint_id: str, book_id: str | None = None
) -> Sequence[Any]:
    """List every attempt of an endpoint's model for a book (None: any), oldest first.

    An attempt is one run's samples with one setting:

    kind:        sample or batch
    run:         the run
    excerpts:    prompts sent; calls: all of them; answered, lost, and failed ones
    separately
    generations: those with a place; surplus: those whose place was taken
    removed:     those received that are no longer in the ledger
    first, last: when it began and ended, in seconds since 1970

    Endpoints with the same weights count as one, as do books with the same words,
    whatever their ids. Raises LedgerError if there is none.
    """
    book: sa.ColumnElement[bool] = sa.true()
    if book_id is not None:
        same = sa.select(questions.c.book_words).where(questions.c.book == book_id)
        book = questions.c.book_words.in_(same)
    history = _attempts(ledger, endpoint_id, book, until=math.inf)
    if not history:
        raise LedgerError(
            f"No samples from endpoint {endpoint_id!r}"
            + (f" for book {book_id!r}" if book_id else ""),
            location=ledger.place,
            hint="see `memleak ledger list`",
        )
    return history


def called_between(
    ledger: Ledger, endpoint_id: str, book_words: str, after: float, until: float
) -> bool:
    """Tell whether a call for a book ended after `after`, up to `until`."""
    ended = sa.func.coalesce(calls.c.ended, calls.c.began)
    query = (
        sa.select(calls.c.id)
        .join(questions, questions.c.id == calls.c.question)
        .where(
            questions.c.endpoint == endpoint_id, questions.c.book_words == book_words
        )
        .where(ended > after, ended <= until)
        .limit(1)
    )
    return bool(ledger.rows(query))


def tried(
    ledger: Ledger, endpoint_id: str, prompts: PairPrompts, *, until: float
) -> Tried | None:
    """Number the attempt of the pair's generations, among those begun by `until` (since 1970).

    Attempts count by model and by the book's words. Returns None if nothing was
    sampled.
    """
    if not prompts.questions:
        return None
    first_prompt = prompts.questions[0]
    temperature = stored_temperature(first_prompt.temperature)
    ids = _ids_in_ledger(ledger, endpoint_id, prompts)
    began: dict[Setting, float] = {}
    attempts = [
        attempt
        for attempt in _attempts(
            ledger,
            endpoint_id,
            questions.c.book_words == first_prompt.book_words,
            until=until,
        )
        if attempt.first <= until and (attempt.temperature != 0 or temperature == 0)
    ]
    for attempt in attempts:
        key = _setting(attempt)
        began[key] = min(attempt.first, began.get(key, attempt.first))
    own_settings = {
        (endpoint_id, book_id, temperature, first_prompt.seed) for book_id in ids
    } & began.keys()
    if not own_settings:
        return None
    last = max(began[key] for key in own_settings)
    earlier = {key for key, first in began.items() if first < last} - own_settings
    counted = [
        attempt for attempt in attempts if _setting(attempt) in earlier | own_settings
    ]
    series = {
        attempt.endpoint
        for attempt in counted
        if _series(attempt.endpoint) == _series(endpoint_id)
    }
    return Tried(
        number=len(earlier) + 1,
        seeds=len({attempt.seed for attempt in counted}),
        temperatures=len({attempt.temperature for attempt in counted}),
        resampled=len(series) - 1,
        runs=len({attempt.run for attempt in counted}),
        removed=sum(attempt.removed for attempt in counted),
        further=_further(ledger, endpoint_id, prompts, until, ids),
    )


def _series(endpoint_id: str) -> str:
    """Return the name that all series of an endpoint share."""
    return endpoint_id.partition(_SERIES)[0]


def _ids_in_ledger(ledger: Ledger, endpoint_id: str, prompts: PairPrompts) -> set[str]:
    """Return the book's ids in the ledger: if it is renamed, its prompts aren't sent again."""
    columns = (
        questions.c.instruction_digest,
        questions.c.settings_digest,
        questions.c.book,
    )
    rows = ledger.rows(sa.select(*columns).where(questions.c.endpoint == endpoint_id))
    keys = {question.key for question in prompts.questions}
    return {book_id for *key, book_id in rows if tuple(key) in keys}


def _further(
    ledger: Ledger, endpoint_id: str, prompts: PairPrompts, until: float, ids: set[str]
) -> int:
    """Count the generations for the book at this setting beyond the requested ones.

    At temperature 0, only those of the same prompts: greedy generations and canaries
    share it.
    """
    first_prompt = prompts.questions[0]
    stored = _STORED_COUNT.where(
        questions.c.endpoint == endpoint_id,
        questions.c.book.in_(ids),
        questions.c.temperature == stored_temperature(first_prompt.temperature),
        questions.c.seed == first_prompt.seed,
        sa.func.coalesce(calls.c.ended, calls.c.began) <= until,
    )
    is_judged = generations.c.ordinal.between(0, prompts.samples - 1)
    numbers = list(stored_prompt_ids(ledger, endpoint_id, prompts.questions).values())

    def work(connection: Connection) -> int:
        total = beside = 0
        for some in in_parts(numbers):
            own = questions.c.id.in_(some)
            total += connection.execute(stored.where(own)).scalar_one()
            beside += connection.execute(
                stored.where(own, sa.not_(is_judged))
            ).scalar_one()
        if first_prompt.temperature != 0:
            beside += connection.execute(stored).scalar_one() - total
        return beside

    return ledger.read(work)


_STORED_COUNT = (
    sa.select(sa.func.count())
    .select_from(generations)
    .join(calls, calls.c.id == generations.c.call)
    .join(questions, questions.c.id == generations.c.question)
)


def _setting(attempt: Any) -> Setting:
    return attempt.endpoint, attempt.book, attempt.temperature, attempt.seed


def _attempts(
    ledger: Ledger, endpoint_id: str, book: sa.ColumnElement[bool], *, until: float
) -> Sequence[Any]:
    """List the attempts of an endpoint's model for a book, whatever the endpoints are called."""
    served = ledger.rows(_ANSWERED_BY.where(book))
    weights: defaultdict[str, set[str]] = defaultdict(set)
    names: defaultdict[str, set[str]] = defaultdict(set)
    for endpoint, model, fingerprint, ended in served:
        names[endpoint].add(_model_place(endpoint))
        if ended <= until:
            weights[endpoint] |= {weights_digest(fingerprint) or ""} - {""}
            names[endpoint] |= {model or ""} - {""}
    own_identity = weights[endpoint_id], names[endpoint_id]
    same_model = [
        endpoint
        for endpoint in list(names)
        if (
            weights[endpoint] & own_identity[0]
            if own_identity[0] and weights[endpoint]
            else names[endpoint] & own_identity[1]
        )
    ]
    query = _ATTEMPTS.where(questions.c.endpoint.in_(same_model), book)
    return ledger.rows(query)


_ANSWERED_BY = (
    sa.select(
        questions.c.endpoint,
        calls.c.model,
        calls.c.fingerprint,
        sa.func.min(sa.func.coalesce(calls.c.ended, calls.c.began)),
    )
    .select_from(calls)
    .join(questions, questions.c.id == calls.c.question)
    .group_by(questions.c.endpoint, calls.c.model, calls.c.fingerprint)
)


_RECEIVED = (
    sa.select(
        generations.c.call,
        count_where(generations.c.ordinal >= 0).label("placed"),
        count_where(generations.c.ordinal < 0).label("surplus"),
    )
    .group_by(generations.c.call)
    .subquery()
)
_PLACED = sa.func.coalesce(_RECEIVED.c.placed, 0)
_SURPLUS = sa.func.coalesce(_RECEIVED.c.surplus, 0)
_REMOVED = sa.func.coalesce(calls.c.came, 0) - _PLACED - _SURPLUS
_COUNTS = {"generations": _PLACED, "surplus": _SURPLUS, "removed": _REMOVED}
_SETTING = (
    questions.c.endpoint,
    questions.c.book,
    questions.c.temperature,
    questions.c.seed,
)
_BY = (*_SETTING, calls.c.kind, calls.c.run)
_ATTEMPTS = (
    sa.select(
        *_BY,
        sa.func.count(calls.c.question.distinct()).label("excerpts"),
        sa.func.count().label("calls"),
        *(
            count_where(calls.c.state == state).label(state)
            for state in (CallState.ANSWERED, CallState.LOST, CallState.FAILED)
        ),
        *(
            sa.cast(sa.func.sum(count), sa.Integer).label(name)
            for name, count in _COUNTS.items()
        ),
        sa.func.min(calls.c.began).label("first"),
        sa.func.max(sa.func.coalesce(calls.c.ended, calls.c.began)).label("last"),
    )
    .select_from(calls)
    .join(questions, questions.c.id == calls.c.question)
    .outerjoin(_RECEIVED, _RECEIVED.c.call == calls.c.id)
    .group_by(*_BY)
    .order_by(sa.func.min(calls.c.began), *_BY)
)
