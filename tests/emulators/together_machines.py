"""Together's dedicated endpoints, each with deployments; names are unique. See machines.py."""

import re
import time

from http_server import RequestRejected, Response
from machines import Deployment, Machines, is_failing, stamp

SLUG = "acme"


class _Deployment(Deployment):
    def __init__(self, deployment_id, name, weights, body, *, failed):
        super().__init__(weights, failed=failed)
        self.id = deployment_id
        self.name = name
        self.body = body

    def json(self, timing):
        state = f"DEPLOYMENT_STATE_{self.state(timing)}"
        message = "there are no accelerators left" if self.failed else "as it should be"
        status = {"state": state, "message": message}
        named = {"id": self.id, "name": self.name, "state": state, "status": status}
        settings = {key: self.body[key] for key in ("model", "autoscaling")}
        return {**named, **settings, **_times(self.began)}


class _Endpoint:
    def __init__(self, endpoint_id, project, display_name):
        self.id = endpoint_id
        self.project = project
        self.display_name = display_name
        self.name = f"projects/{project}/endpoints/{endpoint_id}"
        self.began = time.time()
        self.deployments = {}

    def json(self, timing):
        shown = [deployment.json(timing) for deployment in self.deployments.values()]
        named = {
            "id": self.id,
            "name": f"{SLUG}/{self.display_name}",
            "projectId": self.project,
        }
        named |= {"trafficSplit": [], "etag": "1"}
        return {**named, **_times(self.began), "deployments": shown}


def _times(began):
    return {"createdAt": stamp(began), "updatedAt": stamp(began)}


class TogetherMachines(Machines):
    """weights_of: the model by its resource name, if there is such a model."""

    list_key, name_key = "data", "name"

    def __init__(self, books, new_id, timing, weights_of):
        super().__init__(books, timing)
        self._new_id = new_id
        self._weights_of = weights_of

    def routes(self):
        endpoints = "/v2/projects/{project}/endpoints"
        endpoint = f"{endpoints}/{{id}}"
        deployment = f"{endpoint}/deployments/{{deployment}}"
        return [
            ("POST", endpoints, "endpoints.create", self._create),
            ("GET", endpoints, "endpoints.list", self._list),
            ("GET", endpoint, "endpoints.get", self._get),
            ("DELETE", endpoint, "endpoints.delete", self._delete),
            ("POST", f"{endpoint}/deployments", "deploy", self._deploy),
            ("GET", deployment, "deployments.get", self._get_deployment),
            ("PATCH", deployment, "endpoints.undeploy", self._scale),
            ("DELETE", deployment, "deployments.delete", self._delete_deployment),
        ]

    def weights_at(self, model):
        """The weights behind a deployment's name; None unless it is ready."""
        with self._lock:
            for endpoint in self.endpoints.values():
                for deployment in endpoint.deployments.values():
                    if (
                        deployment.name == model
                        and deployment.state(self.timing) == "READY"
                    ):
                        return deployment.weights
        return None

    def _create(self, request):
        name = request.json()["name"]
        if not re.fullmatch(r"[a-z0-9-]{1,40}", name):
            raise RequestRejected(400, f"Invalid endpoint name: {name}.")
        with self._lock:
            if name in {endpoint.display_name for endpoint in self.endpoints.values()}:
                raise RequestRejected(409, f"The endpoint {name} exists.")
            endpoint = _Endpoint(self._new_id("ep_"), request.params["project"], name)
            self.endpoints[endpoint.id] = endpoint
            return Response.json(endpoint.json(self.timing))

    def _endpoint(self, request):
        endpoint = super()._endpoint(request)
        if endpoint.project != request.params["project"]:
            raise RequestRejected(404, f"Endpoint {endpoint.id} is not found.")
        return endpoint

    def _get(self, request):
        return Response.json(self._endpoint(request).json(self.timing))

    def _delete(self, request):
        with self._lock:
            if self._endpoint(request).deployments:
                raise RequestRejected(400, "The endpoint has deployments.")
            del self.endpoints[request.params["id"]]
        return Response.json({})

    def _deploy(self, request):
        body = request.json()
        weights = self._weights_of(body["model"])
        if weights is None or not str(body.get("config")).startswith("projects/"):
            raise RequestRejected(
                400, f"The model {body['model']} cannot be deployed so."
            )
        if not 30 <= body.get("inactiveTimeout", 0) <= 1440:
            raise RequestRejected(400, "Invalid inactiveTimeout.")
        with self._lock:
            endpoint = self._endpoint(request)
            name = f"{SLUG}/{endpoint.display_name}/{body['name']}"
            if name in {
                deployment.name for deployment in endpoint.deployments.values()
            }:
                raise RequestRejected(409, f"The deployment {name} exists.")
            failed = is_failing(request)
            deployment = _Deployment(
                self._new_id("dep_"), name, weights, body, failed=failed
            )
            endpoint.deployments[deployment.id] = deployment
            self._put_on(endpoint, deployment, body["model"], body["config"])
            return Response.json(deployment.json(self.timing))

    def _deployment(self, request):
        deployment = self._endpoint(request).deployments.get(
            request.params["deployment"]
        )
        if deployment is None:
            raise RequestRejected(
                404, f"Deployment {request.params['deployment']} is not found."
            )
        return deployment

    def _get_deployment(self, request):
        return Response.json(self._deployment(request).json(self.timing))

    def _scale(self, request):
        assert request.json()["autoscaling"] == {"minReplicas": 0, "maxReplicas": 0}
        assert request.query["updateMask"] == "autoscaling"
        with self._lock:
            deployment = self._deployment(request)
            if deployment.leaves is None:
                self._take_off(self._endpoint(request), deployment)
            return Response.json(deployment.json(self.timing))

    def _delete_deployment(self, request):
        with self._lock:
            if self._deployment(request).state(self.timing) not in {
                "STOPPED",
                "FAILED",
            }:
                raise RequestRejected(
                    400, "The deployment must be stopped before it can be deleted."
                )
            del self._endpoint(request).deployments[request.params["deployment"]]
        return Response.json({})
