"""An endpoint through the ledger: every generation is stored, none requested twice.

`pipeline.provenance_check` tells which model served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.abilities import abilities_of, id_of
from pytest_memleak.pipeline.canaries import Canaries
from pytest_memleak.pipeline.control_prompts import ControlCalls
from pytest_memleak.verdict.provenance_issues import served_model_issues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.ledger.call_reservations import CallTerms
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.ledger.sampling_history import SamplingHistory
    from pytest_memleak.pipeline.endpoints import Endpoints
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.records import Book, Generation, Model, Pair
    from pytest_memleak.sampling.cost_plan import Plan, PlannedOrdinals
    from pytest_memleak.sampling.retry import Retry


SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class LedgerEndpoint:
    """Samples one endpoint, and reads what the ledger holds of it.

    endpoint_id: its name in the ledger
    kept: whether the ledger outlives the run
    controls: its control calls
    deploy: deploys the endpoint
    notice: shown while it samples
    """

    endpoint: Endpoint
    endpoint_id: str
    ledger: Ledger
    terms: CallTerms
    resources: Resources
    retry: Retry
    kept: bool
    controls: ControlCalls
    deploy: Callable[[], object] | None = None
    notice: str = ""

    def sample_missing(self, prompts: PairPrompts, *, one_by_one: bool = False) -> None:
        """Sample what the ledger lacks; offline, nothing. Raises Inconclusive.

        one_by_one: whether calls follow each other, so that no server batches them
        """
        from pytest_memleak.sampling.loop import sample_missing

        if self.resources.offline:
            return
        steps = [abilities_of(self.terms.sampler).load, self.deploy]
        needed = [step for step in steps if step is not None]
        if needed and self.plan_missing(prompts).generations:
            for step in needed:
                step()
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
            one_by_one=one_by_one,
        )

    def generations(self, prompts: PairPrompts) -> Iterable[Generation]:
        """Return the generations of the requested rounds."""
        from pytest_memleak.ledger.ledger_queries import generations

        return generations(self.ledger, self.endpoint_id, prompts)

    def requested_and_surplus(
        self, prompts: PairPrompts, until: float
    ) -> Iterator[Generation]:
        """Yield these, then what the server sent beyond the request up to `until`."""
        from pytest_memleak.ledger.ledger_queries import generations_beyond_call

        yield from self.generations(prompts)
        yield from generations_beyond_call(
            self.ledger, self.endpoint_id, prompts, until=until
        )

    def history(self, prompts: PairPrompts) -> SamplingHistory:
        """Return when and by whom the requested rounds were sampled."""
        from pytest_memleak.ledger.sampling_history import summarize_history

        return summarize_history(self.ledger, self.endpoint_id, prompts)

    def endpoint_within_max_age(
        self,
        pair: Pair,
        prompts: PairPrompts,
        *,
        may_sample: bool,
    ) -> LedgerEndpoint:
        """Return the next series, if this one is of a mere name and too old.

        may_sample: whether to begin a series; else only one with samples counts
        """
        from pytest_memleak.ledger.sampling_history import next_series

        if not self.only_name_identifies_weights(pair):
            return self
        first = self.history(prompts).first
        max_age = pair.sampling.max_age_days * SECONDS_PER_DAY
        if first is None or self.resources.evaluation_time - first <= max_age:
            return self
        again = replace(self, endpoint_id=next_series(self.endpoint_id))
        began = again.history(prompts).first
        if may_sample or (
            began is not None and began <= self.resources.evaluation_time
        ):
            return again.endpoint_within_max_age(pair, prompts, may_sample=may_sample)
        return self

    def only_name_identifies_weights(self, pair: Pair) -> bool:
        """Tell whether the ledger keeps it, and only a name identifies its weights."""
        return self.kept and not weights_label(pair, self.endpoint)

    def with_other_model_notice(
        self, prompts: PairPrompts, pair: Pair
    ) -> LedgerEndpoint:
        """Return it with a notice if another model answered these prompts."""
        name = abilities_of(self.endpoint).model_name
        if name is None:
            return self
        issues = served_model_issues(
            name,
            self.history(prompts).writers,
            serves=pair.model.served_names,
        )
        return replace(self, notice=str(next(issues, "")))

    def canaries(self, pair: Pair, book: Book) -> Canaries:
        """Return its canaries for a book, as the pair prompts for it."""
        return Canaries(self.ledger, self.endpoint_id, pair, book)

    def control_prompts(self, pair: Pair, completions: int) -> PairPrompts:
        """Return the prompts of so many control completions."""
        return self.controls.prompts(pair, completions)

    def plan_missing(
        self, prompts: PairPrompts, counted: PlannedOrdinals | None = None
    ) -> Plan:
        """Plan what is still to be sampled, without what is `counted` already."""
        from pytest_memleak.sampling.cost_plan import plan

        return plan(self.ledger, self.endpoint_id, prompts, self.terms, counted)


@dataclass(frozen=True, slots=True)
class FutureEndpoint:
    """An endpoint that doesn't exist before its fine-tune: nothing of it is stored.

    name: one that no endpoint in the ledger has
    controls: its control calls
    """

    name: str
    ledger: Ledger
    terms: CallTerms
    controls: ControlCalls

    @classmethod
    def from_model(cls, model: Model, endpoints: Endpoints) -> FutureEndpoint:
        """Return the endpoint that the model's fine-tune will bring."""
        digest = endpoints.training_set(model, foreseen=True).digest
        terms = call_terms(model, endpoints, own=False)
        return cls(
            f"fine-tune {digest}",
            endpoints.resources.ledger,
            terms,
            ControlCalls(endpoints.books, None),
        )

    def plan_missing(
        self, prompts: PairPrompts, counted: PlannedOrdinals | None = None
    ) -> Plan:
        """Plan all of the prompts' generations, without what is `counted` already."""
        from pytest_memleak.sampling.cost_plan import plan

        return plan(self.ledger, self.name, prompts, self.terms, counted)


def weights_label(pair: Pair, endpoint: Endpoint) -> str:
    """Return what identifies an endpoint's weights; "" where only a name does."""
    if pair.model.weights_version:
        return f"release {pair.model.weights_version}"
    if pair.model.finetune_books:
        return "fine-tune"
    return "fixed" if abilities_of(endpoint).fixed_weights else ""


def build_ledger_endpoint(
    model: Model,
    endpoints: Endpoints,
    endpoint: Endpoint,
    *,
    own: bool,
    probed: Endpoint | None = None,
) -> LedgerEndpoint:
    """Return the model's endpoint with its ledger.

    An endpoint without an id is kept for this run only.

    own: whether a test brought it, so that no provider of the suite made it
    probed: the endpoint that it continues texts for, if another
    """
    from pytest_memleak.ledger.sampling_history import with_weights_version

    resources = endpoints.resources
    own_id = id_of(endpoint)
    kept_as = None
    if own_id is not None:
        kept_as = with_weights_version(own_id, model.weights_version)
    terms = call_terms(model, endpoints, own=own)
    deploys = abilities_of(terms.sampler).deployments is not None
    return LedgerEndpoint(
        endpoint,
        kept_as or resources.name_for_unidentified(endpoint),
        resources.ledger if kept_as else resources.memory_ledger,
        terms,
        resources,
        endpoints.retry,
        kept=bool(kept_as),
        controls=ControlCalls(endpoints.books, probed or endpoint),
        deploy=partial(endpoints.deploy, model) if deploys else None,
    )


def call_terms(
    model: Model,
    endpoints: Endpoints,
    *,
    own: bool,
) -> CallTerms:
    """Return how the model's endpoint is called, and at what price."""
    from pytest_memleak.ledger.call_reservations import CallTerms, OwnEndpoint

    sampler = OwnEndpoint() if own else endpoints.provider(model)
    free = not own and endpoints.is_free(model)
    return CallTerms(sampler, model.price and model.price[:2], free)
