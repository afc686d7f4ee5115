"""Weights on Together's machines: deployed, found again, and deleted.

Each deployment has an endpoint of its own, and the endpoint's name has the digest.
Names are unique in a project, so nothing is ever deployed twice. An endpoint without a
deployment isn't billed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.abilities import Deployment
from pytest_memleak.interfaces.protocols import JobState, JobStatus
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    RequestRejected,
    safe_message,
)
from pytest_memleak.providers.openai.deployed_model import (
    CallsToDeployedModel,
    DeployedModels,
)
from pytest_memleak.providers.together.together_client import (
    KEY,
    PROVIDER,
    TogetherCalls,
)
from pytest_memleak.providers.together.together_options import OptionsTable

if TYPE_CHECKING:
    from together.types import Endpoint, EndpointDeployment

WEIGHTS = re.compile(r"projects/([^/]+)/models/([^/]+)(?:/revisions/[^/]+)?")
_LONGEST = timedelta(hours=2)
_LEAST_MINUTES = 30  # Together stops no idle deployment sooner
_STATE = "DEPLOYMENT_STATE_"
_ENDED = {f"{_STATE}FAILED", f"{_STATE}STOPPED"}


def name_from_digest(digest: str) -> str:
    """Return the name (at most 40 characters) that identifies what was created."""
    return f"memleak-{digest[:32]}"


class Deployments(DeployedModels):
    """Those of one project."""

    def __init__(
        self,
        calls: TogetherCalls,
        *,
        untuned: str,
        options: OptionsTable,
    ) -> None:
        table = options.deployment
        super().__init__(
            PROVIDER,
            untuned=untuned,
            place={"project": options.project, "base_url": options.base_url},
            machine={"config": table.config if table else None},
            hours=table.hours if table else None,
        )
        self.calls = calls

    def _new_calls(self) -> CallsToDeployedModel:
        place = None if self.calls.official else self.calls.base_url
        timeout = self.calls.timeout
        return CallsToDeployedModel(
            PROVIDER,
            place=place,
            timeout=timeout,
            key_variable=KEY,
        )

    def start(self, wanted: Deployment) -> str:
        """Request the deployment and return its endpoint's name at once."""
        project = self.calls.project(wanted.weights)
        model, config = self._weights_and_config_names(wanted.weights, project)
        name = name_from_digest(wanted.digest)
        endpoint: Endpoint = self._endpoint_by_name(name, project) or self.calls.call(
            wanted.weights,
            "endpoints.create",
            project_id=project,
            name=name,
        )
        if not endpoint.deployments:
            try:
                self.calls.call(
                    wanted.weights,
                    "endpoints.deployments.create",
                    endpoint.id,
                    project_id=project,
                    name="memleak",
                    model=model,
                    config=config,
                    autoscaling={"min_replicas": 1, "max_replicas": 1},
                    # If it isn't deleted, it stops by itself.
                    inactive_timeout=max(_LEAST_MINUTES, round(wanted.hours * 60)),
                )
            except RequestRejected:
                self._delete(project, endpoint.id)
                raise
        return f"projects/{project}/endpoints/{endpoint.id}"

    def find(self, digest: str, _since: float | None) -> str | None:
        """Return the endpoint that carries `digest`; see `DeploymentCalls.find`."""
        name = name_from_digest(digest)
        project = self.calls.project(name)
        endpoint = self._endpoint_by_name(name, project)
        if endpoint is None or not endpoint.deployments:
            return None  # an empty one costs nothing, and the next start uses it
        return f"projects/{project}/endpoints/{endpoint.id}"

    def poll_deployment(self, job_id: str) -> JobState:
        """Return the state of an endpoint's deployment."""
        project, endpoint_id = _project_and_endpoint_id(job_id)
        endpoint = self._endpoint_of_job(job_id)
        if endpoint is None or not endpoint.deployments:
            return JobState(
                JobStatus.FAILED,
                detail="Its endpoint or deployment is gone",
            )
        summary = endpoint.deployments[0]
        if summary.state == f"{_STATE}READY":
            return JobState(JobStatus.SUCCEEDED, endpoint=job_id)
        if summary.state in {*_ENDED, f"{_STATE}STOPPING"}:
            place = {"project_id": project, "endpoint_id": endpoint_id}
            deployment: EndpointDeployment = self.calls.call(
                job_id,
                "endpoints.deployments.retrieve",
                summary.id,
                **place,
            )
            state = summary.state.removeprefix(_STATE).lower()
            message = safe_message(deployment.status.message or "no reason was given")
            detail = f"{state}: {message}"
            return JobState(JobStatus.FAILED, detail=detail)
        if datetime.now(UTC) - summary.created_at < _LONGEST:
            return JobState(JobStatus.RUNNING)
        return JobState(JobStatus.FAILED, detail=f"It isn't ready after {_LONGEST}")

    def _address_and_model_name(self, endpoint: str) -> tuple[str, str]:
        described = self._endpoint_of_job(endpoint)
        for deployment in described.deployments if described else ():
            return self.calls.chat_url, deployment.name
        raise CallErrorFactory(PROVIDER, endpoint, "endpoints.retrieve").final(
            "It has no deployment",
        )

    def end(self, job_id: str) -> bool:
        """Stop or delete the deployment, then the endpoint; True once that is gone."""
        project, endpoint_id = _project_and_endpoint_id(job_id)
        endpoint = self._endpoint_of_job(job_id)
        if endpoint is None:
            return True
        if not endpoint.deployments:
            self._delete(project, endpoint_id)
            return False
        deployment = endpoint.deployments[0]
        place = {"project_id": project, "endpoint_id": endpoint_id}
        if deployment.state in _ENDED:
            self.calls.call(
                job_id,
                "endpoints.deployments.delete",
                deployment.id,
                **place,
            )
        elif deployment.state != f"{_STATE}STOPPING":
            self.calls.call(
                job_id,
                "endpoints.deployments.update",
                deployment.id,
                autoscaling={"min_replicas": 0, "max_replicas": 0},
                update_mask="autoscaling",
                **place,
            )
        return False

    def _weights_and_config_names(self, weights: str, project: str) -> tuple[str, str]:
        """Return the resource names of the weights and of their config."""
        model = (
            weights
            if WEIGHTS.fullmatch(weights)
            else self._base_of_published_model(weights)
        )
        if self._hardware["config"] is not None:
            return model, self._hardware["config"]
        reference = model if model != weights else self._model_of_configs(model)
        listed = self.calls.call_all(
            weights,
            "models.configs.list",
            project_id=project,
            reference_model=reference,
        )
        configs = [
            f"projects/{config.project_id}/configs/{config.id}" for config in listed
        ]
        if len(configs) != 1:
            raise CallErrorFactory(PROVIDER, weights, "models.configs.list").final(
                f"The model has {len(configs)} configs ({', '.join(configs)})",
                'choose one (tg models configs) with config = "projects/..." in '
                "[model.options.deployment]",
            )
        return model, configs[0]

    def _model_of_configs(self, model: str) -> str:
        """Return the model that the configs of a tuned one are for."""
        owner, model_id = model.split("/")[1:4:2]
        described = self.calls.call(
            model,
            "models.retrieve",
            model_id,
            project_id=owner,
        )
        return described.base_model or f"projects/{owner}/models/{model_id}"

    def _base_of_published_model(self, name: str) -> str:
        for model in self.calls.call(name, "models.list_supported", search=name).data:
            if model.name == name and model.base_model:
                return f"{model.base_model}"
        raise CallErrorFactory(PROVIDER, name, "models.list_supported").final(
            "Together deploys no model of this name",
            "see tg models public",
        )

    def _endpoint_by_name(self, name: str, project: str) -> Endpoint | None:
        endpoints: list[Endpoint] = self.calls.call_all(
            name,
            "endpoints.list",
            project_id=project,
            filter=f'name="{name}"',
        )
        return next(
            (each for each in endpoints if each.name.endswith(f"/{name}")),
            None,
        )

    def _endpoint_of_job(self, job_id: str) -> Endpoint | None:
        project, endpoint_id = _project_and_endpoint_id(job_id)
        try:
            endpoint: Endpoint = self.calls.call(
                job_id,
                "endpoints.retrieve",
                endpoint_id,
                project_id=project,
            )
        except RequestRejected as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
            return None
        return endpoint

    def _delete(self, project: str, endpoint_id: str) -> None:
        self.calls.call(
            endpoint_id,
            "endpoints.delete",
            endpoint_id,
            project_id=project,
        )


def _project_and_endpoint_id(job_id: str) -> tuple[str, str]:
    """Return the project and the endpoint's id."""
    project, endpoint_id = job_id.split("/")[1::2]
    return project, endpoint_id
