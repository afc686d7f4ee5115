"""An open model on machines that are billed by the hour, and speak OpenAI's API while it is there.

What every provider of such machines shares; it deploys and deletes by its own API.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pytest_memleak.interfaces.abilities import Deployment
from pytest_memleak.providers.call_errors import Failing
from pytest_memleak.providers.openai.chat import ChatEndpoint, ChatSettings
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.openai.server_parameters import PLAIN_ELSEWHERE, Api, ServerParameters

if TYPE_CHECKING:
    from openai import OpenAI

_Answer = TypeVar("_Answer")

_NO_ADDRESS = "http://not-deployed.invalid"


def deployment_of(
    weights: str,
    *,
    place: Mapping[str, str | None],
    machines: Mapping[str, Any],
    hours: float,
) -> Deployment:
    """Return the deployment of the weights; `place` and `machines` identify it, too.

    place: the options that say where it is, which is enough to delete it
    """
    text = json.dumps([weights, place, machines], sort_keys=True)
    options = {name: value for name, value in place.items() if value is not None}
    return Deployment(
        digest=hashlib.sha256(text.encode()).hexdigest(),
        weights=weights,
        options={**options, "deployment": {}},
        hours=hours,
    )


class DeployedCalls(OpenAICalls):
    """Calls to a model that has an address and a name only while it is deployed.

    place: replaces the address in names, since each deployment has another
    """

    names_model = False

    def __init__(
        self,
        provider: str,
        *,
        place: str | None,
        timeout: float,
        key_variable: str = "",
        auth: Literal["key", "google"] = "key",
    ) -> None:
        super().__init__(
            base_url=_NO_ADDRESS,
            key_variable=key_variable,
            timeout=timeout,
            auth=auth,
            provider=provider,
        )
        self.base_url = place or provider
        self._model = ""
        self._until: float | None = None

    def move_to(self, address: str, *, until: float, model: str = "") -> None:
        """Use an address up to a time (seconds since 1970), and the model's name there."""
        with self._lock:
            if address != self._address:
                self._address, self._client = address, None
            self._model, self._until = model, until

    def ask(
        self,
        call: str,
        function: Callable[[OpenAI], _Answer],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
        sent: Iterable[str] = (),
    ) -> _Answer:
        """Like `OpenAICalls.ask`; RequestNotSent before the deployment and after its hours."""
        failing = Failing(self.provider, endpoint, call)
        if self._until is None:
            raise failing.not_sent("The model isn't deployed", lasting=True)
        if time.time() >= self._until:
            hint = "rerun to continue, or raise options.deployment.hours"
            raise failing.not_sent("The deployment reached its time limit", hint, lasting=True)
        return super().ask(call, function, endpoint=endpoint, texts=texts, sent=sent)

    def ask_json(
        self,
        call: str,
        path: str,
        body: Mapping[str, Any],
        *,
        endpoint: str,
        texts: Sequence[str] = (),
    ) -> object:
        """Like `OpenAICalls.ask_json`, with the deployment's name for the model."""
        named = {**body, "model": self._model}
        return super().ask_json(call, path, named, endpoint=endpoint, texts=texts)


def open_model(
    model: str, calls: OpenAICalls, *, fixed: bool, system: str | None, api: Api, plain: bool
) -> ChatEndpoint:
    """Open an open model (mostly in vLLM); `fixed` if its name identifies its weights."""
    return ChatEndpoint(
        settings=ChatSettings(model, system, api=api, plain=plain, fixed=fixed),
        calls=calls,
        parameters=ServerParameters(
            max_tokens_parameter="auto", api=api, plain=PLAIN_ELSEWHERE if plain else {}
        ),
    )
