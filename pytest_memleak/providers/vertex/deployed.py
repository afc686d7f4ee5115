"""Endpoints whose models speak OpenAI's form: deployed for this run, or found there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pytest_memleak.interfaces.capabilities import Obeyed
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.providers.call_errors import Failing, Refused
from pytest_memleak.providers.openai.chat import ChatEndpoint, ChatSettings
from pytest_memleak.providers.openai.openai_client import Calls
from pytest_memleak.providers.openai.server_parameters import PLAIN_ELSEWHERE, Api, ServerParameters
from pytest_memleak.providers.vertex.gemini import GeminiEndpoint, GeminiSettings
from pytest_memleak.providers.vertex.vertex_client import PROVIDER
from pytest_memleak.providers.vertex.vertex_client import Calls as VertexCalls

if TYPE_CHECKING:
    from openai import OpenAI

_Answer = TypeVar("_Answer")

_NO_ADDRESS = "http://not-deployed.invalid"


def habits_of(*, api: Api, plain: bool) -> ServerParameters:
    """What is asked of how to sample by a container of Google's (vLLM's, mostly)."""
    return ServerParameters(
        max_tokens_parameter="auto", api=api, plain=PLAIN_ELSEWHERE if plain else {}
    )


class DeployedCalls(Calls):
    """Calls to a model that has no address before it is deployed, and only so many hours then.

    place: who stands for the address in names, since each deployment has another.
    """

    def __init__(self, *, place: str, timeout: float) -> None:
        super().__init__(
            base_url=_NO_ADDRESS,
            key_variable="",
            organization=None,
            project=None,
            timeout=timeout,
            auth="google",
            provider=PROVIDER,
        )
        self.base_url = place
        self._until: float | None = None

    def move_to(self, address: str, *, until: float) -> None:
        """It stands there, up to that time (seconds since 1970)."""
        with self._lock:
            if address != self._address:
                self._address, self._client = address, None
            self._until = until

    def ask(
        self,
        call: str,
        function: Callable[[OpenAI], _Answer],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> _Answer:
        """As `Calls.ask`; RequestNotSent where it does not stand, or its hours are over."""
        failing = Failing(PROVIDER, endpoint, call)
        if self._until is None:
            raise failing.not_sent("the model is not deployed", lasting=True)
        if time.time() >= self._until:
            hint = "the next run goes on; options.deployment.hours gives it longer"
            raise failing.not_sent("the deployment's hours are over", hint, lasting=True)
        return super().ask(call, function, endpoint=endpoint, texts=texts)


class DeployedEndpoint(ChatEndpoint):
    """A model by its weights, wherever they stand; `id` names the weights and the place."""

    @property
    def model_name(self) -> None:  # type: ignore[override]
        """None: it is asked by its address, and the container calls it what it likes."""
        return

    @property
    def fixed_weights(self) -> bool:
        """Whether the name is a folder's, which a tuning job writes once."""
        return self._settings.model.startswith("gs://")

    def _kind_of_text(self) -> type[ChatEndpoint]:
        return DeployedEndpoint


class FoundEndpoint(GeminiEndpoint):
    """An endpoint that exists, of either kind: its first call finds out which.

    address: where it is asked in OpenAI's form; None for one that answers as Gemini does.
    """

    def __init__(
        self,
        *,
        settings: GeminiSettings,
        calls: VertexCalls,
        address: Callable[[], str | None],
    ) -> None:
        super().__init__(settings=settings, calls=calls)
        self._address = address
        self._looked = False
        self._open: DeployedEndpoint | None = None
        self._looking = threading.Lock()

    @property
    def obeyed(self) -> Mapping[str, Obeyed]:
        """What was asked of how to sample, and what of it was refused."""
        return super().obeyed if self._open is None else self._open.obeyed

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion]:
        """As `GeminiEndpoint.sample`, or `ChatEndpoint.sample`."""
        with self._looking:
            if not self._looked:
                address = self._address_if_told()
                self._open = None if address is None else self._of_ones_own(address)
                self._looked = True
        asked = super().sample if self._open is None else self._open.sample
        return asked(instruction, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed)

    def _address_if_told(self) -> str | None:
        """None, too, where it may be asked and not looked at: its own answer says what is wrong."""
        try:
            return self._address()
        except Refused:
            return None

    def _of_ones_own(self, address: str) -> DeployedEndpoint:
        settings = self._settings
        unheard = {
            "thinking_budget": settings.thinking_budget,
            "safety_threshold": settings.safety_threshold,
            "generation_config": settings.generation_config or None,
        }
        given = [f"options.{name}" for name, value in unheard.items() if value is not None]
        if given:
            raise Failing(PROVIDER, settings.model, "sample").final(
                f"the endpoint has a model of one's own, which knows no {' and no '.join(given)}",
                "take that out of the suite",
            )
        calls = DeployedCalls(place=self._calls.base_url or PROVIDER, timeout=self._calls.timeout)
        calls.move_to(address, until=float("inf"))
        return DeployedEndpoint(
            settings=ChatSettings(
                model=settings.model, system=settings.system, plain=settings.plain, named=False
            ),
            calls=calls,
            habits=habits_of(api="auto", plain=settings.plain),
        )
