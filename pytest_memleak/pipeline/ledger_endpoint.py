"""An endpoint through the ledger, which stores every generation and requests none twice.

Also its provenance: which model served, and whether it is the requested one
(docs/method.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.abilities import abilities_of, id_of
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.provenance import Provenance, ServedBy, weights_digest
from pytest_memleak.redaction.text import (
    QUOTED_WORDS,
    count_words,
    server_word,
    short_name,
)
from pytest_memleak.verdict.model_identity import (
    age_issues,
    is_requested,
    sampling_issues,
    served_model_issues,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.ledger.call_reservations import CallTerms
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.ledger.sampling_history import SamplingHistory
    from pytest_memleak.pipeline.endpoints import Endpoints
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.records import Generation, Issue, Model, Pair
    from pytest_memleak.sampling.backoff import Retry
    from pytest_memleak.sampling.cost_plan import Plan

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class ProvenanceCheck:
    """Who generated the samples, with issues and notes."""

    provenance: Provenance = field(default_factory=Provenance)
    issues: tuple[Issue, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerEndpoint:
    """Samples one endpoint, and reads what the ledger holds of it.

    endpoint_id: the ledger's name; kept: whether the ledger outlives the run;
    stand_up: deploys the endpoint; notice: shown while it samples
    """

    endpoint: Endpoint
    endpoint_id: str
    ledger: Ledger
    terms: CallTerms
    resources: Resources
    retry: Retry
    kept: bool
    stand_up: Callable[[], object] | None = None
    notice: str = ""

    def sample_missing(self, prompts: PairPrompts) -> None:
        """Sample what the ledger lacks; nothing where the run is offline. Raises Inconclusive."""
        from pytest_memleak.sampling.loop import sample_missing

        if self.resources.offline:
            return
        if self.stand_up is not None and self.left(prompts).generations:
            self.stand_up()
        sample_missing(
            self.ledger,
            self.endpoint,
            endpoint_id=self.endpoint_id,
            prompts=prompts,
            terms=self.terms,
            budget=self.resources.budget,
            progress=self.resources.progress,
            retry=self.retry,
            wait=self.resources.wait,
            notice=self.notice,
        )

    def generations(self, prompts: PairPrompts) -> Iterable[Generation]:
        """Return the generations of the requested rounds."""
        from pytest_memleak.ledger.ledger_queries import generations

        return generations(self.ledger, self.endpoint_id, prompts)

    def all_there(self, prompts: PairPrompts, until: float) -> Iterator[Generation]:
        """Yield these, then what the server sent beyond the request up to `until`."""
        from pytest_memleak.ledger.ledger_queries import unrequested

        yield from self.generations(prompts)
        yield from unrequested(self.ledger, self.endpoint_id, prompts, until=until)

    def history(self, prompts: PairPrompts) -> SamplingHistory:
        """Return when and by whom the requested rounds were sampled."""
        from pytest_memleak.ledger.sampling_history import provenance

        return provenance(self.ledger, self.endpoint_id, prompts)

    def current_series(
        self, pair: Pair, prompts: PairPrompts, *, may_sample: bool
    ) -> LedgerEndpoint:
        """Return this endpoint, or the next series if it is a mere name whose samples are too old.

        may_sample: whether to begin a series; else only one with samples counts
        """
        from pytest_memleak.ledger.sampling_history import next_series

        if not self.is_name(pair):
            return self
        first = self.history(prompts).first
        if (
            first is None
            or self.resources.now - first <= pair.sampling.max_age_days * _DAY
        ):
            return self
        again = replace(self, endpoint_id=next_series(self.endpoint_id))
        began = again.history(prompts).first
        if may_sample or (began is not None and began <= self.resources.now):
            return again.current_series(pair, prompts, may_sample=may_sample)
        return self

    def is_name(self, pair: Pair) -> bool:
        """Tell whether nothing but a name identifies its weights, and the ledger keeps it."""
        return self.kept and not weights_label(pair, self.endpoint)

    def left(self, prompts: PairPrompts) -> Plan:
        """Plan what is still to be sampled."""
        from pytest_memleak.sampling.cost_plan import plan

        return plan(self.ledger, self.endpoint_id, prompts, self.terms)


def weights_label(pair: Pair, endpoint: Endpoint) -> str:
    """Return what identifies the weights behind an endpoint; "" where it is only a name."""
    if pair.model.weights_version:
        return f"release {pair.model.weights_version}"
    if pair.model.finetune_books:
        return "fine-tune"
    return "fixed" if abilities_of(endpoint).fixed_weights else ""


def through_ledger(
    model: Model, endpoints: Endpoints, endpoint: Endpoint, *, own: bool
) -> LedgerEndpoint:
    """Return the model's endpoint with its ledger; `own` where no provider of the suite made it.

    An endpoint without an id is kept for this run only.
    """
    from pytest_memleak.ledger.sampling_history import with_weights_version

    resources, own_id = endpoints.resources, id_of(endpoint)
    kept_as = with_weights_version(own_id, model.weights_version) if own_id else None
    terms = call_terms(model, endpoints, own=own)
    deploys = abilities_of(terms.sampler).deployments is not None
    return LedgerEndpoint(
        endpoint,
        kept_as or resources.name_of_unkept(endpoint),
        resources.ledger if kept_as else resources.unkept,
        terms,
        resources,
        endpoints.retry,
        kept=bool(kept_as),
        stand_up=partial(endpoints.stand_up, model) if deploys else None,
    )


def call_terms(model: Model, endpoints: Endpoints, *, own: bool) -> CallTerms:
    """Return how the model's endpoint is called, and at what price."""
    from pytest_memleak.ledger.call_reservations import CallTerms, OwnEndpoint

    sampler = OwnEndpoint() if own else endpoints.provider(model)
    free = not own and endpoints.is_free(model)
    return CallTerms(sampler, model.price and model.price[:2], free)


def check_provenance(
    source: LedgerEndpoint,
    prompts: PairPrompts,
    pair: Pair,
    *,
    until: float,
    same: Callable[[int, float], bool | None],
) -> ProvenanceCheck:
    """Check who generated the samples that the ledger holds for some prompts.

    until: the time up to which the ledger was read
    same: whether the canaries that followed a call, up to a time, answered as at first
    """
    from pytest_memleak.ledger.sampling_history import lost_calls, tried

    history, offline = source.history(prompts), source.resources.offline
    if claimed := source.resources.claimed:  # of its own calls, only the run knows
        offline, own_calls = claimed.offline, min(claimed.calls_this_run, history.calls)
        history = replace(history, calls_this_run=max(0, own_calls))
    name = abilities_of(source.endpoint).model_name
    accepted = (
        *pair.model.served_names,
        pair.model.base_model or "",
        source.endpoint_id,
    )
    served = tuple(
        served_record(
            server.model,
            server.fingerprint,
            calls,
            requested=is_requested(server.model or "", name, accepted),
        )
        for server, calls in history.served
    )
    record = Provenance(
        requested=name,
        served=served,
        first=history.first,
        last=history.last,
        calls_this_run=history.calls_this_run,
        calls=history.calls,
        offline=offline,
        refused=history.refused,
        weights=weights_label(pair, source.endpoint) or "a name",
        tried=tried(source.ledger, source.endpoint_id, prompts, until=until),
    )
    issues, notes = sampling_issues(pair.sampling.temperature, history.refused)
    by_name = {server.model: calls for server, calls in history.served}
    if name is not None:
        issues += (*served_model_issues(name, by_name, serves=pair.model.served_names),)
    if source.is_name(pair) and record.first is not None:
        # Age and changed canaries are the ledger's, whatever a bundle says of its run's
        # own calls.
        age, canaries = (
            max(0.0, until - record.first) / _DAY,
            same(history.first_call, until),
        )
        reused = record.calls > record.calls_this_run
        if canaries is not False and (offline or not reused):
            canaries = None if reused else True
        limit = pair.sampling.max_age_days
        issues += (*age_issues(age, max_age_days=limit, canaries=canaries),)
    if lost := lost_calls(source.ledger, source.endpoint_id, prompts, until=until):
        notes += (f"responses lost, and counted as billed: {amount(lost, 'call')}",)
    return ProvenanceCheck(record, issues, notes)


def with_notice(
    source: LedgerEndpoint, prompts: PairPrompts, pair: Pair
) -> LedgerEndpoint:
    """Return the endpoint with a notice, shown at once, if another model answered these prompts."""
    name = abilities_of(source.endpoint).model_name
    if name is None:
        return source
    by_name = {server.model: calls for server, calls in source.history(prompts).served}
    issues = served_model_issues(name, by_name, serves=pair.model.served_names)
    return replace(source, notice=str(next(issues, "")))


def served_record(
    model: str | None, fingerprint: str | None, calls: int, *, requested: bool
) -> ServedBy:
    """Return who served, by names of together no more words than a report may quote.

    requested: whether the suite knows the model's name
    """
    model = model and (short_name(model) if requested else server_word(model))
    left = max(0, QUOTED_WORDS - count_words(model or ""))
    if fingerprint and not weights_digest(fingerprint):
        fingerprint = server_word(fingerprint, left)
    return ServedBy(model, fingerprint, calls)
