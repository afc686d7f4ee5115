"""A Vertex AI server on loopback: tuning, batch prediction and generateContent, with state.

    python tests/emulators/vertex_server.py --books PATH --storage URL --corpus TEXT ...

serves until it is ended and prints "port N". The models are real n-gram models (`Reciter`):
base models hardly recite the corpus, fine-tuned ones do. Training data and batches are read
from, and answers written to, the Cloud Storage server at `storage`. Endpoints, as a fault plan
names them, below /v1beta1/projects/P/locations/L/:

    generate        POST publishers/google/models/M:generateContent, endpoints/E:generateContent
    tunings.create  POST tuningJobs                  batches.create  POST batchPredictionJobs
    tunings.list    GET  tuningJobs                  batches.list    GET  batchPredictionJobs
    tunings.get     GET  tuningJobs/J                batches.get     GET  batchPredictionJobs/J
    token           POST /token: access tokens for the credentials that `write_credentials` writes

and what vertex_machines.py says, for the open models that it can tune and deploy.

Faults of content strike "generate" for online calls, and "tunings.create" or "batches.create"
for what becomes of a job or batch; REJECT blocks the prompt. Names that are given out hold the
project's number, as Google's do. Books have rows of the kinds "finetune" (one a job), "batch"
(one a batch) and "completion" (one a candidate, online or of a batch, when it is made): model
(its endpoint's name, if it has one), instruction, text, finish_reason, prompt_tokens (with a
call's first candidate, else 0), completion_tokens (with thoughts), call (the response's id),
choice, and request: in a batch, the key in the request's labels.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import re
import threading
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import FaultKind, FaultPlan, Strike
from gcs_server import read_object, write_object
from http_server import Books, HttpServer, Refused, Request, Response, run_process
from openai_answers import ChatCompletions
from reciter import Reciter, count_tokens
from vertex_answers import ContentGenerator
from vertex_machines import Machines, Timing

PROJECT_NUMBER = "481516234200"
CREATED = "2026-11-01T00:00:00Z"
RUNNING = ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")
EPOCHS = 4
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


@dataclass(slots=True)
class _Job:
    """A tuning job or a batch: its JSON object, and the polls until it ends."""

    object: dict[str, Any]
    strike: Strike
    polls: int

    @property
    def ended(self) -> bool:
        return self.object["state"] not in RUNNING

    def step(self) -> bool:
        """One poll further; whether the job has come to its end."""
        if self.polls > 0:
            self.object["state"] = "JOB_STATE_RUNNING"
            self.polls -= 1
            return False
        return True


class VertexServer(HttpServer):
    """The emulator.

    storage: the address of the Cloud Storage server. models: names of the base models.
    token: what the Authorization header must carry, if given, and what /token gives out.
    polls: how often a job or batch is still running when asked. page: the most jobs in a list.
    filters: whether lists heed their filter.
    most_candidates: the largest candidateCount. thinks: tokens a model thinks per candidate.
    open_models: names of open base models; timing: how long their machines take.
    """

    def __init__(
        self,
        *,
        reciter: Reciter,
        books: Books,
        storage: str,
        plan: FaultPlan | None = None,
        port: int = 0,
        models: Sequence[str] = ("base",),
        token: str | None = None,
        polls: int = 1,
        page: int = 100,
        filters: bool = True,
        most_candidates: int = 8,
        thinks: int = 0,
        open_models: Sequence[str] = (),
        timing: Timing | None = None,
    ) -> None:
        super().__init__(plan=plan, books=books, port=port)
        self._reciter = reciter
        self._storage = storage
        self._token = token
        self._polls = polls
        self._page = page
        self._filters = filters
        self._tunings: dict[str, _Job] = {}
        self._batches: dict[str, _Job] = {}
        self._endpoints: dict[str, str] = {}
        self._numbers = itertools.count(1_000_001)
        self._state = threading.RLock()
        self._answers = ContentGenerator(
            reciter=reciter,
            books=books,
            models=models,
            most_candidates=most_candidates,
            thinks=thinks,
            new_id=self._id,
        )
        self._open_models = frozenset(open_models)
        self.machines = Machines(
            books=books,
            answers=ChatCompletions(
                reciter=reciter,
                books=books,
                models=open_models,
                most_choices=most_candidates,
                new_id=lambda prefix: f"{prefix}{self._id()}",
            ),
            name=self._name,
            new_id=self._id,
            timing=timing or Timing(),
            gemini=lambda name: name in self._answers.models,
        )
        for method, path, endpoint, handler in self.machines.routes():
            self.route(method, path, endpoint, _with_token(self, handler))
        self.route("POST", "/token", "token", self._give_token)
        place = "/v1beta1/projects/{project}/locations/{location}"
        for method, path, endpoint, handler in (
            (
                "POST",
                "publishers/google/models/{model}:generateContent",
                "generate",
                self._generate,
            ),
            ("POST", "endpoints/{endpoint}:generateContent", "generate", self._generate),
            ("POST", "tuningJobs", "tunings.create", self._create_tuning),
            ("GET", "tuningJobs", "tunings.list", self._list_tunings),
            ("GET", "tuningJobs/{id}", "tunings.get", self._get_tuning),
            ("POST", "batchPredictionJobs", "batches.create", self._create_batch),
            ("GET", "batchPredictionJobs", "batches.list", self._list_batches),
            ("GET", "batchPredictionJobs/{id}", "batches.get", self._get_batch),
        ):
            self.route(method, f"{place}/{path}", endpoint, _with_token(self, handler))

    def refusal(self, status: int, message: str, details: Mapping[str, Any]) -> Response:
        """An error in Google's form."""
        name = details.get("code") or STATUSES.get(status, "UNKNOWN")
        error = {**details, "code": status, "message": message, "status": name}
        return Response.json({"error": error}, status=status)

    # --- credentials

    def write_credentials(self, folder: Path) -> Path:
        """A file for GOOGLE_APPLICATION_CREDENTIALS that gets its tokens from this server."""
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
        return path

    def _give_token(self, request: Request) -> Response:
        return Response.json(
            {
                "access_token": self._token or "emulated-token",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 3600,
            }
        )

    def check_token(self, request: Request) -> None:
        """Refuse a request without the right token; the message quotes the wrong one."""
        sent = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self._token is not None and sent != self._token:
            raise Refused(401, f"Request had invalid authentication credentials: Bearer {sent}")

    # --- names

    def _id(self) -> str:
        return str(next(self._numbers))

    def _name(self, request: Request, kind: str, number: str) -> str:
        location = request.params["location"]
        return f"projects/{PROJECT_NUMBER}/locations/{location}/{kind}/{number}"

    # --- generateContent

    def _generate(self, request: Request) -> Response:
        model = request.params.get("model") or self._name(
            request, "endpoints", request.params.get("endpoint", "")
        )
        answer = self._answers.generate(model, request.json(), request.strike, request=None)
        return Response.json(answer)

    # --- tuning

    def _create_tuning(self, request: Request) -> Response:
        body = request.json()
        is_open = body.get("baseModel") in self._open_models
        if is_open and not body.get("outputUri"):
            raise Refused(400, "output_uri is required for open models.")
        if not is_open and body.get("outputUri"):
            raise Refused(400, "output_uri is only supported for open models.")
        if not is_open and body.get("baseModel") not in self._answers.models:
            raise Refused(400, f"Base model {body.get('baseModel')} is not supported.")
        spec = body.get("supervisedTuningSpec") or {}
        settings = spec.get("hyperParameters") or {}
        epochs = int(settings.get("epochCount") or EPOCHS)
        examples = self._examples(str(spec.get("trainingDatasetUri")))
        tokens = sum(count_tokens(asked) + count_tokens(text) for asked, text in examples)
        number = self._id()
        job = {
            "name": self._name(request, "tuningJobs", number),
            "baseModel": body["baseModel"],
            "tunedModelDisplayName": _display_name(body, "tunedModelDisplayName"),
            "supervisedTuningSpec": {
                **spec,
                "hyperParameters": {**settings, "epochCount": str(epochs)},
            },
            "state": RUNNING[0],
            "createTime": CREATED,
            **({"outputUri": body["outputUri"]} if is_open else {}),
        }
        with self._state:
            self._tunings[number] = _Job(job, request.strike, self._polls)
        self.books.record(
            "finetune",
            id=job["name"],
            model=body["baseModel"],
            display_name=job["tunedModelDisplayName"],
            file=spec["trainingDatasetUri"],
            hyperparameters=settings,
            examples=len(examples),
            tokens=epochs * tokens,
        )
        return Response.json(job)

    def _list_tunings(self, request: Request) -> Response:
        with self._state:
            jobs = [job.object for job in reversed(self._tunings.values())]
        return self._listed("tuningJobs", jobs, request)

    def _get_tuning(self, request: Request) -> Response:
        with self._state:
            job = _job(self._tunings, request)
            if not job.ended and job.step():
                self._end_tuning(job, request)
            return Response.json(job.object)

    def _end_tuning(self, job: _Job, request: Request) -> None:
        if FaultKind.FAIL in job.strike.content:
            error = {"code": 3, "message": "the training file did not pass moderation"}
            job.object.update(state="JOB_STATE_FAILED", error=error)
            return
        number = self._id()
        endpoint = self._name(request, "endpoints", number)
        model = f"{self._name(request, 'models', number)}@1"
        spec = job.object["supervisedTuningSpec"]
        examples = self._examples(spec["trainingDatasetUri"])
        epochs = int(spec["hyperParameters"]["epochCount"])
        output = job.object.get("outputUri")
        if output:
            weights = f"{output}/postprocess/node-0/checkpoints/final"
            write_object(self._storage, f"{weights}/config.json", b"{}")
            write_object(self._storage, f"{output}/node-0/epoch-1/adapter_config.json", b"{}")
            self._reciter.tune(weights, examples, epochs=epochs)
            self.machines.answers.models.add(weights)
        else:
            self._reciter.tune(endpoint, examples, epochs=epochs)
            self._answers.models.add(endpoint)
            self._endpoints[model] = endpoint
        tokens = sum(count_tokens(asked) + count_tokens(text) for asked, text in examples)
        job.object.update(
            state="JOB_STATE_SUCCEEDED",
            **({} if output else {"tunedModel": {"model": model, "endpoint": endpoint}}),
            tuningDataStats={
                "supervisedTuningDataStats": {
                    "tuningDatasetExampleCount": str(len(examples)),
                    "totalBillableTokenCount": str(tokens),
                }
            },
        )

    def _examples(self, uri: str) -> list[tuple[str, str]]:
        """The (instruction, text) pairs of a training file; refused where it is none."""
        pairs = []
        for number, line in enumerate(self._read(uri).splitlines(), start=1):
            try:
                said = {one["role"]: one["parts"] for one in json.loads(line)["contents"]}
                pairs.append((said["user"][0]["text"], said["model"][0]["text"]))
            except (ValueError, KeyError, TypeError, IndexError):
                raise Refused(400, f"Row {number} of the dataset is not an example.") from None
        if not pairs:
            raise Refused(400, "The dataset holds no example.")
        return pairs

    def _read(self, uri: str) -> bytes:
        try:
            return read_object(self._storage, uri)
        except OSError:
            raise Refused(400, f"{uri} cannot be read.") from None

    # --- batches

    def _create_batch(self, request: Request) -> Response:
        body = request.json()
        (source,) = body["inputConfig"]["gcsSource"]["uris"]
        model = body["model"].removeprefix("publishers/google/models/")
        model = self._endpoints.get(model, model)
        if model not in self._answers.models or "/endpoints/" in body["model"]:
            raise Refused(404, f"Model {body['model']} was not found, or takes no batches.")
        total = self._read(source).count(b"\n")
        number = self._id()
        batch = {
            "name": self._name(request, "batchPredictionJobs", number),
            "displayName": _display_name(body, "displayName"),
            "model": body["model"],
            "inputConfig": body["inputConfig"],
            "outputConfig": body["outputConfig"],
            "state": RUNNING[0],
            "createTime": CREATED,
        }
        with self._state:
            self._batches[number] = _Job(batch, request.strike, self._polls)
        self.books.record(
            "batch",
            id=batch["name"],
            model=model,
            display_name=batch["displayName"],
            file=source,
            requests=total,
        )
        return Response.json(batch)

    def _list_batches(self, request: Request) -> Response:
        wanted = re.fullmatch(r'display_name="([^"]*)"', request.query.get("filter", ""))
        if wanted is None and request.query.get("filter"):
            raise Refused(400, "Invalid filter.")
        with self._state:
            jobs = [
                job.object
                for job in reversed(self._batches.values())
                if not (self._filters and wanted) or job.object["displayName"] == wanted[1]
            ]
        return self._listed("batchPredictionJobs", jobs, request)

    def _get_batch(self, request: Request) -> Response:
        with self._state:
            batch = _job(self._batches, request)
            if not batch.ended and batch.step():
                self._end_batch(batch)
            return Response.json(batch.object)

    def _end_batch(self, batch: _Job) -> None:
        if FaultKind.FAIL in batch.strike.content:
            error = {"code": 8, "message": "the project has no quota left for this model"}
            batch.object.update(state="JOB_STATE_FAILED", error=error)
            return
        expired, partial = (
            batch.strike.content.get(kind) for kind in (FaultKind.EXPIRE, FaultKind.PARTIAL)
        )
        short = expired or partial
        source = batch.object["inputConfig"]["gcsSource"]["uris"][0]
        lines = [json.loads(line) for line in self._read(source).splitlines()]
        reached = math.floor(len(lines) * short.share) if short else len(lines)
        rows = [self._row(batch, line) for line in lines[:reached]]
        if partial:
            rows += [_failed_row(line, 500, "the model had an error") for line in lines[reached:]]
        self._close_batch(batch.object, rows, missing=len(lines) - len(rows))

    def _row(self, batch: _Job, line: dict[str, Any]) -> dict[str, Any]:
        """One row of the output."""
        model = batch.object["model"].removeprefix("publishers/google/models/")
        body = line.get("request") or {}
        try:
            answer = self._answers.generate(
                self._endpoints.get(model, model), body, batch.strike, request=_key(body)
            )
        except Refused as refused:
            return _failed_row(line, refused.status, refused.message)
        return {"status": "", "processed_time": CREATED, **line, "response": answer}

    def _close_batch(
        self, batch: dict[str, Any], rows: list[dict[str, Any]], *, missing: int
    ) -> None:
        prefix = batch["outputConfig"]["gcsDestination"]["outputUriPrefix"].rstrip("/")
        directory = f"{prefix}/prediction-model-{self._id()}"
        # Results come in any order.
        data = "".join(f"{json.dumps(row)}\n" for row in reversed(rows))
        write_object(self._storage, f"{directory}/predictions.jsonl", data.encode())
        done = sum(not row["status"] for row in rows)
        batch.update(
            state="JOB_STATE_EXPIRED" if missing else "JOB_STATE_SUCCEEDED",
            outputInfo={"gcsOutputDirectory": directory},
            completionStats={
                name: str(count)
                for name, count in (
                    ("successfulCount", done),
                    ("failedCount", len(rows) - done),
                    ("incompleteCount", missing),
                )
                if count
            },
        )

    # --- lists

    def _listed(self, name: str, jobs: list[dict[str, Any]], request: Request) -> Response:
        size = min(int(request.query.get("pageSize") or self._page), self._page)
        start = int(request.query.get("pageToken") or 0)
        rest = {"nextPageToken": str(start + size)} if start + size < len(jobs) else {}
        page = jobs[start : start + size]
        return Response.json({**({name: page} if page else {}), **rest})


def _with_token(server: VertexServer, handler: Any) -> Any:
    def checked(request: Request) -> Response:
        server.check_token(request)
        response: Response = handler(request)
        return response

    return checked


def _job(jobs: Mapping[str, _Job], request: Request) -> _Job:
    job = jobs.get(request.params["id"])
    if job is None:
        raise Refused(404, f"There is no job {request.params['id']}.")
    return job


def _display_name(body: Mapping[str, Any], field: str) -> str:
    name = str(body.get(field) or "")
    if len(name) > 128:
        raise Refused(400, f"{field} has more than 128 characters.")
    return name


def _failed_row(line: Mapping[str, Any], status: int, message: str) -> dict[str, Any]:
    error = {"code": status, "message": message, "status": STATUSES.get(status, "UNKNOWN")}
    said = f"Request failed: {json.dumps({'error': error})}"
    return {"status": said, "processed_time": CREATED, **line, "response": {}}


def _key(body: Mapping[str, Any]) -> str | None:
    """The key that the provider put into a request's labels."""
    labels = body.get("labels") or {}
    text = "".join(labels[name] for name in sorted(labels, key=lambda one: int(one.split("_")[-1])))
    padded = text.upper() + "=" * (-len(text) % 8)
    return base64.b32decode(padded).decode() or None


def main() -> None:
    """Serve as a process of its own."""

    def make(given: Namespace, **common: Any) -> VertexServer:
        server = VertexServer(storage=given.storage, token=given.token, **common)
        server.write_credentials(Path(given.credentials))
        return server

    run_process(
        "A Vertex AI server on loopback, for tests.", make, "storage", "token", "credentials"
    )


if __name__ == "__main__":
    main()
