"""Open models on Vertex AI's machines: an endpoint and an operation for each. See machines.py."""

import time

from http_server import RequestRejected, Response
from machines import Deployment, Machines, is_failing, stamp

BETA = "type.googleapis.com/google.cloud.aiplatform.v1beta1"
SERVED_AS = "/workspace/weights"
STANDING = {"READY", "STOPPING"}


class _Endpoint(Deployment):
    """An endpoint that was made for one deployment. operation: the name of its deployment's."""

    def __init__(self, name, display_name, operation, weights, *, failed):
        super().__init__(weights, failed=failed)
        self.name = name
        self.display_name = display_name
        self.operation = operation
        self.deployments = {name: self}

    def json(self, timing):
        standing = self.state(timing) in STANDING
        return {
            "name": self.name,
            "displayName": self.display_name,
            "deployedModels": [{"id": "1", "model": f"{self.name}-model"}]
            if standing
            else [],
            "dedicatedEndpointDns": "1.us-central1-42.prediction.vertexai.goog",
            "dedicatedEndpointEnabled": True,
            "createTime": stamp(self.began),
        }

    def operation_json(self, timing):
        generic = {"createTime": stamp(self.began)}
        kind = f"{BETA}.DeployOperationMetadata"
        metadata = {"@type": kind, "genericMetadata": generic}
        running = {"name": self.operation, "metadata": metadata}
        if time.time() < self.began + timing.deploys_in:
            return running
        if self.failed:
            error = {
                "code": 8,
                "message": "there are no accelerators left in us-central1",
            }
            return {**running, "done": True, "error": error}
        response = {"@type": f"{BETA}.DeployResponse", "endpoint": self.name}
        return {
            **running,
            "done": True,
            "response": {**response, "model": f"{self.name}-model"},
        }


class VertexMachines(Machines):
    """name: of a resource by kind and number; is_gemini: whether an endpoint needs no machine."""

    list_key, name_key = "endpoints", "display_name"

    def __init__(self, *, books, timing, answers, name, new_id, is_gemini):
        super().__init__(books, timing)
        self.answers = answers
        self._name = name
        self._new_id = new_id
        self._is_gemini = is_gemini
        self._deployed = []

    def routes(self):
        beta = "/v1beta1/projects/{project}/locations/{location}"
        endpoints = "/v1/projects/{project}/locations/{location}/endpoints"
        endpoint = f"{endpoints}/{{id}}"
        return [
            ("POST", f"{beta}:deploy", "deploy", self._deploy),
            ("GET", f"{beta}/operations/{{id}}", "operations.get", self._get_operation),
            ("GET", f"{beta}/operations", "operations.list", self._list_operations),
            ("GET", endpoints, "endpoints.list", self._list),
            ("GET", endpoint, "endpoints.get", self._get_endpoint),
            ("POST", f"{endpoint}:undeployModel", "endpoints.undeploy", self._undeploy),
            ("DELETE", endpoint, "endpoints.delete", self._delete),
            ("POST", f"{endpoint}/invoke/v1/chat/completions", "chat", self._chat),
            ("POST", f"{endpoint}/invoke/v1/completions", "chat", self._chat),
        ]

    def _new_operation(self, request):
        return self._name(request, "operations", self._new_id())

    def _deploy(self, request):
        body = request.json()
        published = body.get("publisherModelName", "").removeprefix("publishers/")
        weights = (body.get("customModel") or {}).get("gcs_uri")
        weights = weights or published.replace("/models/", "/")
        if weights not in self.answers.models:
            raise RequestRejected(400, f"The model {weights} cannot be deployed.")
        with self._lock:
            number, operation = self._new_id(), self._new_operation(request)
            name = self._name(request, "endpoints", number)
            shown = body["endpointConfig"]["endpoint_display_name"]
            endpoint = _Endpoint(
                name, shown, operation, weights, failed=is_failing(request)
            )
            self.endpoints[number] = endpoint
            self._deployed.append(endpoint)
            self._put_on(endpoint, endpoint, weights, body.get("deployConfig"))
            return Response.json({"name": operation, "metadata": {}})

    def _operations(self):
        with self._lock:
            return [endpoint.operation_json(self.timing) for endpoint in self._deployed]

    def _get_operation(self, request):
        number = request.params["id"]
        for operation in self._operations():
            if operation["name"].rpartition("/")[2] == number:
                return Response.json(operation)
        raise RequestRejected(404, f"There is no operation {number}.")

    def _list_operations(self, request):
        return Response.json(
            {"operations": self._operations() if self.timing.operations else []}
        )

    def _get_endpoint(self, request):
        name = self._name(request, "endpoints", request.params["id"])
        if self._is_gemini(name):
            return Response.json(
                {"name": name, "displayName": "tuned", "deployedModels": []}
            )
        return Response.json(self._endpoint(request).json(self.timing))

    def _undeploy(self, request):
        with self._lock:
            endpoint = self._endpoint(request)
            if endpoint.state(self.timing) != "READY":
                raise RequestRejected(
                    400, "The model is not deployed, or is being undeployed already."
                )
            self._take_off(endpoint, endpoint)
        return Response.json({"name": self._new_operation(request)})

    def _delete(self, request):
        with self._lock:
            if self._endpoint(request).state(self.timing) in {
                "PROVISIONING",
                *STANDING,
            }:
                raise RequestRejected(
                    400, "The endpoint has deployed models.", code="FAILED_PRECONDITION"
                )
            del self.endpoints[request.params["id"]]
        return Response.json({"name": self._new_operation(request), "done": True})

    def _chat(self, request):
        endpoint = self._endpoint(request)
        if endpoint.state(self.timing) not in STANDING:
            raise RequestRejected(404, "No model is deployed on this endpoint.")
        body = {**request.json(), "model": endpoint.weights}
        response = self.answers.complete(body, request.strike, request=None)
        return Response.json({**response, "model": SERVED_AS})
