"""A Vertex AI server on loopback: tuning, batch prediction and generateContent, with state.

Training data and batches are read from, and answers written to, the Cloud Storage
server at `storage`. Faults of content strike "generate" for online calls, and
"tunings.create" or "batches.create" for what becomes of a job or batch; REJECT blocks
the prompt. Names that are given out hold the project's number, as Google's do. Books
have a row for each "finetune", "batch" and "completion".
"""

import base64
import itertools
import json
import re
from functools import partial

from faults import FaultKind
from gcs_server import read_object, write_object
from http_server import Job, ModelServer, RequestRejected, Response, read_examples
from openai_answers import ChatCompletions
from reciter import bill_of
from vertex_answers import ContentGenerator
from vertex_machines import VertexMachines

PROJECT_NUMBER = "481516234200"
CREATED = "2026-11-01T00:00:00Z"
RUNNING = ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")
EPOCHS = 4
PAGE = 8  # jobs in a list, at most
STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
STATUSES |= {
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
}
STATUSES |= {503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


class VertexServer(ModelServer):
    """key: the access token, which /token gives out; filters: whether lists heed their filter.

    most: the largest candidateCount
    thinks: tokens a model thinks per candidate; timing: how long open models' machines
    take
    """

    fixtures = ("key", "storage")

    def __init__(
        self,
        *,
        reciter,
        books,
        storage,
        models=("base",),
        filters=True,
        most=8,
        thinks=0,
        open_models=(),
        timing=None,
        **common,
    ):
        super().__init__(books=books, **common)
        self._reciter = reciter
        self._storage = storage
        self._filters = filters
        self._tunings = {}
        self._batches = {}
        self._endpoints = {}
        self._numbers = itertools.count(1_000_001)
        self._open_models = frozenset(open_models)
        shared = {"reciter": reciter, "books": books, "most": most, "new_id": self._id}
        self._answers = ContentGenerator(models=models, thinks=thinks, **shared)
        self.machines = VertexMachines(
            books=books,
            answers=ChatCompletions(models=open_models, **shared),
            name=self._name,
            new_id=self._id,
            timing=timing,
            is_gemini=lambda name: name in self._answers.models,
        )
        self.route("POST", "/token", "token", self._give_token)
        self.add_routes("", *self.machines.routes())
        look_at_tuning = partial(
            self.look_at, self._tunings, "state", RUNNING, self._end_tuning
        )
        look_at_batch = partial(
            self.look_at, self._batches, "state", RUNNING, self._end_batch
        )
        model = "publishers/google/models/{model}:generateContent"
        self.add_routes(
            "/v1beta1/projects/{project}/locations/{location}/",
            ("POST", model, "generate", self._generate),
            (
                "POST",
                "endpoints/{endpoint}:generateContent",
                "generate",
                self._generate,
            ),
            ("POST", "tuningJobs", "tunings.create", self._create_tuning),
            ("GET", "tuningJobs", "tunings.list", self._list_tunings),
            ("GET", "tuningJobs/{id}", "tunings.get", look_at_tuning),
            ("POST", "batchPredictionJobs", "batches.create", self._create_batch),
            ("GET", "batchPredictionJobs", "batches.list", self._list_batches),
            ("GET", "batchPredictionJobs/{id}", "batches.get", look_at_batch),
        )

    def refusal(self, status, message, details):
        name = details.get("code") or STATUSES.get(status, "UNKNOWN")
        error = {**details, "code": status, "message": message, "status": name}
        return Response.json({"error": error}, status=status)

    def credentials(self, folder):
        subject = folder / "subject-token"
        subject.write_text("an identity that this emulator believes", encoding="utf-8")
        path = folder / "credentials.json"
        credentials = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/emulated",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.url}/token",
            "credential_source": {"file": str(subject)},
        }
        path.write_text(json.dumps(credentials), encoding="utf-8")
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}

    def _give_token(self, request):
        issued = "urn:ietf:params:oauth:token-type:access_token"
        token = {
            "access_token": self.key or "emulated-token",
            "issued_token_type": issued,
        }
        return Response.json({**token, "token_type": "Bearer", "expires_in": 3600})

    def _id(self, prefix=""):
        return f"{prefix}{next(self._numbers)}"

    def _name(self, request, kind, number):
        return f"projects/{PROJECT_NUMBER}/locations/{request.params['location']}/{kind}/{number}"

    def _generate(self, request):
        model = request.params.get("model") or self._name(
            request, "endpoints", request.params.get("endpoint", "")
        )
        answer = self._answers.generate(
            model, request.json(), request.strike, request=None
        )
        return Response.json(answer)

    def _create_tuning(self, request):
        body = request.json()
        is_open = body.get("baseModel") in self._open_models
        if is_open and not body.get("outputUri"):
            raise RequestRejected(400, "output_uri is required for open models.")
        if not is_open and body.get("outputUri"):
            raise RequestRejected(400, "output_uri is only supported for open models.")
        if not is_open and body.get("baseModel") not in self._answers.models:
            raise RequestRejected(
                400, f"Base model {body.get('baseModel')} is not supported."
            )
        spec = body.get("supervisedTuningSpec") or {}
        settings = spec.get("hyperParameters") or {}
        epochs = int(settings.get("epochCount") or EPOCHS)
        examples = self._examples(str(spec.get("trainingDatasetUri")))
        number, display_name = self._id(), body["tunedModelDisplayName"]
        parameters = {**settings, "epochCount": str(epochs)}
        job = {
            "name": self._name(request, "tuningJobs", number),
            "baseModel": body["baseModel"],
            "tunedModelDisplayName": display_name,
            "supervisedTuningSpec": {**spec, "hyperParameters": parameters},
            "state": RUNNING[0],
            "createTime": CREATED,
            **({"outputUri": body["outputUri"]} if is_open else {}),
        }
        self._tunings[number] = Job(job, request.strike, self._polls)
        row = {"model": body["baseModel"], "display_name": display_name}
        row |= {"file": spec["trainingDatasetUri"], "hyperparameters": settings}
        self.books.record(
            "finetune", id=job["name"], tokens=bill_of(examples, epochs), **row
        )
        return Response.json(job)

    def _list_tunings(self, request):
        return self._listed("tuningJobs", self._tunings.values(), request)

    def _end_tuning(self, job):
        if FaultKind.FAIL in job.strike.content:
            error = {"code": 3, "message": "the training file did not pass moderation"}
            job.object.update(state="JOB_STATE_FAILED", error=error)
            return
        number = self._id()
        place = job.object["name"].rpartition("/tuningJobs/")[0]
        endpoint, model = f"{place}/endpoints/{number}", f"{place}/models/{number}@1"
        spec = job.object["supervisedTuningSpec"]
        examples = self._examples(spec["trainingDatasetUri"])
        output = job.object.get("outputUri")
        weights = (
            f"{output}/postprocess/node-0/checkpoints/final" if output else endpoint
        )
        self._reciter.tune(
            weights, examples, epochs=int(spec["hyperParameters"]["epochCount"])
        )
        if output:
            write_object(self._storage, f"{weights}/config.json", b"{}")
            write_object(
                self._storage, f"{output}/node-0/epoch-1/adapter_config.json", b"{}"
            )
            self.machines.answers.models.add(weights)
        else:
            self._answers.models.add(endpoint)
            self._endpoints[model] = endpoint
            job.object["tunedModel"] = {"model": model, "endpoint": endpoint}
        stats = {"tuningDatasetExampleCount": str(len(examples))}
        stats["totalBillableTokenCount"] = str(bill_of(examples, 1))
        job.object["tuningDataStats"] = {"supervisedTuningDataStats": stats}
        job.object["state"] = "JOB_STATE_SUCCEEDED"

    def _examples(self, uri):
        return read_examples(
            self._read(uri), "contents", lambda turn: turn["parts"][0]["text"]
        )

    def _read(self, uri):
        try:
            return read_object(self._storage, uri)
        except OSError:
            raise RequestRejected(400, f"{uri} cannot be read.") from None

    def _create_batch(self, request):
        body = request.json()
        (source,) = body["inputConfig"]["gcsSource"]["uris"]
        model = body["model"].removeprefix("publishers/google/models/")
        model = self._endpoints.get(model, model)
        if model not in self._answers.models or "/endpoints/" in body["model"]:
            raise RequestRejected(
                404, f"Model {body['model']} was not found, or takes no batches."
            )
        number, display_name = self._id(), body["displayName"]
        batch = {
            "name": self._name(request, "batchPredictionJobs", number),
            "displayName": display_name,
            **{key: body[key] for key in ("model", "inputConfig", "outputConfig")},
            "state": RUNNING[0],
            "createTime": CREATED,
        }
        self._batches[number] = Job(batch, request.strike, self._polls)
        row = {
            "display_name": display_name,
            "requests": self._read(source).count(b"\n"),
        }
        self.books.record("batch", id=batch["name"], model=model, file=source, **row)
        return Response.json(batch)

    def _list_batches(self, request):
        wanted = re.fullmatch(
            r'display_name="([^"]*)"', request.query.get("filter", "")
        )
        if wanted is None and request.query.get("filter"):
            raise RequestRejected(400, "Invalid filter.")
        every = not (self._filters and wanted)
        named = [
            job
            for job in self._batches.values()
            if every or job.object["displayName"] == wanted[1]
        ]
        return self._listed("batchPredictionJobs", named, request)

    def _end_batch(self, batch):
        if FaultKind.FAIL in batch.strike.content:
            error = {
                "code": 8,
                "message": "the project has no quota left for this model",
            }
            batch.object.update(state="JOB_STATE_FAILED", error=error)
            return
        source = batch.object["inputConfig"]["gcsSource"]["uris"][0]
        lines = [json.loads(line) for line in self._read(source).splitlines()]
        reached = batch.strike.reached(lines)
        rows = [self._row(batch, line) for line in lines[:reached]]
        if FaultKind.PARTIAL in batch.strike.content:
            rows += [
                _failed_row(line, 500, "the model had an error")
                for line in lines[reached:]
            ]
        prefix = batch.object["outputConfig"]["gcsDestination"][
            "outputUriPrefix"
        ].rstrip("/")
        directory = f"{prefix}/prediction-model-{self._id()}"
        # Results come in any order.
        data = "".join(f"{json.dumps(row)}\n" for row in reversed(rows))
        write_object(self._storage, f"{directory}/predictions.jsonl", data.encode())
        done, missing = sum(not row["status"] for row in rows), len(lines) - len(rows)
        counts = {"successfulCount": done, "failedCount": len(rows) - done}
        counts["incompleteCount"] = missing
        batch.object.update(
            state="JOB_STATE_EXPIRED" if missing else "JOB_STATE_SUCCEEDED",
            outputInfo={"gcsOutputDirectory": directory},
            completionStats={
                name: str(count) for name, count in counts.items() if count
            },
        )

    def _row(self, batch, line):
        model = batch.object["model"].removeprefix("publishers/google/models/")
        body = line.get("request") or {}
        try:
            answer = self._answers.generate(
                self._endpoints.get(model, model),
                body,
                batch.strike,
                request=_key(body),
            )
        except RequestRejected as refused:
            return _failed_row(line, refused.status, refused.message)
        return {"status": "", "processed_time": CREATED, **line, "response": answer}

    def _listed(self, name, jobs, request):
        objects = [job.object for job in jobs][::-1]
        size = min(int(request.query.get("pageSize") or PAGE), PAGE)
        start = int(request.query.get("pageToken") or 0)
        rest = (
            {"nextPageToken": str(start + size)} if start + size < len(objects) else {}
        )
        page = objects[start : start + size]
        return Response.json({**({name: page} if page else {}), **rest})


def _failed_row(line, status, message):
    error = {
        "code": status,
        "message": message,
        "status": STATUSES.get(status, "UNKNOWN"),
    }
    text = f"Request failed: {json.dumps({'error': error})}"
    return {"status": text, "processed_time": CREATED, **line, "response": {}}


def _key(body):
    """The key that the provider put into a request's labels."""
    labels = body.get("labels") or {}
    text = "".join(
        labels[name] for name in sorted(labels, key=lambda one: int(one.split("_")[-1]))
    )
    padded = text.upper() + "=" * (-len(text) % 8)
    return base64.b32decode(padded).decode() or None


EMULATOR = VertexServer
