"""Sampling history: which model generated a pair's texts, when, and in which attempt.

docs/method.md defines the rules.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError, SettingsError
from pytest_memleak.interfaces.protocols import Served
from pytest_memleak.ledger.call_states import IS_LOST, CallState, call_end
from pytest_memleak.ledger.generation_ordinals import (
    IS_PLACED,
    IS_SURPLUS,
    is_requested,
)
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import stored_prompt_numbers
from pytest_memleak.ledger.prompts import (
    PairPrompts,
    PromptSpec,
    stored_seed,
    stored_temperature,
)
from pytest_memleak.ledger.statements import count_where, in_parts
from pytest_memleak.ledger.tables import SETTING, calls, generations, questions
from pytest_memleak.records.provenance import Tried, weights_digest

Setting = tuple[str, str, float, int]
"""Endpoint, book id, temperature, and seed of an attempt."""

_RELEASE = "; release "
_SERIES = "; series "


def with_weights_version(endpoint_id: str, release: str) -> str:
    """Return the ledger's name of an endpoint with this weights version, if any.

    Raises SettingsError if the id already contains a version.
    """
    if _RELEASE in endpoint_id:
        raise SettingsError(
            f"The endpoint id {endpoint_id!r} contains {_RELEASE!r}",
            hint=f"rename the endpoint without {_RELEASE!r}",
        )
    if not release:
        return endpoint_id
    return f"{endpoint_id}{_RELEASE}{release}"


def next_series(endpoint_id: str) -> str:
    """Return the ledger's name of the series that follows `endpoint_id`."""
    name, series, number = endpoint_id.rpartition(_SERIES)
    if not series:
        return f"{endpoint_id}{_SERIES}2"
    return f"{name}{_SERIES}{int(number) + 1}"


def _model_place(endpoint_id: str) -> str:
    """Return the model's name and server, without settings, version, and series."""
    for suffix in ("#", _RELEASE, _SERIES):
        endpoint_id = endpoint_id.partition(suffix)[0]
    return endpoint_id


@dataclass(frozen=True, slots=True)
class SamplingHistory:
    """The source of a pair's generations. Times are seconds since 1970.

    first, last:           when the first and the last were sampled; None without any
    first_call, last_call: row ids, whose order no clock changes; 0 without any
    calls_this_run:        answered calls of the ledger's run that returned some
    calls:                 answered calls of any run that returned some
    served:                the models that answered, each with its number of calls,
                           without response ids
    refused:               settings that the server rejected in any call
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
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> SamplingHistory:
    """Summarize where the pair's generations (ordinals below `samples`) come from."""
    numbers = stored_prompt_numbers(ledger, endpoint_id, prompts)
    own_calls = _SAMPLING_CALLS.where(is_requested(prompts.samples))

    def work(connection: Connection) -> list[Any]:
        rows: list[Any] = []
        for some in in_parts(numbers):
            query = own_calls.where(generations.c.question.in_(some))
            rows += connection.execute(query)
        return rows

    sampled = ledger.read(work)
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
        refused=_refused(ledger, (row.refused for row in sampled)),
    )


def _refused(ledger: Ledger, lists: Iterable[str | None]) -> tuple[str, ...]:
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


_SAMPLING_CALLS = (
    sa.select(
        calls.c.id,
        calls.c.run,
        calls.c.began,
        calls.c.ended,
        calls.c.model,
        calls.c.fingerprint,
        calls.c.refused,
    )
    .join(calls, calls.c.id == generations.c.call)
    .group_by(calls.c.id)
)


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
    for some in in_parts(numbers):
        lost_of_some = lost.where(calls.c.question.in_(some))
        ((part,),) = ledger.rows(lost_of_some)
        count += part
    return count


def attempts(
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
        is_book = questions.c.book == book_id
        same_words = sa.select(questions.c.book_words).where(is_book)
        book = questions.c.book_words.in_(same_words)
    history = _attempts(ledger, endpoint_id, book, until=math.inf)
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
        .join(questions, questions.c.id == calls.c.question)
        .where(
            questions.c.endpoint == endpoint_id,
            questions.c.book_words == book_words,
            call_end > after,
            call_end <= until,
        )
        .limit(1)
    )
    return bool(ledger.rows(query))


def tried(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    *,
    until: float,
) -> Tried | None:
    """Number the attempt of the pair's generations, among those begun by `until`.

    Attempts count by model and by the book's words. Returns None if nothing was
    sampled. `until` is in seconds since 1970.
    """
    if not prompts.questions:
        return None
    first_prompt = prompts.questions[0]
    ids = _ids_in_ledger(ledger, endpoint_id, prompts)
    attempts = _comparable_attempts(ledger, endpoint_id, first_prompt, until)
    began: dict[Setting, float] = {}
    for attempt in attempts:
        setting = _setting(attempt)
        began_before = began.get(setting, attempt.first)
        began[setting] = min(attempt.first, began_before)
    own = _own_settings(endpoint_id, first_prompt, ids) & began.keys()
    if not own:
        return None
    own_began = max(began[setting] for setting in own)
    begun_before = {setting for setting in began if began[setting] < own_began}
    earlier = begun_before - own
    counted_settings = earlier | own
    counted = [attempt for attempt in attempts if _setting(attempt) in counted_settings]
    own_series = _series(endpoint_id)
    endpoints = {attempt.endpoint for attempt in counted}
    series = [endpoint for endpoint in endpoints if _series(endpoint) == own_series]
    seeds = {attempt.seed for attempt in counted}
    temperatures = {attempt.temperature for attempt in counted}
    runs = {attempt.run for attempt in counted}
    return Tried(
        number=len(earlier) + 1,
        seeds=len(seeds),
        temperatures=len(temperatures),
        resampled=len(series) - 1,
        runs=len(runs),
        removed=sum(attempt.removed for attempt in counted),
        further=_further(ledger, endpoint_id, prompts, until, ids),
    )


def _comparable_attempts(
    ledger: Ledger,
    endpoint_id: str,
    prompt: PromptSpec,
    until: float,
) -> list[Any]:
    """List the attempts for the prompt's book, greedy ones only for a greedy prompt."""
    same_words = questions.c.book_words == prompt.book_words
    greedy = stored_temperature(prompt.temperature) == 0
    comparable = []
    for attempt in _attempts(ledger, endpoint_id, same_words, until=until):
        if attempt.temperature == 0 and not greedy:
            continue
        if attempt.first <= until:
            comparable.append(attempt)
    return comparable


def _own_settings(
    endpoint_id: str,
    prompt: PromptSpec,
    book_ids: Iterable[str],
) -> set[Setting]:
    temperature = stored_temperature(prompt.temperature)
    seed = stored_seed(prompt.seed)
    return {(endpoint_id, book_id, temperature, seed) for book_id in book_ids}


def _series(endpoint_id: str) -> str:
    """Return the name that all series of an endpoint share."""
    return endpoint_id.partition(_SERIES)[0]


def _ids_in_ledger(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
) -> set[str]:
    """Return the book's ids in the ledger: a renamed book has several."""
    columns = (
        questions.c.instruction_digest,
        questions.c.settings_digest,
        questions.c.book,
    )
    of_endpoint = sa.select(*columns).where(questions.c.endpoint == endpoint_id)
    keys = {question.key for question in prompts.questions}
    book_ids = set()
    for instruction, settings, book_id in ledger.rows(of_endpoint):
        if (instruction, settings) in keys:
            book_ids.add(book_id)
    return book_ids


def _further(
    ledger: Ledger,
    endpoint_id: str,
    prompts: PairPrompts,
    until: float,
    ids: set[str],
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
        questions.c.seed == stored_seed(first_prompt.seed),
        call_end <= until,
    )
    requested = is_requested(prompts.samples)
    numbers = stored_prompt_numbers(ledger, endpoint_id, prompts)

    def work(connection: Connection) -> int:
        def count(*conditions: sa.ColumnElement[bool]) -> int:
            query = stored.where(*conditions)
            generations: int = connection.execute(query).scalar_one()
            return generations

        of_prompts = 0
        beyond = 0
        for some in in_parts(numbers):
            own = questions.c.id.in_(some)
            of_prompts += count(own)
            beyond += count(own, sa.not_(requested))
        if first_prompt.temperature == 0:
            return beyond
        return beyond + count() - of_prompts

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
    ledger: Ledger,
    endpoint_id: str,
    book: sa.ColumnElement[bool],
    *,
    until: float,
) -> Sequence[Any]:
    """List the attempts of an endpoint's model for a book, under any endpoint id."""
    identities = _identities(ledger, book, until=until)
    own = identities[endpoint_id]
    same_model = [
        endpoint
        for endpoint, identity in identities.items()
        if identity.is_same_model(own)
    ]
    query = _ATTEMPTS.where(questions.c.endpoint.in_(same_model), book)
    return ledger.rows(query)


@dataclass(slots=True)
class _Identity:
    """What tells that endpoints have the same model: digests of weights, else names."""

    weights: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def is_same_model(self, other: _Identity) -> bool:
        if self.weights and other.weights:
            return not self.weights.isdisjoint(other.weights)
        return not self.names.isdisjoint(other.names)


def _identities(
    ledger: Ledger,
    book: sa.ColumnElement[bool],
    *,
    until: float,
) -> Mapping[str, _Identity]:
    """Return the identity of each endpoint that a book's prompts were sent to."""
    identities: defaultdict[str, _Identity] = defaultdict(_Identity)
    for row in ledger.rows(_ANSWERED_BY.where(book)):
        identity = identities[row.endpoint]
        identity.names.add(_model_place(row.endpoint))
        if row.first_end > until:
            continue
        if row.model:
            identity.names.add(row.model)
        weights = weights_digest(row.fingerprint)
        if weights:
            identity.weights.add(weights)
    return identities


_ANSWERED_BY = (
    sa.select(
        questions.c.endpoint,
        calls.c.model,
        calls.c.fingerprint,
        sa.func.min(call_end).label("first_end"),
    )
    .select_from(calls)
    .join(questions, questions.c.id == calls.c.question)
    .group_by(questions.c.endpoint, calls.c.model, calls.c.fingerprint)
)


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


def _calls_in(state: CallState) -> sa.ColumnElement[int]:
    return count_where(calls.c.state == state).label(state)


def _total(counts: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.sum(counts), sa.Integer)


_ATTEMPT = (*SETTING, calls.c.kind, calls.c.run)
_ATTEMPTS = (
    sa.select(
        *_ATTEMPT,
        sa.func.count(calls.c.question.distinct()).label("excerpts"),
        sa.func.count().label("calls"),
        _calls_in(CallState.ANSWERED),
        _calls_in(CallState.LOST),
        _calls_in(CallState.FAILED),
        _total(_PLACED).label("generations"),
        _total(_SURPLUS).label("surplus"),
        _total(_REMOVED).label("removed"),
        sa.func.min(calls.c.began).label("first"),
        sa.func.max(call_end).label("last"),
    )
    .select_from(calls)
    .join(questions, questions.c.id == calls.c.question)
    .outerjoin(_RECEIVED, _RECEIVED.c.call == calls.c.id)
    .group_by(*_ATTEMPT)
    .order_by(sa.func.min(calls.c.began), *_ATTEMPT)
)
