"""Who generated a pair's samples: the requested model, or another (docs/method.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.pipeline.canaries import canary_prompts
from pytest_memleak.pipeline.ledger_endpoint import (
    SECONDS_PER_DAY,
    LedgerEndpoint,
    weights_label,
)
from pytest_memleak.pipeline.sample_readers import LedgerSamples, RecordedSamples
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.provenance import Provenance, ServedBy, weights_digest
from pytest_memleak.redaction.text import (
    QUOTED_WORDS,
    count_words,
    server_word,
    short_name,
)
from pytest_memleak.verdict.provenance_issues import (
    age_issues,
    is_requested,
    record_issues,
    sampling_issues,
    served_model_issues,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.ledger.book_attempts import Key
    from pytest_memleak.ledger.sampling_history import SamplingHistory
    from pytest_memleak.pipeline.sample_readers import SampledGenerations
    from pytest_memleak.records import Issue, Pair


@dataclass(frozen=True, slots=True)
class ProvenanceCheck:
    """Who generated the samples, with issues and notes."""

    provenance: Provenance = field(default_factory=Provenance)
    issues: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()


def check_provenance(own: SampledGenerations) -> ProvenanceCheck:
    """Check who generated a pair's own samples, or whose book they are records of."""
    match own:
        case LedgerSamples():
            return _check_ledger(own)
        case RecordedSamples():
            return _check_recording(own)
        case _:
            return ProvenanceCheck()


def _check_recording(own: RecordedSamples) -> ProvenanceCheck:
    """Check whether the records are of the pair's book."""
    described = own.recording.described
    if described is None:
        return ProvenanceCheck()
    continued = own.required.pair.probe.kind == "continuation"
    return ProvenanceCheck(
        issues=record_issues(own.book, described(own.book), continuation=continued),
    )


def _check_ledger(own: LedgerSamples) -> ProvenanceCheck:
    """Check who generated the samples, and that canaries show which weights."""
    check = _check_calls(own)
    if own.issues or not check.provenance.calls:
        return check
    canaries = own.canaries
    return replace(
        check,
        issues=(*check.issues, *canaries.unanswered_issues(own.until)),
        notes=(*check.notes, *canaries.rejected_temperature_notes(own.until)),
    )


def _check_calls(own: LedgerSamples) -> ProvenanceCheck:
    from pytest_memleak.ledger.sampling_history import lost_calls

    source, prompts, pair = own.source, own.prompts, own.required.pair
    record, history = _provenance_and_history(own)
    issues, notes = sampling_issues(pair.sampling.temperature, history.refused)
    if record.requested is not None:
        issues += (
            *served_model_issues(
                record.requested,
                history.writers,
                serves=pair.model.served_names,
            ),
        )
    if source.only_name_identifies_weights(pair) and record.first is not None:
        issues += (
            *_stored_weights_issues(own, record, first=record.first, history=history),
        )
    lost = lost_calls(source.ledger, source.endpoint_id, prompts, until=own.until)
    if lost:
        notes += (f"responses lost, and counted as billed: {amount(lost, 'call')}",)
    return ProvenanceCheck(record, issues, notes)


def _provenance_and_history(own: LedgerSamples) -> tuple[Provenance, SamplingHistory]:
    """Return endpoint, dates, and calls for evidence, and the history they are from."""
    from pytest_memleak.ledger.book_attempts import number_pair_attempt

    source, prompts, pair = own.source, own.prompts, own.required.pair
    history = source.history(prompts)
    offline = source.resources.offline
    if claimed := source.resources.claimed:  # of its own calls, only the run knows
        offline = claimed.offline
        own_calls = max(0, min(claimed.calls_this_run, history.calls))
        history = replace(history, calls_this_run=own_calls)
    record = Provenance(
        requested=abilities_of(source.endpoint).model_name,
        served=tuple(_served_by(source, pair, history)),
        first=history.first,
        last=history.last,
        calls_this_run=history.calls_this_run,
        calls=history.calls,
        offline=offline,
        refused=history.refused,
        weights=weights_label(pair, source.endpoint) or "a name",
        tried=number_pair_attempt(
            source.ledger,
            source.endpoint_id,
            prompts,
            until=own.until,
            find_requests=own.find_requests,
            own_keys=_canary_keys(own),
        ),
    )
    return record, history


def _canary_keys(own: LedgerSamples) -> set[Key]:
    canaries = canary_prompts(own.required.pair, own.book, rounds=1)
    return {prompt.key for prompt in canaries.specs}


def _served_by(
    source: LedgerEndpoint,
    pair: Pair,
    history: SamplingHistory,
) -> Iterator[ServedBy]:
    name = abilities_of(source.endpoint).model_name
    base_model = pair.model.base_model or ""
    accepted = (*pair.model.served_names, base_model, source.endpoint_id)
    for server, calls in history.served:
        requested = is_requested(server.model or "", name, accepted)
        yield shortened_served_by(
            server.model,
            server.fingerprint,
            calls,
            requested=requested,
        )


def _stored_weights_issues(
    own: LedgerSamples,
    record: Provenance,
    *,
    first: float,
    history: SamplingHistory,
) -> Iterator[Issue]:
    """Yield why stored generations may be of other weights than those behind the name.

    Age and changed canaries are the ledger's, whatever a bundle says of its run's own
    calls.

    first: when the first was sampled
    """
    age_days = max(0.0, own.until - first) / SECONDS_PER_DAY
    canaries = own.canaries.answers_unchanged(history.first_call, own.until)
    reused = record.calls > record.calls_this_run
    if canaries is not False and (record.offline or not reused):
        canaries = None if reused else True
    yield from age_issues(
        age_days,
        max_age_days=own.required.pair.sampling.max_age_days,
        canaries=canaries,
        wordless=canaries is False and own.canaries.lack_words(own.until),
    )


def shortened_served_by(
    model: str | None,
    fingerprint: str | None,
    calls: int,
    *,
    requested: bool,
) -> ServedBy:
    """Return who served, by names of together no more words than a report may quote.

    requested: whether the suite knows the model's name
    """
    if model:
        model = short_name(model) if requested else server_word(model)
    left = max(0, QUOTED_WORDS - count_words(model or ""))
    if fingerprint and not weights_digest(fingerprint):
        fingerprint = server_word(fingerprint, left)
    return ServedBy(model, fingerprint, calls)
