"""Open models on machines billed by the hour, which speak OpenAI's API meanwhile.

What every provider of such machines shares; each deploys and deletes by its own API.
"""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pytest_memleak.interfaces.abilities import Deployment, DeploymentCalls
from pytest_memleak.providers.call_errors import CallErrorFactory
from pytest_memleak.providers.openai.api_forms import Api
from pytest_memleak.providers.openai.chat import ChatEndpoint, ChatSettings
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.openai.server_parameters import (
    PLAIN_ELSEWHERE,
    ServerParameters,
)

_NO_ADDRESS = "http://not-deployed.invalid"


class CallsToDeployedModel(OpenAICalls):
    """Calls to a model that has an address and a name only while it is deployed.

    place: replaces the address in names, since each deployment has another
    """

    names_model = False

    def __init__(
        self,
        provider: str,
        *,
        place: str | None,
        **settings: Any,
    ) -> None:
        super().__init__(base_url=_NO_ADDRESS, provider=provider, **settings)
        self.base_url = place or provider
        self._model = ""
        self._until: float | None = None

    def use_address_until(
        self,
        address: str,
        *,
        until: float,
        model: str = "",
    ) -> None:
        """Use an address and its name of the model, up to a time (since 1970)."""
        with self._lock:
            if address != self._address:
                self._address, self._client = address, None
            self._model, self._until = model, until

    def request_json(
        self,
        call: str,
        path: str,
        body: Mapping[str, Any],
        **place: Any,
    ) -> object:
        """Like `OpenAICalls.request_json`, with the deployment's name for the model."""
        return super().request_json(call, path, {**body, "model": self._model}, **place)

    def _validate(self, failing: CallErrorFactory) -> None:
        """Raise RequestNotSent before the deployment and after its hours."""
        if self._until is None:
            raise failing.not_sent("The model isn't deployed", lasting=True)
        if time.time() >= self._until:
            hint = "rerun to continue, or raise options.deployment.hours"
            raise failing.not_sent(
                "The deployment reached its time limit",
                hint,
                lasting=True,
            )


def open_model(
    model: str,
    calls: OpenAICalls,
    *,
    fixed: bool,
    system: tuple[str, ...],
    api: Api,
    plain: bool,
) -> ChatEndpoint:
    """Open an open model (often in vLLM); `fixed` if its name identifies weights."""
    return ChatEndpoint(
        settings=ChatSettings(
            model,
            system,
            api=api,
            plain=plain,
            fixed=fixed,
        ),
        calls=calls,
        parameters=ServerParameters(
            max_tokens_parameter="auto",
            api=api,
            plain=PLAIN_ELSEWHERE if plain else {},
        ),
    )


class DeployedModels(ABC):
    """The models that one provider deploys, by their weights; see `DeploymentCalls`.

    untuned: the weights without fine-tuning
    place:   the options that say where the machines are, which is enough to delete a
        deployment
    machine: the settings of the machine; with weights and place, they identify a
        deployment
    hours:   the longest time that a model stays deployed; None if the suite deploys
        none
    """

    def __init__(
        self,
        provider: str,
        *,
        untuned: str,
        place: Mapping[str, str | None],
        machine: Mapping[str, Any],
        hours: float | None,
    ) -> None:
        self._provider = provider
        self._untuned = untuned
        self._place = place
        self._hardware = machine
        self._hours = hours
        self.calls_to = defaultdict[str, CallsToDeployedModel](self._new_calls)

    def abilities(self, **calls: Any) -> DeploymentCalls:
        """Return the record with these `find`, `start`, `poll`, and `end`."""
        return DeploymentCalls(
            self._provider,
            self._deployment_for_weights,
            move_in=self._point_calls_at_deployment,
            **calls,
        )

    @abstractmethod
    def _new_calls(self) -> CallsToDeployedModel:
        """Return the calls of one model, before it is deployed."""

    @abstractmethod
    def _address_and_model_name(self, endpoint: str) -> tuple[str, str]:
        """Return an endpoint's address, and its name of the model."""

    def _deployment_for_weights(self, weights: str | None) -> Deployment | None:
        if self._hours is None:
            return None
        weights = weights or self._untuned
        text = json.dumps([weights, self._place, self._hardware], sort_keys=True)
        options = {
            name: value for name, value in self._place.items() if value is not None
        }
        return Deployment(
            digest=hashlib.sha256(text.encode()).hexdigest(),
            weights=weights,
            options={**options, "deployment": {}},
            hours=self._hours,
        )

    def _point_calls_at_deployment(
        self,
        deployment: Deployment,
        endpoint: str,
        until: float,
    ) -> None:
        address, model = self._address_and_model_name(endpoint)
        self.calls_to[deployment.weights].use_address_until(
            address, until=until, model=model
        )
