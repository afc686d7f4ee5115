"""Deployments: models on machines that are billed by the hour.

    if isinstance(provider, DeployingProvider) and (spec := provider.deployment(weights)):
        operation = provider.start_deployment(spec)       # returns at once
        state = provider.poll_deployment(operation)       # has `endpoint` once it is ready
        provider.move_in(spec, endpoint, until=...)       # `open(weights)` uses it from now on
        while not provider.end_deployment(endpoint): ...  # until everything is deleted

Each method is one exchange with the provider; the caller records it in the ledger first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pytest_memleak.interfaces.protocols import JobState


@dataclass(frozen=True, slots=True)
class Deployment:
    """The specification of a deployment.

    digest:  identifies the specification; part of the provider's display name
    weights: the provider's name of the weights
    options: enough to make a provider that can delete the deployment
    hours:   the longest time that it is used
    """

    digest: str
    weights: str
    options: Mapping[str, Any] = field(repr=False)
    hours: float


@runtime_checkable
class DeployingProvider(Protocol):
    """A provider whose weights may need a deployment before `open`'s endpoint can be used."""

    name: str

    def deployment(self, weights: str | None) -> Deployment | None:
        """Return the deployment that `open(weights)` needs; None if it needs none."""
        ...

    def find_deployment(self, digest: str, *, since: float | None) -> str | None:
        """Return the endpoint or operation that carries `digest`, if there is one.

        since: the time of a request whose response never arrived (seconds since 1970).
        Raises ProviderBusy while pending operations may be this one.
        """
        ...

    def start_deployment(self, wanted: Deployment) -> str:
        """Request the deployment and return the operation's name at once."""
        ...

    def poll_deployment(self, job_id: str) -> JobState:
        """Return the state of a deployment, with its `endpoint` once it is ready."""
        ...

    def move_in(self, wanted: Deployment, endpoint: str, *, until: float) -> None:
        """Use the deployed endpoint for these weights from now on, up to that time."""
        ...

    def end_deployment(self, endpoint: str) -> bool:
        """Delete the next part of the deployment; return True once nothing billed is left."""
        ...
