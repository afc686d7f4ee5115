"""Open models on Vertex AI's machines: put up, found again, looked at, taken down.

The digest goes into the endpoint's display name. Vertex AI takes no request id, an endpoint may
be listed later than it is asked for, and an operation does not say the name that its endpoint
will have: where one of them may be ours, it is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import ProviderBusy
from pytest_memleak.interfaces.protocols import JobState, JobStatus
from pytest_memleak.providers.call_errors import Failing, Refused, safe_message
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, Calls

if TYPE_CHECKING:
    from agentplatform import Client as Platform
    from google.cloud.aiplatform_v1.types import Endpoint

    from pytest_memleak.interfaces.deployment_protocol import Deployment

_LONGEST = timedelta(hours=2)  # that Google gives a deployment
_SKEW = timedelta(minutes=5)  # between its clock and ours
_DEPLOYS = "DeployOperationMetadata"


@dataclass(frozen=True, slots=True)
class Machines:
    """What a model is to stand on, as the API calls it; all of it None is left to Google."""

    machine_type: str | None = None
    accelerator_type: str | None = None
    accelerator_count: int | None = None
    accept_eula: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """The part of a deployment's config that says so."""
        said = {
            "machine_type": self.machine_type,
            "accelerator_type": self.accelerator_type,
            "accelerator_count": self.accelerator_count,
        }
        return {name: value for name, value in said.items() if value is not None}


def display_name(digest: str) -> str:
    """The name (at most 128 characters) by which what was made is found again."""
    return f"memleak-{digest}"


@dataclass(frozen=True, slots=True)
class Deployments:
    """Those of one project and location; `machines` is for what is put up."""

    calls: Calls = field(repr=False)
    machines: Machines = Machines()

    def start(self, wanted: Deployment) -> str:
        """Ask for the deployment; the operation's name, at once."""
        config: dict[str, Any] = {
            **self.machines.config,
            "endpoint_display_name": display_name(wanted.digest),
            "wait_for_completion": False,
        }

        def deploy(client: Platform) -> Any:
            if wanted.weights.startswith("gs://"):
                return client.model_garden.deploy_custom_model(src=wanted.weights, config=config)
            return client.model_garden.deploy_publisher_model(
                model=wanted.weights, config={**config, "accept_eula": self.machines.accept_eula}
            )

        call = "model_garden.deploy"
        operation = self.calls.ask_platform(call, deploy, endpoint=wanted.weights)
        name = str(operation.name or "")
        if not name:
            raise self._busy(call, wanted.weights, "the answer does not name the operation")
        return name

    def find(self, digest: str, *, since: float | None) -> str | None:
        """The endpoint that carries `digest`; see `DeployingProvider.find_deployment`."""
        name = display_name(digest)
        for one in self._endpoints(f'display_name="{name}"'):
            if one.display_name == name:
                return str(one.name)
        if since is None:
            return None
        under_way = self._deploying_since(since)
        if under_way:
            raise self._busy(
                "operations.list",
                self._place,
                f"a deployment is under way there that may be this one ({under_way[0]})",
            )
        return None

    def poll(self, job_id: str) -> JobState:
        """Where an operation stands, or an endpoint that was found."""
        if "/operations/" not in job_id:
            return self._endpoint_state(job_id)
        operation = self.calls.ask_platform(
            "model_garden.get_deploy_publisher_model_operation",
            lambda client: client.model_garden.get_deploy_publisher_model_operation(
                operation_name=job_id
            ),
            endpoint=job_id,
        )
        if not operation.done:
            return JobState(JobStatus.RUNNING)
        if operation.error:
            said = str(dict(operation.error).get("message") or "no reason was given")
            return JobState(JobStatus.FAILED, detail=f"failed: {safe_message(said)}")
        endpoint = operation.response.endpoint if operation.response else None
        if not endpoint:
            return JobState(JobStatus.FAILED, detail="it succeeded without naming an endpoint")
        return JobState(JobStatus.SUCCEEDED, endpoint=endpoint)

    def address(self, endpoint: str) -> str | None:
        """Where a model of one's own on that endpoint is asked; None for one that is Gemini's.

        Raises Refused where there is no such endpoint.
        """
        found = self._get(endpoint)
        if self.calls.base_url is not None and found.dedicated_endpoint_enabled:
            return f"{self.calls.base_url}/v1/{endpoint}/invoke/v1"
        if found.dedicated_endpoint_dns:
            return f"https://{found.dedicated_endpoint_dns}/v1/{endpoint}/invoke/v1"
        return None

    def end(self, endpoint: str) -> bool:
        """One step: take the models off the endpoint, then delete it; True once it is gone."""
        try:
            models = list(self._get(endpoint).deployed_models)
            for one in models:
                self._undeploy(endpoint, str(one.id))
            if not models:
                self.calls.ask_endpoints(
                    "endpoints.delete",
                    lambda client: client.delete_endpoint(name=endpoint, **self._once),
                    endpoint=endpoint,
                )
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return True
            if refused.status != HTTPStatus.BAD_REQUEST:
                raise
            # It is at work on the endpoint still; looked at again.
        return False

    def _undeploy(self, endpoint: str, model: str) -> None:
        self.calls.ask_endpoints(
            "endpoints.undeploy_model",
            lambda client: client.undeploy_model(
                endpoint=endpoint, deployed_model_id=model, traffic_split={}, **self._once
            ),
            endpoint=endpoint,
        )

    # --- endpoints and operations

    @property
    def _once(self) -> dict[str, Any]:
        return {"timeout": self.calls.timeout, "retry": None}

    @property
    def _place(self) -> str:
        return f"projects/{self.calls.project}/locations/{self.calls.location}"

    def _endpoints(self, wanted: str) -> list[Endpoint]:
        return self.calls.ask_endpoints(
            "endpoints.list",
            lambda client: list(
                client.list_endpoints(
                    request={"parent": self._place, "filter": wanted}, **self._once
                )
            ),
            endpoint=self._place,
        )

    def _get(self, endpoint: str) -> Endpoint:
        return self.calls.ask_endpoints(
            "endpoints.get",
            lambda client: client.get_endpoint(name=endpoint, **self._once),
            endpoint=endpoint,
        )

    def _endpoint_state(self, endpoint: str) -> JobState:
        found = self._get(endpoint)
        if found.deployed_models:
            return JobState(JobStatus.SUCCEEDED, endpoint=endpoint)
        if datetime.now(UTC) - found.create_time < _LONGEST:
            return JobState(JobStatus.RUNNING)
        return JobState(JobStatus.FAILED, detail="the endpoint is there, and no model came on it")

    def _deploying_since(self, since: float) -> list[str]:
        """The names of deployments that are under way, begun then or later."""
        url = f"v1beta1/{self._place}/operations"
        listed = self.calls.ask_json("operations.list", url, endpoint=self._place)
        earliest = datetime.fromtimestamp(since, UTC) - _SKEW
        return [
            str(one.get("name"))
            for one in listed.get("operations") or ()
            if not one.get("done")
            and _DEPLOYS in str((one.get("metadata") or {}).get("@type"))
            and _begun(one) >= earliest
        ]

    def _busy(self, call: str, endpoint: str, cause: str) -> ProviderBusy:
        return Failing(PROVIDER, endpoint, call).busy(cause)


def _begun(operation: Mapping[str, Any]) -> datetime:
    """When an operation began; now, where it does not say."""
    told = (operation["metadata"].get("genericMetadata") or {}).get("createTime")
    try:
        return datetime.fromisoformat(str(told))
    except ValueError:
        return datetime.now(UTC)
