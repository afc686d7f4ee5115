"""Open models on Vertex AI's machines: deployments, endpoints of their own, and operations.

Time is the server's own: a deployment is ready `deploys_in` seconds after it was asked for, its
endpoint is listed `lists_in` seconds after, and an undeployment takes `undeploys_in`. Books have
rows "deployment" and "undeployment" (endpoint, at): what stands between them is billed.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock

from faults import FaultKind
from http_server import Books, Refused, Request, Response
from openai_answers import ChatCompletions

BETA = "type.googleapis.com/google.cloud.aiplatform.v1beta1"
SERVED_AS = "/workspace/weights"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that things take; operations: whether their list shows any."""

    deploys_in: float = 0.1
    lists_in: float = 0.0
    undeploys_in: float = 0.05
    operations: bool = True


@dataclass(slots=True)
class _Endpoint:
    name: str
    display_name: str
    weights: str
    began: float
    broken: bool
    leaves: float | None = None  # when its model is off it

    def model_stands(self, timing):
        now = time.time()
        ready = now >= self.began + timing.deploys_in and not self.broken
        return ready and (self.leaves is None or now < self.leaves)

    def json(self, timing):
        models = [{"id": "1", "model": f"{self.name}-model"}] if self.model_stands(timing) else []
        place = {"dedicatedEndpointDns": "1.us-central1-42.prediction.vertexai.goog"}
        place |= {"dedicatedEndpointEnabled": True, "createTime": stamp(self.began)}
        return {
            **place,
            "name": self.name,
            "displayName": self.display_name,
            "deployedModels": models,
        }


@dataclass(slots=True)
class _Operation:
    name: str
    endpoint: _Endpoint

    def json(self, timing):
        generic = {"createTime": stamp(self.endpoint.began)}
        kind = f"{BETA}.DeployOperationMetadata"
        said = {"name": self.name, "metadata": {"@type": kind, "genericMetadata": generic}}
        if time.time() < self.endpoint.began + timing.deploys_in:
            return said
        if self.endpoint.broken:
            error = {"code": 8, "message": "there are no accelerators left in us-central1"}
            return {**said, "done": True, "error": error}
        name = self.endpoint.name
        response = {"@type": f"{BETA}.DeployResponse", "endpoint": name, "model": f"{name}-model"}
        return {**said, "done": True, "response": response}


@dataclass
class Machines:
    """The state of all deployments; `route` registers below the place of a project."""

    books: Books
    answers: ChatCompletions
    name: Callable[[Request, str, str], str]
    new_id: Callable[[], str]
    timing: Timing
    gemini: Callable[[str], bool]
    endpoints: dict[str, _Endpoint] = field(default_factory=dict)
    operations: dict[str, _Operation] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def routes(self):
        beta = "/v1beta1/projects/{project}/locations/{location}"
        v1 = "/v1/projects/{project}/locations/{location}"
        return [
            ("POST", f"{beta}:deploy", "deploy", self._deploy),
            ("GET", f"{beta}/operations/{{id}}", "operations.get", self._get_operation),
            ("GET", f"{beta}/operations", "operations.list", self._list_operations),
            ("GET", f"{v1}/endpoints", "endpoints.list", self._list_endpoints),
            ("GET", f"{v1}/endpoints/{{id}}", "endpoints.get", self._get_endpoint),
            ("POST", f"{v1}/endpoints/{{id}}:undeployModel", "endpoints.undeploy", self._undeploy),
            ("DELETE", f"{v1}/endpoints/{{id}}", "endpoints.delete", self._delete),
            ("POST", f"{v1}/endpoints/{{id}}/invoke/v1/chat/completions", "chat", self._chat),
            ("POST", f"{v1}/endpoints/{{id}}/invoke/v1/completions", "chat", self._chat),
        ]

    def standing(self):
        """The endpoints on which a model stands, or is still to come."""
        with self._lock:
            return [
                one.name
                for one in self.endpoints.values()
                if not one.broken and (one.leaves is None or time.time() < one.leaves)
            ]

    def _deploy(self, request):
        body = _camel(request.json())
        weights = (body.get("customModel") or {}).get("gcsUri") or _published(body)
        if weights not in self.answers.models:
            raise Refused(400, f"The model {weights} cannot be deployed.")
        with self._lock:
            number = self.new_id()
            broken = FaultKind.FAIL in request.strike.content
            endpoint = _Endpoint(
                self.name(request, "endpoints", number),
                (body.get("endpointConfig") or {}).get("endpointDisplayName") or "unnamed",
                weights,
                time.time(),
                broken,
            )
            self.endpoints[number] = endpoint
            operation = _Operation(self.name(request, "operations", self.new_id()), endpoint)
            self.operations[operation.name.rpartition("/")[2]] = operation
            row = {"endpoint": endpoint.name, "display_name": endpoint.display_name}
            row |= {"weights": weights, "resources": body.get("deployConfig")}
            self.books.record("deployment", broken=broken, at=endpoint.began, **row)
            return Response.json({"name": operation.name, "metadata": {}})

    def _get_operation(self, request):
        operation = self.operations.get(request.params["id"])
        if operation is None:
            raise Refused(404, f"There is no operation {request.params['id']}.")
        return Response.json(operation.json(self.timing))

    def _list_operations(self, request):
        with self._lock:
            shown = list(self.operations.values()) if self.timing.operations else []
        return Response.json({"operations": [one.json(self.timing) for one in shown]})

    def _list_endpoints(self, request):
        wanted = re.fullmatch(r'display_name="([^"]*)"', request.query.get("filter", ""))
        if wanted is None:
            raise Refused(400, "Invalid filter.")
        with self._lock:
            shown = [
                one.json(self.timing)
                for one in self.endpoints.values()
                if one.display_name == wanted[1] and time.time() >= one.began + self.timing.lists_in
            ]
        return Response.json({"endpoints": shown} if shown else {})

    def _endpoint(self, request):
        endpoint = self.endpoints.get(request.params["id"])
        if endpoint is None:
            raise Refused(404, f"Endpoint {request.params['id']} is not found.")
        return endpoint

    def _get_endpoint(self, request):
        name = self.name(request, "endpoints", request.params["id"])
        if self.gemini(name):
            return Response.json({"name": name, "displayName": "tuned", "deployedModels": []})
        return Response.json(self._endpoint(request).json(self.timing))

    def _undeploy(self, request):
        with self._lock:
            endpoint = self._endpoint(request)
            if not endpoint.model_stands(self.timing) or endpoint.leaves is not None:
                raise Refused(400, "The model is not deployed, or is being undeployed already.")
            endpoint.leaves = time.time() + self.timing.undeploys_in
            self.books.record("undeployment", endpoint=endpoint.name, at=endpoint.leaves)
        return Response.json({"name": self.name(request, "operations", self.new_id())})

    def _delete(self, request):
        with self._lock:
            endpoint = self._endpoint(request)
            coming = time.time() < endpoint.began + self.timing.deploys_in
            if coming or endpoint.model_stands(self.timing):
                raise Refused(400, "The endpoint has deployed models.", code="FAILED_PRECONDITION")
            del self.endpoints[request.params["id"]]
        name = self.name(request, "operations", self.new_id())
        return Response.json({"name": name, "done": True})

    def _chat(self, request):
        endpoint = self._endpoint(request)
        if not endpoint.model_stands(self.timing):
            raise Refused(404, "No model is deployed on this endpoint.")
        body = {**request.json(), "model": endpoint.weights}
        return Response.json({**self._answered(body, request.strike), "model": SERVED_AS})

    def _answered(self, body, strike):
        if body.get("echo") or "return_token_ids" in body:
            return self.answers.echo(body, strike)
        return self.answers.complete(body, strike, request=None)


def _camel(value):
    if isinstance(value, list):
        return [_camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub("_([a-z])", lambda found: found[1].upper(), key): _camel(inner)
        for key, inner in value.items()
    }


def _published(body):
    name = str(body.get("publisherModelName") or "")
    return name.removeprefix("publishers/").replace("/models/", "/")


def stamp(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
