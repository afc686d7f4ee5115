"""Open models on Vertex AI's machines: deployed, found again, called, and deleted.

The endpoint's display name holds the digest. Vertex AI accepts no request id, lists an
endpoint late, and doesn't name the future endpoint of an operation: so an operation
that may be ours is waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from pytest_memleak.errors import ProviderBusy
from pytest_memleak.interfaces.abilities import Deployment, ParameterValues
from pytest_memleak.interfaces.protocols import (
    Completion,
    JobState,
    JobStatus,
    SampleRequest,
)
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    RequestRejected,
    safe_message,
)
from pytest_memleak.providers.openai.chat import ChatEndpoint
from pytest_memleak.providers.openai.deployed_model import (
    CallsToDeployedModel,
    DeployedModels,
    open_model,
)
from pytest_memleak.providers.vertex.gemini import GeminiEndpoint, GeminiSettings
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, VertexCalls
from pytest_memleak.providers.vertex.vertex_options import DeploymentTable

_LONGEST = timedelta(hours=2)  # Google's limit for a deployment
_SKEW = timedelta(minutes=5)  # between its clock and ours
_DEPLOYS = "DeployOperationMetadata"


def display_name(digest: str) -> str:
    """Return the name (at most 128 characters) that identifies what was created."""
    return f"memleak-{digest}"


class Deployments(DeployedModels):
    """Those of one project and location."""

    def __init__(
        self,
        calls: VertexCalls,
        *,
        untuned: str,
        table: DeploymentTable | None,
    ) -> None:
        machine: dict[str, Any] = {}
        hours = None
        if table is not None:
            machine = table.model_dump(exclude={"api", "hours"})
            hours = table.hours
        place = {
            "project": calls.project,
            "location": calls.location,
            "base_url": calls.base_url,
        }
        super().__init__(
            PROVIDER,
            untuned=untuned,
            place=place,
            machine=machine,
            hours=hours,
        )
        self.calls = calls

    def _new_calls(self) -> CallsToDeployedModel:
        return calls_to_open_model(self.calls)

    def start(self, wanted: Deployment) -> str:
        """Request the deployment and return the operation's name at once."""
        machine = {
            name: value for name, value in self._hardware.items() if value is not None
        }
        eula = {"accept_eula": machine.pop("accept_eula")}
        config: dict[str, Any] = {
            **machine,
            "endpoint_display_name": display_name(wanted.digest),
            "wait_for_completion": False,
        }

        def deploy() -> Any:
            garden = self.calls.platform().model_garden
            if wanted.weights.startswith("gs://"):
                return garden.deploy_custom_model(src=wanted.weights, config=config)
            return garden.deploy_publisher_model(
                model=wanted.weights,
                config=config | eula,
            )

        call = "model_garden.deploy"
        operation = self.calls.ask_quietly(call, deploy, endpoint=wanted.weights)
        name = str(operation.name or "")
        if not name:
            raise self._busy(
                call,
                wanted.weights,
                "The response doesn't name the operation",
            )
        return name

    def find(self, digest: str, since: float | None) -> str | None:
        """Return the endpoint that carries `digest`; see `DeploymentCalls.find`."""
        name = display_name(digest)
        page = {"filter": f'display_name="{name}"', "pageToken": ""}
        while True:
            listed = self.calls.request_json(
                "endpoints.list",
                f"v1/{self._parent}/endpoints",
                endpoint=self._parent,
                params=page,
            )
            for endpoint in listed.get("endpoints") or ():
                if endpoint.get("displayName") == name:
                    return str(endpoint.get("name"))
            if not (token := listed.get("nextPageToken")):
                break
            page["pageToken"] = token
        if since is None:
            return None
        pending = self._deploying_since(since)
        if pending:
            cause = f"A deployment in progress may be this one ({pending[0]})"
            raise self._busy(
                "operations.list",
                self._parent,
                cause,
                "rerun when it has finished",
            )
        return None

    def poll_deployment(self, job_id: str) -> JobState:
        """Return the state of an operation, or of an endpoint that was found."""
        if "/operations/" not in job_id:
            return self._endpoint_state(job_id)
        operation = self.calls.ask_quietly(
            "model_garden.get_deploy_publisher_model_operation",
            lambda: (
                self.calls.platform().model_garden.get_deploy_publisher_model_operation(
                    operation_name=job_id,
                )
            ),
            endpoint=job_id,
        )
        if not operation.done:
            return JobState(JobStatus.RUNNING)
        if operation.error:
            message = str(dict(operation.error).get("message") or "no reason was given")
            return JobState(JobStatus.FAILED, detail=f"failed: {safe_message(message)}")
        if operation.response and operation.response.endpoint:
            endpoint = operation.response.endpoint
            return JobState(JobStatus.SUCCEEDED, endpoint=endpoint)
        return JobState(
            JobStatus.FAILED,
            detail="The operation succeeded without naming an endpoint",
        )

    def address(self, endpoint: str) -> str | None:
        """Return the address of an endpoint's open model; None for a Gemini model.

        Raises RequestRejected if the endpoint doesn't exist.
        """
        description = self._get(endpoint)
        is_dedicated = bool(description.get("dedicatedEndpointEnabled"))
        if is_dedicated and self.calls.base_url is not None:
            return f"{self.calls.base_url}/v1/{endpoint}/invoke/v1"
        host = description.get("dedicatedEndpointDns")
        if not host:
            return None
        return f"https://{host}/v1/{endpoint}/invoke/v1"

    def _address_and_model_name(self, endpoint: str) -> tuple[str, str]:
        address = self.address(endpoint)
        if address is None:
            raise CallErrorFactory(PROVIDER, endpoint, "endpoints.get").final(
                "The endpoint has no address",
                "rerun to deploy the model again",
            )
        return address, ""

    def end(self, job_id: str) -> bool:
        """Undeploy the models, or delete the empty endpoint; True once it is gone."""
        try:
            models = self._get(job_id).get("deployedModels") or ()
            for model in models:
                self.calls.request_json(
                    "endpoints.undeploy_model",
                    f"v1/{job_id}:undeployModel",
                    endpoint=job_id,
                    method="POST",
                    json={"deployedModelId": model.get("id")},
                )
            if not models:
                path = f"v1/{job_id}"
                self.calls.request_json(
                    "endpoints.delete",
                    path,
                    endpoint=job_id,
                    method="DELETE",
                )
        except RequestRejected as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return True
            if refused.status != HTTPStatus.BAD_REQUEST:
                raise
            # An operation on the endpoint is pending.
        return False

    @property
    def _parent(self) -> str:
        return f"projects/{self.calls.project}/locations/{self.calls.location}"

    def _get(self, endpoint: str) -> Mapping[str, Any]:
        return self.calls.request_json(
            "endpoints.get", f"v1/{endpoint}", endpoint=endpoint
        )

    def _endpoint_state(self, endpoint: str) -> JobState:
        description = self._get(endpoint)
        if description.get("deployedModels"):
            return JobState(JobStatus.SUCCEEDED, endpoint=endpoint)
        if datetime.now(UTC) - _creation_time(description) < _LONGEST:
            return JobState(JobStatus.RUNNING)
        return JobState(
            JobStatus.FAILED,
            detail="The endpoint exists, but no model was deployed to it",
        )

    def _deploying_since(self, since: float) -> list[str]:
        """Return the names of pending deployments that began then or later."""
        url = f"v1beta1/{self._parent}/operations"
        listed = self.calls.request_json("operations.list", url, endpoint=self._parent)
        earliest = datetime.fromtimestamp(since, UTC) - _SKEW
        names = []
        for operation in listed.get("operations") or ():
            metadata = operation.get("metadata") or {}
            deploys = _DEPLOYS in str(metadata.get("@type"))
            if operation.get("done") or not deploys:
                continue
            began = _creation_time(metadata.get("genericMetadata") or {})
            if began >= earliest:
                names.append(str(operation.get("name")))
        return names

    def _busy(
        self,
        call: str,
        endpoint: str,
        cause: str,
        hint: str | None = None,
    ) -> ProviderBusy:
        return CallErrorFactory(PROVIDER, endpoint, call).busy(cause, hint)


def _creation_time(described: Mapping[str, Any]) -> datetime:
    """Return the time at which something was created; now if it doesn't state it."""
    try:
        return datetime.fromisoformat(str(described.get("createTime")))
    except ValueError:
        return datetime.now(UTC)


def calls_to_open_model(calls: VertexCalls) -> CallsToDeployedModel:
    """Return the calls of one deployed model."""
    return CallsToDeployedModel(
        PROVIDER,
        place=calls.base_url,
        timeout=calls.timeout,
        auth="google",
    )


class AttachedEndpoint(GeminiEndpoint):
    """An existing endpoint, of Gemini or an open model, as its first call finds out.

    address: returns an open model's address; None for Gemini
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
        self._is_identified = False
        self._open: ChatEndpoint | None = None
        self._lock = threading.Lock()

    def parameter_values(self) -> Mapping[str, ParameterValues]:
        """Return the requested parameters and those that the server rejected."""
        if self._open is not None:
            return self._open.abilities.parameter_values()
        return super().parameter_values()

    def answer(self, request: SampleRequest) -> Sequence[Completion]:
        """Like `GeminiEndpoint.answer` or `ChatEndpoint.answer`."""
        with self._lock:
            if not self._is_identified:
                # An endpoint that can't be described may still be called.
                with suppress(RequestRejected):
                    address = self._address()
                    if address is not None:
                        self._open = self._open_model(address)
                self._is_identified = True
        if self._open is not None:
            return self._open.answer(request)
        return super().answer(request)

    def _open_model(self, address: str) -> ChatEndpoint:
        settings = self._settings
        unsupported = {
            "thinking_budget": settings.thinking_budget,
            "safety_threshold": settings.safety_threshold,
            "generation_config": settings.generation_config or None,
        }
        given = [
            f"options.{name}"
            for name, value in unsupported.items()
            if value is not None
        ]
        if given:
            raise CallErrorFactory(PROVIDER, settings.model, "sample").final(
                f"This endpoint's own model doesn't support {' and '.join(given)}",
                "remove these options from the suite",
            )
        calls = calls_to_open_model(self._calls)
        calls.use_address_until(address, until=float("inf"))
        return open_model(
            settings.model,
            calls,
            fixed=False,
            system=settings.system,
            api="chat",
            plain=settings.plain,
        )
