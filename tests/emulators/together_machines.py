"""Together's dedicated endpoints: each with deployments, on machines that are paid by time.

Time is the server's own, as in vertex_machines.py: a deployment is ready `deploys_in` seconds
after it was asked for, and stops `undeploys_in` after it was scaled to zero. Names are unique.
Books have rows "deployment" and "undeployment" (endpoint, at): what is between them is billed.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock

from faults import FaultKind
from http_server import Books, Refused, Response
from vertex_machines import Timing, stamp

SLUG = "acme"
STATE = "DEPLOYMENT_STATE_"


@dataclass(slots=True)
class _Deployment:
    id: str
    name: str
    weights: str
    body: dict
    began: float
    broken: bool
    leaves: float | None = None  # when it has stopped

    def state(self, timing):
        now = time.time()
        if self.leaves is not None:
            return "STOPPED" if now >= self.leaves else "STOPPING"
        if now < self.began + timing.deploys_in:
            return "PROVISIONING"
        return "FAILED" if self.broken else "READY"

    def json(self, timing):
        state = f"{STATE}{self.state(timing)}"
        message = "there are no accelerators left" if self.broken else "as it should be"
        at = {"createdAt": stamp(self.began), "updatedAt": stamp(self.began)}
        status = {"state": state, "message": message}
        own = {"id": self.id, "name": self.name, "state": state, "status": status, **at}
        return {**own, "model": self.body["model"], "autoscaling": self.body["autoscaling"]}


@dataclass(slots=True)
class _Endpoint:
    id: str
    project: str
    display_name: str
    began: float
    deployments: dict[str, _Deployment] = field(default_factory=dict)

    @property
    def name(self):
        return f"projects/{self.project}/endpoints/{self.id}"

    def json(self, timing):
        shown = [deployment.json(timing) for deployment in self.deployments.values()]
        at = {"createdAt": stamp(self.began), "updatedAt": stamp(self.began)}
        named = {"id": self.id, "name": f"{SLUG}/{self.display_name}", "projectId": self.project}
        return {**named, **at, "deployments": shown, "trafficSplit": [], "etag": "1"}


@dataclass
class Machines:
    """The state of all endpoints; weights_of: the model by its resource name, if there is one."""

    books: Books
    new_id: Callable[[str], str]
    timing: Timing
    weights_of: Callable[[str], str | None]
    endpoints: dict[str, _Endpoint] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def routes(self):
        below = "/v2/projects/{project}/endpoints"
        one, of_one = f"{below}/{{id}}", f"{below}/{{id}}/deployments"
        deployment = f"{of_one}/{{deployment}}"
        return [
            ("POST", below, "endpoints.create", self._create),
            ("GET", below, "endpoints.list", self._list),
            ("GET", one, "endpoints.get", self._get),
            ("DELETE", one, "endpoints.delete", self._delete),
            ("POST", of_one, "deploy", self._deploy),
            ("GET", deployment, "deployments.get", self._get_deployment),
            ("PATCH", deployment, "endpoints.undeploy", self._scale),
            ("DELETE", deployment, "deployments.delete", self._delete_deployment),
        ]

    def standing(self):
        """The endpoints that have a deployment which is billed, or will be."""
        with self._lock:
            return [
                endpoint.name
                for endpoint in self.endpoints.values()
                for each in endpoint.deployments.values()
                if not each.broken and (each.leaves is None or time.time() < each.leaves)
            ]

    def weights_at(self, model):
        """The weights behind a deployment's name; None unless it is ready."""
        with self._lock:
            for endpoint in self.endpoints.values():
                for each in endpoint.deployments.values():
                    if each.name == model and each.state(self.timing) == "READY":
                        return each.weights
        return None

    def _create(self, request):
        name = request.json()["name"]
        if not re.fullmatch(r"[a-z0-9-]{1,40}", name):
            raise Refused(400, f"Invalid endpoint name: {name}.")
        with self._lock:
            if name in {endpoint.display_name for endpoint in self.endpoints.values()}:
                raise Refused(409, f"The endpoint {name} exists.")
            project = request.params["project"]
            endpoint = _Endpoint(self.new_id("ep_"), project, name, time.time())
            self.endpoints[endpoint.id] = endpoint
            return Response.json(endpoint.json(self.timing))

    def _list(self, request):
        wanted = re.fullmatch(r'name="([^"]*)"', request.query.get("filter", ""))
        if wanted is None:
            raise Refused(400, "Invalid filter.")
        with self._lock:
            shown = [
                endpoint.json(self.timing)
                for endpoint in self.endpoints.values()
                if endpoint.display_name == wanted[1]
                and time.time() >= endpoint.began + self.timing.lists_in
            ]
        return Response.json({"data": shown, "next_cursor": None})

    def _endpoint(self, request):
        endpoint = self.endpoints.get(request.params["id"])
        if endpoint is None or endpoint.project != request.params["project"]:
            raise Refused(404, f"Endpoint {request.params['id']} is not found.")
        return endpoint

    def _get(self, request):
        return Response.json(self._endpoint(request).json(self.timing))

    def _delete(self, request):
        with self._lock:
            if self._endpoint(request).deployments:
                raise Refused(400, "The endpoint has deployments.")
            del self.endpoints[request.params["id"]]
        return Response.json({})

    def _deploy(self, request):
        body = request.json()
        weights = self.weights_of(body["model"])
        if weights is None or not str(body.get("config")).startswith("projects/"):
            raise Refused(400, f"The model {body['model']} cannot be deployed so.")
        if not 30 <= body.get("inactiveTimeout", 0) <= 1440:
            raise Refused(400, "Invalid inactiveTimeout.")
        with self._lock:
            endpoint = self._endpoint(request)
            name = f"{SLUG}/{endpoint.display_name}/{body['name']}"
            if name in {each.name for each in endpoint.deployments.values()}:
                raise Refused(409, f"The deployment {name} exists.")
            broken = FaultKind.FAIL in request.strike.content
            deployment = _Deployment(self.new_id("dep_"), name, weights, body, time.time(), broken)
            endpoint.deployments[deployment.id] = deployment
            row = {"endpoint": endpoint.name, "display_name": endpoint.display_name}
            row |= {"weights": body["model"], "resources": body["config"]}
            self.books.record("deployment", broken=broken, at=deployment.began, **row)
            return Response.json(deployment.json(self.timing))

    def _deployment(self, request):
        deployment = self._endpoint(request).deployments.get(request.params["deployment"])
        if deployment is None:
            raise Refused(404, f"Deployment {request.params['deployment']} is not found.")
        return deployment

    def _get_deployment(self, request):
        return Response.json(self._deployment(request).json(self.timing))

    def _scale(self, request):
        assert request.json()["autoscaling"] == {"minReplicas": 0, "maxReplicas": 0}
        assert request.query["updateMask"] == "autoscaling"
        with self._lock:
            deployment = self._deployment(request)
            if deployment.leaves is None:
                deployment.leaves = time.time() + self.timing.undeploys_in
                name = self._endpoint(request).name
                self.books.record("undeployment", endpoint=name, at=deployment.leaves)
            return Response.json(deployment.json(self.timing))

    def _delete_deployment(self, request):
        with self._lock:
            state = self._deployment(request).state(self.timing)
            if state not in {"STOPPED", "FAILED"}:
                raise Refused(400, "The deployment must be stopped before it can be deleted.")
            del self._endpoint(request).deployments[request.params["deployment"]]
        return Response.json({})
