"""What a run has put up, and what of earlier runs may be standing still."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import JobPending, MemleakError
from pytest_memleak.interfaces.deployment_protocol import DeployingProvider
from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.records import Model

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.interfaces.deployment_protocol import Deployment
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.ledger.deployments import OpenDeployment
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.sampling.deployment import Stands
    from pytest_memleak.sampling.retry import Retry

__all__ = ["Deployments", "pay"]


class Deployments:
    """Those that a run asks, each put up before its first call and left at the run's end."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._standing: dict[tuple[str, int], tuple[DeployingProvider, Stands]] = {}
        self._moved: set[tuple[str, int]] = set()
        self._awaited: set[str] = set()

    def stand_up(
        self, provider: DeployingProvider, wanted: Deployment, *, price: float | None
    ) -> None:
        """See to it that it stands, and that its endpoints know where. Raises Inconclusive."""
        from pytest_memleak.sampling.deployment import ensure_deployment, move_in

        key, resources = (wanted.digest, id(provider)), self._resources
        if key in self._moved:
            return
        try:
            stands = ensure_deployment(
                resources.ledger,
                provider,
                wanted,
                price=price,
                budget=resources.budget,
                wait=resources.wait,
                retry=resources.retry,
                progress=resources.progress,
            )
        except JobPending:
            self._awaited.add(wanted.digest)
            raise
        self._standing[key] = provider, stands
        move_in(provider, wanted, stands, retry=resources.retry)
        self._moved.add(key)

    def leave(self) -> None:
        """Take down what nobody else asks; what cannot be now stays a debt in the ledger."""
        while self._standing:
            from pytest_memleak.sampling.deployment import leave

            provider, stands = self._standing.popitem()[1]
            leave(self._resources.ledger, provider, stands, retry=self._resources.retry)

    @property
    def held(self) -> set[str]:
        """The digests of those that are asked, or waited for."""
        return {*(digest for digest, _ in self._standing), *self._awaited}


def pay(
    debt: OpenDeployment,
    extensions: Extensions,
    *,
    ledger: Ledger,
    state: Path,
    retry: Retry | None,
) -> bool:
    """Take down what the debt names; whether nothing of it is left.

    Raises MemleakError where its provider cannot even be made.
    """
    from pytest_memleak.sampling.deployment import settle

    return settle(ledger, _provider_of(debt, extensions, state), debt, retry=retry)


def _provider_of(debt: OpenDeployment, extensions: Extensions, state: Path) -> DeployingProvider:
    """The provider as the ledger's row makes it, without the suite that it was put up for."""
    place = f"the ledger's deployment {debt.number}"
    model = Model(
        id=f"deployment {debt.number}",
        provider=debt.provider,
        endpoint=debt.weights,
        options=debt.options,
    )

    def no_book(_: str) -> object:
        raise MemleakError("it is made to be taken down, and reads no book", place=place)

    made = extensions.provider(debt.provider, place=place)(
        ProviderSetup(
            model=model,
            place=place,
            root=state,
            state=state / debt.provider,
            read_book=no_book,  # type: ignore[arg-type]
        )
    )
    if not isinstance(made, DeployingProvider):
        raise MemleakError(f"the provider {debt.provider!r} takes nothing down", place=place)
    return made
