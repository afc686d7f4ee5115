"""Endpoints on machines that are paid by time, as Vertex AI and Together have them.

Time is the server's own: a deployment is ready `deploys_in` seconds after it was
requested, its endpoint is listed `lists_in` seconds after, and an undeployment takes
`undeploys_in`. Books have rows "deployment" and "undeployment" (endpoint, at): the time
between them is billed.
"""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock

from faults import FaultKind
from http_server import RequestRejected, Response


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that things take; operations: whether their list shows any."""

    deploys_in: float = 0.1
    lists_in: float = 0.0
    undeploys_in: float = 0.05
    operations: bool = True


class Deployment:
    """Weights on a machine. leaves: when they are off it."""

    def __init__(self, weights, *, failed):
        self.weights = weights
        self.began = time.time()
        self.failed = failed
        self.leaves = None

    def state(self, timing):
        now = time.time()
        if self.leaves is not None:
            return "STOPPED" if now >= self.leaves else "STOPPING"
        if now < self.began + timing.deploys_in:
            return "PROVISIONING"
        return "FAILED" if self.failed else "READY"

    @property
    def billed(self):
        """Whether it is paid for, or will be."""
        return not self.failed and (self.leaves is None or time.time() < self.leaves)


class Machines:
    """All endpoints by their ids. A list is filtered by `name_key`, and stands under `list_key`."""

    list_key = name_key = ""

    def __init__(self, books, timing):
        self.books = books
        self.timing = timing or Timing()
        self.endpoints = {}
        self._lock = RLock()

    def standing(self):
        """The endpoints with a deployment that is billed, or will be."""
        with self._lock:
            return [
                endpoint.name
                for endpoint in self.endpoints.values()
                for deployment in endpoint.deployments.values()
                if deployment.billed
            ]

    def _list(self, request):
        wanted = re.fullmatch(
            rf'{self.name_key}="([^"]*)"', request.query.get("filter", "")
        )
        if wanted is None:
            raise RequestRejected(400, "Invalid filter.")
        with self._lock:
            shown = [
                endpoint.json(self.timing)
                for endpoint in self.endpoints.values()
                if endpoint.display_name == wanted[1]
                and time.time() >= endpoint.began + self.timing.lists_in
            ]
        return Response.json({self.list_key: shown})

    def _endpoint(self, request):
        endpoint = self.endpoints.get(request.params["id"])
        if endpoint is None:
            raise RequestRejected(404, f"Endpoint {request.params['id']} is not found.")
        return endpoint

    def _put_on(self, endpoint, deployment, weights, resources):
        """Record a deployment: the weights' name, and the resources of the request."""
        row = {"endpoint": endpoint.name, "display_name": endpoint.display_name}
        row |= {"weights": weights, "resources": resources, "at": deployment.began}
        self.books.record("deployment", broken=deployment.failed, **row)

    def _take_off(self, endpoint, deployment):
        deployment.leaves = time.time() + self.timing.undeploys_in
        self.books.record("undeployment", endpoint=endpoint.name, at=deployment.leaves)


def is_failing(request):
    return FaultKind.FAIL in request.strike.content


def stamp(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
