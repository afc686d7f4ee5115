"""Local models in actors of a Ray cluster: one per GPU, or per core if there is no GPU.

A completion depends on its seed alone, so any actor may serve any call.
"""

from __future__ import annotations

import contextlib
import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import MemleakError, ProviderBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_memleak.interfaces.protocols import Completion, Endpoint

    Join = Callable[[], Any]


class Actors:
    """An endpoint whose calls go to the next free actor; actors start with the first call.

    join: returns the module `ray`, connected to its cluster
    make: creates the endpoint, in an actor
    """

    def __init__(self, join: Join, make: Callable[[], Endpoint], *, endpoint_id: str) -> None:
        self.id = endpoint_id
        self._join = join
        self._make = make
        self._ray: Any = None
        self._kind: Any = None
        self._free: queue.Queue[Any] = queue.Queue()
        self._count = 0

    @property
    def concurrency(self) -> int:
        """Return the number of actors."""
        if not self._count:
            self._start()
        return self._count

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion]:
        """Sample from the endpoint. Raises what it raises, and ProviderBusy if an actor is lost."""
        if not self._count:
            self._start()
        actor = self._free.get()
        try:
            result = self._ray.get(
                actor.sample.remote(instruction, n, temperature, max_tokens, seed)
            )
        except self._ray.exceptions.RayError as error:
            self._ray.kill(actor)
            actor = self._kind.remote(self._make)
            raise ProviderBusy(
                f"the Ray cluster lost an actor ({type(error).__name__})",
                provider="ray",
                endpoint=self.id,
                call="sample",
                in_doubt=False,
            ) from None
        finally:
            self._free.put(actor)
        if isinstance(result, MemleakError):
            raise result
        completions: Sequence[Completion] = result
        return completions

    def close(self) -> None:
        """Stop the free actors; a busy one ends with this process's connection."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._ray.kill(self._free.get_nowait())

    def _start(self) -> None:
        self._ray = self._join()
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        # Without a GPU an actor reserves no core: scoring needs them in between.
        need = {"num_gpus": 1} if gpus else {}
        self._kind = self._ray.remote(scheduling_strategy="SPREAD", max_restarts=0, **need)(_Model)
        self._count = max(1, gpus or int(resources.get("CPU", 1)))
        for _ in range(self._count):
            self._free.put(self._kind.remote(self._make))


class _Model:
    """An endpoint inside an actor."""

    def __init__(self, make: Callable[[], Endpoint]) -> None:
        self._endpoint = make()

    def sample(
        self, instruction: str, n: int, temperature: float | None, max_tokens: int, seed: int | None
    ) -> Any:
        try:
            return self._endpoint.sample(
                instruction, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed
            )
        except MemleakError as error:
            return error


@dataclass(frozen=True, slots=True)
class ActorSampler:
    """The sampler of a provider's model that runs in actors."""

    name: str
    completions_per_call: int
    actors: Actors
    batch: bool = False

    @property
    def concurrency(self) -> int:
        """Return one call per actor."""
        return self.actors.concurrency
