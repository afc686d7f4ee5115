"""Weights on Together's machines: deployed, found again, and deleted.

Each deployment has an endpoint of its own, and the endpoint's name has the digest. Names are
unique in a project, so nothing is ever deployed twice. An endpoint without a deployment isn't
billed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pytest_memleak.interfaces.abilities import Deployment
from pytest_memleak.interfaces.protocols import JobState, JobStatus
from pytest_memleak.providers.call_errors import Failing, Refused, safe_message
from pytest_memleak.providers.together.together_client import PROVIDER, TogetherCalls

if TYPE_CHECKING:
    from together import Together
    from together.types import Endpoint

_Answer = TypeVar("_Answer")

WEIGHTS = re.compile(r"projects/([^/]+)/models/([^/]+)(?:/revisions/[^/]+)?")
_ENDPOINT = re.compile(r"projects/([^/]+)/endpoints/([^/]+)")
_LONGEST = timedelta(hours=2)
_LEAST_MINUTES = 30  # Together stops no idle deployment sooner
_STATE = "DEPLOYMENT_STATE_"
_ENDED = {f"{_STATE}FAILED", f"{_STATE}STOPPED"}


def name_of(digest: str) -> str:
    """Return the name (at most 40 characters) that identifies what was created."""
    return f"memleak-{digest[:32]}"


@dataclass(frozen=True, slots=True)
class Deployments:
    """Those of one project; `config` is Together's name of a machine and its engine."""

    calls: TogetherCalls = field(repr=False)
    config: str | None

    def start(self, wanted: Deployment) -> str:
        """Request the deployment and return its endpoint's name at once."""
        project = self.calls.project(endpoint=wanted.weights)
        model, config = self._machine(wanted.weights, project)
        name = name_of(wanted.digest)
        endpoint = self._named(name, project) or self._call(
            "endpoints.create",
            lambda client: client.endpoints.create(project_id=project, name=name),
            wanted.weights,
        )
        if not endpoint.deployments:
            try:
                self._call(
                    "endpoints.deployments.create",
                    lambda client: client.endpoints.deployments.create(
                        endpoint.id,
                        project_id=project,
                        name="memleak",
                        model=model,
                        config=config,
                        autoscaling={"min_replicas": 1, "max_replicas": 1},
                        # If nobody deletes it, it stops by itself.
                        inactive_timeout=max(_LEAST_MINUTES, round(wanted.hours * 60)),
                    ),
                    wanted.weights,
                )
            except Refused:
                self._delete(project, endpoint.id)
                raise
        return f"projects/{project}/endpoints/{endpoint.id}"

    def find(self, digest: str, _since: float | None) -> str | None:
        """Return the endpoint that carries `digest`; see `DeploymentCalls.find`."""
        project = self.calls.project(endpoint=digest[:12])
        endpoint = self._named(name_of(digest), project)
        if endpoint is None or not endpoint.deployments:
            return None  # an empty one costs nothing, and the next start uses it
        return f"projects/{project}/endpoints/{endpoint.id}"

    def poll(self, job_id: str) -> JobState:
        """Return the state of an endpoint's deployment."""
        project, endpoint_id = _parts(job_id)
        endpoint = self._get(job_id)
        if not endpoint.deployments:
            return JobState(JobStatus.FAILED, detail="The endpoint exists, but has no deployment")
        summary = endpoint.deployments[0]
        if summary.state == f"{_STATE}READY":
            return JobState(JobStatus.SUCCEEDED, endpoint=job_id)
        if summary.state in {*_ENDED, f"{_STATE}STOPPING"}:
            deployment = self._call(
                "endpoints.deployments.retrieve",
                lambda client: client.endpoints.deployments.retrieve(
                    summary.id, project_id=project, endpoint_id=endpoint_id
                ),
                job_id,
            )
            state = summary.state.removeprefix(_STATE).lower()
            detail = f"{state}: {safe_message(deployment.status.message or 'no reason was given')}"
            return JobState(JobStatus.FAILED, detail=detail)
        if datetime.now(UTC) - summary.created_at < _LONGEST:
            return JobState(JobStatus.RUNNING)
        hours = _LONGEST.total_seconds() / 3600
        return JobState(JobStatus.FAILED, detail=f"It isn't ready after {hours:g} h")

    def model_at(self, endpoint: str) -> str:
        """Return the deployment's name in requests. Raises ProviderError."""
        for deployment in self._get(endpoint).deployments:
            return deployment.name
        raise Failing(PROVIDER, endpoint, "endpoints.retrieve").final("It has no deployment")

    def end(self, job_id: str) -> bool:
        """Stop the deployment, delete it, or delete the empty endpoint; True once that is gone."""
        project, endpoint_id = _parts(job_id)
        try:
            deployments = self._get(job_id).deployments
            for deployment in deployments:
                self._end_deployment(project, endpoint_id, deployment.id, state=deployment.state)
            if not deployments:
                self._delete(project, endpoint_id)
        except Refused as refused:
            return refused.status == HTTPStatus.NOT_FOUND
        return False

    def _end_deployment(self, project: str, endpoint: str, deployment: str, *, state: str) -> None:
        if state in _ENDED:
            self._call(
                "endpoints.deployments.delete",
                lambda client: client.endpoints.deployments.delete(
                    deployment, project_id=project, endpoint_id=endpoint
                ),
                endpoint,
            )
        elif state != f"{_STATE}STOPPING":
            self._call(
                "endpoints.deployments.update",
                lambda client: client.endpoints.deployments.update(
                    deployment,
                    project_id=project,
                    endpoint_id=endpoint,
                    autoscaling={"min_replicas": 0, "max_replicas": 0},
                    update_mask="autoscaling",
                ),
                endpoint,
            )

    def _machine(self, weights: str, project: str) -> tuple[str, str]:
        """Return the resource names of the weights, and of their only or chosen config."""
        named = WEIGHTS.fullmatch(weights)
        reference = model = weights
        if named is None:
            models = self._call(
                "models.list_supported",
                lambda client: client.models.list_supported(search=weights).data,
                weights,
            )
            paths = [each.base_model for each in models if each.name == weights and each.base_model]
            if not paths:
                raise Failing(PROVIDER, weights, "models.list_supported").final(
                    "Together deploys no model of this name", "see tg models public"
                )
            reference = model = paths[0]
        else:
            owner, model_id = named.groups()
            described = self._call(
                "models.retrieve",
                lambda client: client.models.retrieve(model_id, project_id=owner),
                weights,
            )
            reference = described.base_model or f"projects/{owner}/models/{model_id}"
        if self.config is not None:
            return model, self.config
        configs = self._call(
            "models.configs.list",
            lambda client: [
                (f"projects/{config.project_id}/configs/{config.id}", config.selectors)
                for config in client.models.configs.list(
                    project_id=project, reference_model=reference
                )
            ],
            weights,
        )
        if len(configs) != 1:
            listed = "; ".join(
                f"{name} ({', '.join(f'{each.key} {each.value}' for each in selectors)})"
                for name, selectors in configs
            )
            raise Failing(PROVIDER, weights, "models.configs.list").final(
                f"The model has {len(configs)} configs: {listed or 'none'}",
                'choose one with config = "projects/..." in [model.options.deployment]',
            )
        return model, configs[0][0]

    def _named(self, name: str, project: str) -> Endpoint | None:
        return self._call(
            "endpoints.list",
            lambda client: next(
                (
                    endpoint
                    for endpoint in client.endpoints.list(
                        project_id=project, filter=f'name="{name}"'
                    )
                    if endpoint.name.rpartition("/")[2] == name
                ),
                None,
            ),
            name,
        )

    def _get(self, job_id: str) -> Endpoint:
        project, endpoint_id = _parts(job_id)
        return self._call(
            "endpoints.retrieve",
            lambda client: client.endpoints.retrieve(endpoint_id, project_id=project),
            job_id,
        )

    def _delete(self, project: str, endpoint_id: str) -> None:
        self._call(
            "endpoints.delete",
            lambda client: client.endpoints.delete(endpoint_id, project_id=project),
            endpoint_id,
        )

    def _call(self, name: str, function: Callable[[Together], _Answer], endpoint: str) -> _Answer:
        return self.calls.call(name, function, endpoint=endpoint)


def _parts(job_id: str) -> tuple[str, str]:
    """Return the project and the endpoint's id."""
    project, endpoint_id = job_id.split("/")[1::2]
    return project, endpoint_id
