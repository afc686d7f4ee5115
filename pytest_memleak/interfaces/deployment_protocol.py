"""A model that has to stand on machines, paid by the hour, before it can be asked.

    if isinstance(provider, DeployingProvider) and (wanted := provider.deployment(weights)):
        operation = provider.start_deployment(wanted)     # returns at once
        state = provider.poll_deployment(operation)       # its `endpoint` once it stands
        provider.move_in(wanted, endpoint, until=...)     # `open(weights)` is answered there now
        while not provider.end_deployment(endpoint): ...  # until nothing of it is left

Like the other verbs each is one exchange, and who keeps the ledger decides about money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pytest_memleak.interfaces.protocols import JobState


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is to stand where.

    digest:  names all that makes it what it is; the provider's display name carries it
    weights: as the provider names them
    options: a provider made with these alone, and `weights` as its endpoint, can take it down
    hours:   the longest that it is asked at all
    """

    digest: str
    weights: str
    options: Mapping[str, Any] = field(repr=False)
    hours: float


@runtime_checkable
class DeployingProvider(Protocol):
    """A provider whose weights may have to be deployed before `open`'s endpoint can be asked."""

    name: str

    def deployment(self, weights: str | None) -> Deployment | None:
        """What has to stand for `open(weights)`; None where nothing has to."""
        ...

    def find_deployment(self, digest: str, *, since: float | None) -> str | None:
        """The endpoint or operation that carries `digest`, if there is one.

        since: when one may have been asked for whose answer never came (seconds since 1970).
        Raises ProviderBusy while others are on their way of which it may be one.
        """
        ...

    def start_deployment(self, wanted: Deployment) -> str:
        """Ask for it; returns the operation's name at once."""
        ...

    def poll_deployment(self, job_id: str) -> JobState:
        """Where what was found or started stands; its `endpoint` once it can be asked."""
        ...

    def move_in(self, wanted: Deployment, endpoint: str, *, until: float) -> None:
        """Endpoints of these weights are answered there from now on, up to that time."""
        ...

    def end_deployment(self, endpoint: str) -> bool:
        """One step of taking down; True once nothing is left that costs anything."""
        ...
