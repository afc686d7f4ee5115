"""Who answered a pair, and whether it was the model that was asked (METRICS section 10)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.capabilities import AsksByName, DescribedRecording
from pytest_memleak.pipeline.canaries import answer_alike, canary_questions
from pytest_memleak.pipeline.ledger_endpoint import weights_named
from pytest_memleak.records.distribution import distribution
from pytest_memleak.records.provenance import Provenance, ServedBy
from pytest_memleak.redaction.text import QUOTED_WORDS, count_words, short_name
from pytest_memleak.verdict.model_identity import (
    Answered,
    Obeyed,
    Weights,
    age_gaps,
    answerer_gaps,
    obedience_gaps,
    recorded_gaps,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.ledger.sampling_history import SamplingHistory
    from pytest_memleak.pipeline.ledger_endpoint import LedgerEndpoint
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.sampled_generations import SampledGenerations
    from pytest_memleak.records import Issue, Pair

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class WhoAnswered:
    """Who answered; what is missing from that, and what was noticed."""

    answerer: Provenance = field(default_factory=Provenance)
    gaps: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()


def answered_by(answers: SampledGenerations, resources: Resources) -> WhoAnswered:
    """Who gave the answers; of recordings, whether their records are of this book."""
    source, pair = answers.source, answers.draws.pair
    if source is None or answers.asked is None:
        return _of_records(answers)
    canaries = partial(canary_questions, pair, answers.book)
    same = partial(source.same_weights, canaries, answer_alike)
    return answered_through(source, answers.asked, pair, resources, same=same)


def answered_through(
    source: LedgerEndpoint,
    asked: PairPrompts,
    pair: Pair,
    resources: Resources,
    *,
    same: Callable[[], bool | None],
) -> WhoAnswered:
    """Who gave the answers that the ledger has to a questionnaire.

    same: whether the canaries answer as they did, where that is to be known.
    """
    from pytest_memleak.ledger.sampling_history import provenance, tried

    told = provenance(source.ledger, source.endpoint_id, asked)
    name = source.opened.model_name if isinstance(source.opened, AsksByName) else None
    served = tuple(served_as(one.model, one.fingerprint, calls) for one, calls in told.served)
    answerer = Provenance(
        asked=name,
        served=served,
        first=told.first,
        last=told.last,
        calls_this_run=told.calls_this_run,
        calls=told.calls,
        imported=told.imported,
        refused=told.refused,
        weights=weights_named(pair, source.opened) or "a name",
        tried=tried(source.ledger, source.endpoint_id, asked, until=resources.now),
    )
    gaps, notes = obedience_gaps(Obeyed(pair.sampling.temperature, told.refused))
    by_name = [Answered(one.model, calls) for one, calls in told.served]
    if name is not None:
        gaps += answerer_gaps(name, by_name, serves=pair.model.serves)
    gaps += age_gaps(_weights(pair, source, told, resources, same=same))
    if told.imported:
        notes += (f"{told.imported:,} answers were imported from files",)
    return WhoAnswered(answerer, gaps, notes)


def served_as(model: str | None, fingerprint: str | None, calls: int) -> ServedBy:
    """Who served, by names that together have no more words than a report may quote."""
    model = model and short_name(model)
    left = max(0, QUOTED_WORDS - count_words(model or ""))
    return ServedBy(model, fingerprint and short_name(fingerprint, left), calls)


def drawn_from(answers: SampledGenerations) -> str:
    """The distribution that the answers are of, in words."""
    refused: tuple[str, ...] = ()
    if answers.source is not None and answers.asked is not None:
        from pytest_memleak.ledger.sampling_history import provenance

        source = answers.source
        refused = provenance(source.ledger, source.endpoint_id, answers.asked).refused
    return distribution(answers.draws.pair.model.options, refused)


def greedy_gaps(answers: SampledGenerations) -> tuple[Issue, ...]:
    """Whether answers that were asked for at temperature 0, twice each, are the likeliest ones."""
    by_excerpt: dict[str, list[str]] = {}
    for one in answers.generations():
        by_excerpt.setdefault(one.excerpt_id, []).append(one.text)
    refused: tuple[str, ...] = ()
    if answers.source is not None and answers.asked is not None:
        from pytest_memleak.ledger.sampling_history import provenance

        source = answers.source
        refused = provenance(source.ledger, source.endpoint_id, answers.asked).refused
    agreed = answer_alike(by_excerpt.values())
    gaps, _ = obedience_gaps(Obeyed(0.0, refused, greedy=True, greedy_agreed=agreed))
    return tuple(replace(gap, remedy=_without_greedy(answers)) for gap in gaps)


def _without_greedy(answers: SampledGenerations) -> str:
    """The lines of the suite file to change; canaries, greedy too, could not agree either."""
    pair, source = answers.draws.pair, answers.source
    greedy = [name for name in pair.limits if name.startswith("greedy_")]
    preset = [name for name in pair.limits if pair.limit_origins.get(name) == "limits.preset"]
    if set(greedy) & set(preset):
        lines = (f"{name} = {pair.limits[name]:g}" for name in preset if name not in greedy)
        change = f"in [limits] replace preset with these lines: {'; '.join(lines)}"
    else:
        change = f"delete {' and '.join(greedy)}"
    named = source is None or weights_named(pair, source.opened)
    release = "" if named else 'add release = "1" to [[model]], and '
    return f"in {pair.suite.name}, {release}{change}"


def _of_records(answers: SampledGenerations) -> WhoAnswered:
    recording = answers.recording
    if not isinstance(recording, DescribedRecording):
        return WhoAnswered()
    continued = answers.draws.pair.probe.kind == "continuation"
    described = recording.described(answers.book)
    return WhoAnswered(gaps=recorded_gaps(answers.book, described, continuation=continued))


def _weights(
    pair: Pair,
    source: LedgerEndpoint,
    told: SamplingHistory,
    resources: Resources,
    *,
    same: Callable[[], bool | None],
) -> Weights:
    named = bool(weights_named(pair, source.opened))
    reused = told.calls > told.calls_this_run
    if named or not reused or not source.kept:
        return Weights(named=named or not source.kept)
    asked_again = resources.as_of is not None or not resources.offline
    return Weights(
        named=False,
        age_days=max(0.0, resources.now - (told.first or resources.now)) / _DAY,
        max_age=pair.sampling.max_age,
        canaries=same() if asked_again else None,
        reused=resources.as_of is None,
    )
