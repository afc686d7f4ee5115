"""Who answered, when, and how often it was tried: where a pair's generations come from.

    provenance(ledger, endpoint_id, questionnaire)   -> Provenance, of what counts for the pair
    attempts(ledger, endpoint_id, book_id)           -> [Attempt(...)], every draw ever made
    tried(ledger, endpoint_id, questionnaire)        -> Tried, which of the attempts a pair's is
    endpoint_id = of_release("gpt-4o", "2026-11")    # other weights behind the same name

METRICS.md section 10 says what is judged by it.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError, SettingsError
from pytest_memleak.interfaces.protocols import Served
from pytest_memleak.ledger.calls import QUESTIONS_AT_ONCE, CallState
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import numbers_of
from pytest_memleak.ledger.prompts import PairPrompts, kept_temperature
from pytest_memleak.ledger.tables import calls, generations, questions
from pytest_memleak.records.provenance import Tried, weights_digest

Setting = tuple[str, str, float, int]
"""An attempt's endpoint, book id, temperature, and seed."""

_RELEASE = "; release "
_ANEW = "; series "


def of_release(endpoint_id: str, release: str) -> str:
    """The ledger's name of an endpoint's weights of that release; as it is without a release.

    Raises SettingsError for an id that reads as if it had a release already.
    """
    if _RELEASE in endpoint_id:
        raise SettingsError(f"the endpoint id {endpoint_id!r} holds {_RELEASE!r}")
    return f"{endpoint_id}{_RELEASE}{release}" if release else endpoint_id


def drawn_anew(endpoint_id: str) -> str:
    """The ledger's name of the next series of answers, once those under `endpoint_id` have aged."""
    name, anew, number = endpoint_id.rpartition(_ANEW)
    return f"{name}{_ANEW}{int(number) + 1}" if anew else f"{endpoint_id}{_ANEW}2"


def _model_place(endpoint_id: str) -> str:
    """The model's name and its server, without settings, release, and series."""
    for suffix in ("#", _RELEASE, _ANEW):
        endpoint_id = endpoint_id.partition(suffix)[0]
    return endpoint_id


@dataclass(frozen=True, slots=True)
class SamplingHistory:
    """Where the generations that count for a pair come from. Times are seconds since 1970.

    first, last:    when the first and the last of them was drawn; None where all are imported
    calls_this_run: answered calls behind them that the ledger's run made; calls: those of all
    imported:       how many of the generations came from files
    served:         who answered, and how many calls; response ids are left out
    refused:        settings that the server would not take in any of the calls
    """

    first: float | None
    last: float | None
    calls_this_run: int
    calls: int
    imported: int
    served: tuple[tuple[Served, int], ...]
    refused: tuple[str, ...]


def provenance(ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts) -> SamplingHistory:
    """Where the pair's generations (ordinals below `samples`) come from."""
    numbers = list(numbers_of(ledger, endpoint_id, questionnaire.questions).values())

    def work(connection: Connection) -> list[Any]:
        return [
            row
            for start in range(0, len(numbers), QUESTIONS_AT_ONCE)
            for row in connection.execute(
                _BEHIND.where(
                    generations.c.question.in_(numbers[start : start + QUESTIONS_AT_ONCE]),
                    generations.c.ordinal < questionnaire.samples,
                )
            )
        ]

    rows = ledger.read(work)
    made = [row for row in rows if row.kind != "import"]
    times = [row.ended or row.began for row in made]
    served = Counter(Served(row.model, row.fingerprint) for row in made)
    return SamplingHistory(
        first=min(times, default=None),
        last=max(times, default=None),
        calls_this_run=sum(row.run == ledger.run for row in made),
        calls=len(made),
        imported=sum(row.drawn for row in rows if row.kind == "import"),
        served=tuple(served.most_common()),
        refused=_refused(ledger, (row.refused for row in made)),
    )


def _refused(ledger: Ledger, said: Iterable[str | None]) -> tuple[str, ...]:
    try:
        return tuple(sorted({name for one in said if one for name in json.loads(one)}))
    except (ValueError, TypeError):
        raise LedgerError(
            "the ledger is damaged: what the server refused in a call is no list of names",
            location=ledger.place,
            hint="memleak ledger verify says which; restore it from a copy",
        ) from None


_BEHIND = (
    sa.select(
        calls.c.kind,
        calls.c.run,
        calls.c.began,
        calls.c.ended,
        calls.c.model,
        calls.c.fingerprint,
        calls.c.refused,
        sa.func.count().label("drawn"),
    )
    .join(calls, calls.c.id == generations.c.call)
    .where(generations.c.ordinal >= 0)
    .group_by(calls.c.id)
)


# --- every draw ever made ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one run drew of an endpoint for a book with one setting, or a file brought.

    kind:        sample, batch or import
    source:      the run; of an import the SHA-256 of its file; None before version 2
    excerpts:    questions asked; calls: all of them, answered, lost and failed ones told apart
    generations: those that have a place; surplus: those that have none, because it was taken
    removed:     those that came and are no longer in the ledger
    first, last: when it began and ended, in seconds since 1970
    """

    endpoint: str
    book: str
    temperature: float
    seed: int
    kind: str
    source: str | None
    excerpts: int
    calls: int
    answered: int
    lost: int
    failed: int
    generations: int
    surplus: int
    removed: int
    first: float
    last: float


def attempts(ledger: Ledger, endpoint_id: str, book_id: str | None = None) -> list[Attempt]:
    """List every draw ever made of an endpoint's model for a book (None: for any), oldest first.

    Endpoints with the same weights, and books with the same words, count as one whatever their ids.
    Raises LedgerError where there is none.
    """
    book: sa.ColumnElement[bool] = sa.true()
    if book_id is not None:
        same = sa.select(questions.c.book_words).where(questions.c.book == book_id)
        book = questions.c.book_words.in_(same)
    found = _attempts(ledger, endpoint_id, book, until=math.inf)
    if not found:
        raise LedgerError(
            f"endpoint {endpoint_id!r} was never drawn from"
            + (f" for book {book_id!r}" if book_id else ""),
            location=ledger.place,
            hint="`memleak ledger list` shows what there is",
        )
    return found


def called_between(
    ledger: Ledger, endpoint_id: str, book_words: str, after: float, until: float
) -> bool:
    """Whether calls for a book ended after the one moment, and by the other."""
    ended = sa.func.coalesce(calls.c.ended, calls.c.began)
    query = (
        sa.select(calls.c.id)
        .join(questions, questions.c.id == calls.c.question)
        .where(questions.c.endpoint == endpoint_id, questions.c.book_words == book_words)
        .where(ended > after, ended <= until)
        .limit(1)
    )
    return ledger.read(lambda connection: connection.execute(query).first()) is not None


def tried(
    ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts, *, until: float
) -> Tried | None:
    """Which attempt the questionnaire's answers are, of those begun by then (since 1970).

    Attempts count by the model and by the book's words. None where nothing was drawn for it.
    """
    if not questionnaire.questions:
        return None
    asked = questionnaire.questions[0]
    temperature = kept_temperature(asked.temperature)
    ids = _ids_in_ledger(ledger, endpoint_id, questionnaire)
    began: dict[Setting, float] = {}
    made = [
        one
        for one in _attempts(
            ledger, endpoint_id, questions.c.book_words == asked.book_words, until=until
        )
        if one.first <= until and (one.temperature != 0 or temperature == 0)
    ]
    for one in made:
        key = _setting(one)
        began[key] = min(one.first, began.get(key, one.first))
    own = {(endpoint_id, book_id, temperature, asked.seed) for book_id in ids} & began.keys()
    if not own:
        return None
    last = max(began[key] for key in own)
    before = {key for key, first in began.items() if first < last} - own
    counted = [one for one in made if _setting(one) in before | own]
    series = {one.endpoint for one in counted if _series(one.endpoint) == _series(endpoint_id)}
    return Tried(
        number=len(before) + 1,
        seeds=len({one.seed for one in counted}),
        temperatures=len({one.temperature for one in counted}),
        anew=len(series) - 1,
        runs=len({one.source for one in counted if one.kind != "import"}),
        files=len({one.source for one in counted if one.kind == "import"}),
        removed=sum(one.removed for one in counted),
        further=_further(ledger, endpoint_id, questionnaire, until, ids),
    )


def _series(endpoint_id: str) -> str:
    """The name that all series of an endpoint share."""
    return endpoint_id.partition(_ANEW)[0]


def _ids_in_ledger(ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts) -> set[str]:
    """The ids under which the ledger has the book: another id asks no question again."""
    columns = questions.c.instruction_digest, questions.c.settings_digest, questions.c.book
    query = sa.select(*columns).where(questions.c.endpoint == endpoint_id)
    rows = ledger.read(lambda connection: connection.execute(query).all())
    keys = {question.key for question in questionnaire.questions}
    return {book_id for *key, book_id in rows if tuple(key) in keys}


def _further(
    ledger: Ledger, endpoint_id: str, questionnaire: PairPrompts, until: float, ids: set[str]
) -> int:
    """How many answers there are for the book at this setting beside those asked for.

    At temperature 0 only those to the same questions: greedy answers and canaries stand there too.
    """
    asked = questionnaire.questions[0]
    there = _THERE.where(
        questions.c.endpoint == endpoint_id,
        questions.c.book.in_(ids),
        questions.c.temperature == kept_temperature(asked.temperature),
        questions.c.seed == asked.seed,
        sa.func.coalesce(calls.c.ended, calls.c.began) <= until,
    )
    judged = generations.c.ordinal.between(0, questionnaire.samples - 1)
    numbers = list(numbers_of(ledger, endpoint_id, questionnaire.questions).values())

    def work(connection: Connection) -> int:
        every = beside = 0
        for start in range(0, len(numbers), QUESTIONS_AT_ONCE):
            own = questions.c.id.in_(numbers[start : start + QUESTIONS_AT_ONCE])
            every += connection.execute(there.where(own)).scalar_one()
            beside += connection.execute(there.where(own, sa.not_(judged))).scalar_one()
        if asked.temperature != 0:
            beside += connection.execute(there).scalar_one() - every
        return beside

    return ledger.read(work)


_THERE = (
    sa.select(sa.func.count())
    .select_from(generations)
    .join(calls, calls.c.id == generations.c.call)
    .join(questions, questions.c.id == generations.c.question)
)


def _setting(one: Attempt) -> Setting:
    return one.endpoint, one.book, one.temperature, one.seed


def _attempts(
    ledger: Ledger, endpoint_id: str, book: sa.ColumnElement[bool], *, until: float
) -> list[Attempt]:
    """The draws of an endpoint's model for a book, whatever the endpoints are called."""
    served = ledger.read(lambda connection: connection.execute(_ANSWERED_BY.where(book)).all())
    weights: defaultdict[str, set[str]] = defaultdict(set)
    names: defaultdict[str, set[str]] = defaultdict(set)
    for endpoint, model, fingerprint, ended in served:
        names[endpoint].add(_model_place(endpoint))
        if ended <= until:
            weights[endpoint] |= {weights_digest(fingerprint) or ""} - {""}
            names[endpoint] |= {model or ""} - {""}
    own = weights[endpoint_id], names[endpoint_id]
    same = [
        endpoint
        for endpoint in list(names)
        if (
            weights[endpoint] & own[0] if own[0] and weights[endpoint] else names[endpoint] & own[1]
        )
    ]
    query = _TRIED.where(questions.c.endpoint.in_(same), book)
    rows = ledger.read(lambda connection: connection.execute(query).all())
    return [Attempt(*row) for row in rows]


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


def _times(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


_SOURCE = sa.case((calls.c.kind == "import", calls.c.request_id), else_=calls.c.run)
_CAME = (
    sa.select(
        generations.c.call,
        _times(generations.c.ordinal >= 0).label("placed"),
        _times(generations.c.ordinal < 0).label("surplus"),
    )
    .group_by(generations.c.call)
    .subquery()
)
_PLACED = sa.func.coalesce(_CAME.c.placed, 0)
_SURPLUS = sa.func.coalesce(_CAME.c.surplus, 0)
_BY = (
    questions.c.endpoint,
    questions.c.book,
    questions.c.temperature,
    questions.c.seed,
    calls.c.kind,
    _SOURCE,
)
_TRIED = (
    sa.select(
        *_BY,
        sa.func.count(calls.c.question.distinct()),
        sa.func.count(),
        _times(calls.c.state == CallState.ANSWERED),
        _times(calls.c.state == CallState.LOST),
        _times(calls.c.state == CallState.FAILED),
        sa.cast(sa.func.sum(_PLACED), sa.Integer),
        sa.cast(sa.func.sum(_SURPLUS), sa.Integer),
        sa.cast(sa.func.sum(sa.func.coalesce(calls.c.came, 0) - _PLACED - _SURPLUS), sa.Integer),
        sa.func.min(calls.c.began),
        sa.func.max(sa.func.coalesce(calls.c.ended, calls.c.began)),
    )
    .select_from(calls)
    .join(questions, questions.c.id == calls.c.question)
    .outerjoin(_CAME, _CAME.c.call == calls.c.id)
    .group_by(*_BY)
    .order_by(sa.func.min(calls.c.began), *_BY)
)
