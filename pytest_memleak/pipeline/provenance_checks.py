"""Who generated a pair's samples: the model and weights of an endpoint, the book of a recording."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.ledger_endpoint import ProvenanceCheck, check_provenance
from pytest_memleak.pipeline.required_samples import begin_alike, canary_book, canary_prompts
from pytest_memleak.pipeline.sampled_generations import canaries_of
from pytest_memleak.records import Issue
from pytest_memleak.verdict.model_identity import record_issues

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.ledger_endpoint import LedgerEndpoint
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.sampled_generations import SampledGenerations
    from pytest_memleak.records import Generation


def identify(answers: SampledGenerations, resources: Resources) -> ProvenanceCheck:
    """Check who generated the samples; for recordings, whether their records are of this book."""
    source, pair = answers.source, answers.required.pair
    if source is None or answers.asked is None:
        return _of_records(answers)
    rounds = partial(canary_prompts, pair, answers.book)
    same = partial(source.same_weights, rounds, begin_alike)
    check = check_provenance(source, answers.asked, pair, resources, same=same)
    if answers.issues or next(answers.generations(), None) is None:
        return check
    canaries = canaries_of(answers, answers.until)
    return replace(
        check,
        issues=(*check.issues, *_canary_issues(answers, canaries)),
        notes=(*check.notes, *_canary_notes(answers, source, canaries)),
    )


def _canary_issues(own: SampledGenerations, canaries: Iterable[Generation]) -> Iterator[Issue]:
    """Yield an issue if a canary has no answer: only canaries show temperature 0."""
    answered = {canary.excerpt_id for canary in canaries if canary.answered}
    every = len(canary_book(own.book).excerpts)
    if len(answered) < every:
        yield Issue(
            "canaries",
            f"{every - len(answered)} of {every} canaries are missing or withheld",
            "rerun where the endpoint can be called, without output filters",
        )


def _canary_notes(
    own: SampledGenerations, source: LedgerEndpoint, canaries: Sequence[Generation]
) -> Iterator[str]:
    from pytest_memleak.ledger.sampling_history import provenance

    rounds = max((canary.ordinal + 1 for canary in canaries), default=0)
    asked = canary_prompts(own.required.pair, own.book, rounds)
    if "temperature" in provenance(source.ledger, source.endpoint_id, asked).refused:
        yield "the server doesn't accept temperature 0: canaries were sampled at its default"


def _of_records(answers: SampledGenerations) -> ProvenanceCheck:
    recording = answers.recording
    if recording is None or recording.described is None:
        return ProvenanceCheck()
    continued = answers.required.pair.probe.kind == "continuation"
    described = recording.described(answers.book)
    return ProvenanceCheck(issues=record_issues(answers.book, described, continuation=continued))
