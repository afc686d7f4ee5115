"""An endpoint as a pair draws from it: through a ledger of the run, on the run's terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.contracts.protocols import Endpoint
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.prices import Terms
    from pytest_memleak.ledger.questions import Questionnaire
    from pytest_memleak.records import Generation, Pair
    from pytest_memleak.sampling.budget import Plan
    from pytest_memleak.sampling.loop import Progress
    from pytest_memleak.story.resources import Means
    from pytest_memleak.story.workshop import Workshop

__all__ = ["Channel", "open_channel", "terms_of"]


@dataclass(frozen=True, slots=True)
class Channel:
    """Draws from one endpoint, and reads what was drawn. `endpoint_id` is the ledger's name."""

    endpoint: Endpoint
    endpoint_id: str
    ledger: Ledger
    terms: Terms
    means: Means
    progress: Progress | None

    def draw(self, asked: Questionnaire) -> None:
        """Draw what the ledger lacks; nothing where the run is offline. Raises Inconclusive."""
        from pytest_memleak.sampling.loop import draw

        if self.means.offline:
            return
        draw(
            self.ledger,
            self.endpoint,
            endpoint_id=self.endpoint_id,
            questionnaire=asked,
            terms=self.terms,
            budget=self.means.budget,
            progress=self.progress,
            retry=self.means.patience,
            wait=self.means.wait,
        )

    def drawn(self, asked: Questionnaire) -> Iterable[Generation]:
        """Every generation that is there."""
        from pytest_memleak.ledger.reading import generations

        return generations(self.ledger, self.endpoint_id, asked)

    def left(self, asked: Questionnaire) -> Plan:
        """What is still to be drawn."""
        from pytest_memleak.sampling.budget import plan

        return plan(self.ledger, self.endpoint_id, asked, self.terms)


def open_channel(
    pair: Pair,
    workshop: Workshop,
    endpoint: Endpoint,
    *,
    own: bool,
    progress: Progress | None = None,
) -> Channel:
    """The channel to an endpoint; `own` where no provider of the suite made it.

    One without an id is kept for this run only.
    """
    means = workshop.means
    kept_as: str | None = getattr(endpoint, "id", None)
    terms = terms_of(pair, workshop, own=own)
    actors = means.actors_of(endpoint)
    if actors is not None:
        from pytest_memleak.parallel.actors import ActorSampler

        sampler = ActorSampler(terms.sampler.name, terms.sampler.completions_per_call, actors)
        terms = replace(terms, sampler=sampler)
    return Channel(
        actors or endpoint,
        kept_as or means.name_of_unkept(endpoint),
        means.ledger if kept_as else means.unkept,
        terms,
        means,
        progress,
    )


def terms_of(pair: Pair, workshop: Workshop, *, own: bool) -> Terms:
    """How the pair's endpoint is called, and for what price."""
    from pytest_memleak.ledger.prices import OwnEndpoint, Terms

    sampler = OwnEndpoint() if own else workshop.provider(pair.model)
    return Terms(sampler, pair.model.price and pair.model.price[:2])
