"""Local models in actors of a Ray cluster: one on each GPU, or on each core where there is none.

Every answer depends on its seed alone, so that it does not matter which actor gives it.
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
    """An endpoint whose calls go to whichever actor is free; they start with the first call.

    join: gives the module `ray` with its cluster joined; make: makes the endpoint, in an actor
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
        """The number of actors."""
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
        """As the endpoint itself. Raises what it raises, ProviderBusy where an actor is lost."""
        if not self._count:
            self._start()
        actor = self._free.get()
        try:
            answer = self._ray.get(
                actor.sample.remote(instruction, n, temperature, max_tokens, seed)
            )
        except self._ray.exceptions.RayError as error:
            self._ray.kill(actor)
            actor = self._kind.remote(self._make)
            raise ProviderBusy(
                f"its actor on the Ray cluster is lost ({type(error).__name__})",
                provider="ray",
                endpoint=self.id,
                call="sample",
                in_doubt=False,
            ) from None
        finally:
            self._free.put(actor)
        if isinstance(answer, MemleakError):
            raise answer
        completions: Sequence[Completion] = answer
        return completions

    def close(self) -> None:
        """Let the free actors go; one that is at work ends with this process's connection."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._ray.kill(self._free.get_nowait())

    def _start(self) -> None:
        self._ray = self._join()
        there = self._ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        # Without a GPU an actor reserves no core while it runs: scoring needs them in between.
        need = {"num_gpus": 1} if gpus else {}
        self._kind = self._ray.remote(scheduling_strategy="SPREAD", max_restarts=0, **need)(_Model)
        self._count = max(1, gpus or int(there.get("CPU", 1)))
        for _ in range(self._count):
            self._free.put(self._kind.remote(self._make))


class _Model:
    """In an actor: the endpoint, made there."""

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
    """How the actors of a provider's model are called."""

    name: str
    completions_per_call: int
    actors: Actors
    batch: bool = False

    @property
    def concurrency(self) -> int:
        """One call for each actor."""
        return self.actors.concurrency
