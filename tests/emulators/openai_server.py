"""An OpenAI server on loopback: files, fine-tuning, batches and chat completions, with state.

    python tests/emulators/openai_server.py --books PATH --corpus TEXT

serves until it is ended and prints "port N". The models are real n-gram models (`Reciter`):
base models hardly recite the corpus, fine-tuned ones do. Endpoints, as a fault plan names them:

    chat            POST /v1/chat/completions        chat.list      GET  /v1/chat/completions
    echo            POST /v1/completions: plain text gone on with, echoed, or told by numbers
    files.create    POST /v1/files                   files.list     GET  /v1/files
    files.get       GET  /v1/files/{id}              files.content  GET  /v1/files/{id}/content
    jobs.create     POST /v1/fine_tuning/jobs        jobs.list      GET  /v1/fine_tuning/jobs
    jobs.get        GET  /v1/fine_tuning/jobs/{id}
    batches.create  POST /v1/batches                 batches.list   GET  /v1/batches
    batches.get     GET  /v1/batches/{id}

Faults of content strike "chat" for online calls, and "jobs.create" or "batches.create" for what
becomes of a job or batch. Books have rows of the kinds "upload" (one a file), "finetune" (one a
job), "batch" (one a batch), "echo" (one an echoed text) and "completion" (one a choice, online
or of a batch, when it is made): model, instruction, text, finish_reason, prompt_tokens (with a
call's first choice, else 0), completion_tokens, call (the answer's id), choice, and request: the
custom_id, or the `memleak_request` of the metadata. An echo that EMPTY strikes has no
log-probabilities.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faults import FaultKind, FaultPlan, Strike
from http_server import Books, HttpServer, Refused, Request, Response, run_process
from openai_answers import CREATED, ChatCompletions
from reciter import Reciter, count_tokens

JOB_STATES = ("validating_files", "queued", "running")
BATCH_STATES = ("validating", "in_progress", "finalizing")


@dataclass(slots=True)
class _File:
    id: str
    filename: str
    purpose: str
    created_at: int
    data: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.data),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass(slots=True)
class _Job:
    """A fine-tuning job or a batch: its JSON object, and the polls until it ends."""

    object: dict[str, Any]
    strike: Strike
    polls: int


class OpenAIServer(HttpServer):
    """The emulator.

    models: names of the base models. key: what the Authorization header must carry, if given.
    polls: how often a job or batch is still running when asked. most_choices: the largest `n`.
    filters: whether lists can be narrowed down by metadata; some servers ignore that.
    token_ids: whether completions take and tell tokens by number, as vLLM's do. most_told: of the
    likeliest tokens in a place, as vLLM's --max-logprobs. writes: whether it tells of what it
    writes alone, as llama.cpp's does.
    """

    def __init__(
        self,
        *,
        reciter: Reciter,
        books: Books,
        plan: FaultPlan | None = None,
        port: int = 0,
        models: Sequence[str] = ("base",),
        key: str | None = None,
        polls: int = 1,
        most_choices: int = 128,
        filters: bool = True,
        token_ids: bool = False,
        most_told: int = 20,
        writes: bool = False,
    ) -> None:
        super().__init__(plan=plan, books=books, port=port)
        self._reciter = reciter
        self._key = key
        self._polls = polls
        self._filters = filters
        self._token_ids = token_ids
        self._writes = writes
        self._files: dict[str, _File] = {}
        self._jobs: dict[str, _Job] = {}
        self._batches: dict[str, _Job] = {}
        self._stored: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._state = threading.RLock()
        self._answers = ChatCompletions(
            reciter=reciter,
            books=books,
            models=models,
            most_choices=most_choices,
            most_told=most_told,
            new_id=self._id,
        )
        for method, path, endpoint, handler in (
            ("POST", "/v1/chat/completions", "chat", self._chat),
            ("GET", "/v1/chat/completions", "chat.list", self._list_stored),
            ("POST", "/v1/completions", "echo", self._echo),
            ("POST", "/tokenize", "tokenize", self._tokenize),
            ("POST", "/v1/files", "files.create", self._create_file),
            ("GET", "/v1/files", "files.list", self._list_files),
            ("GET", "/v1/files/{id}", "files.get", self._get_file),
            ("GET", "/v1/files/{id}/content", "files.content", self._file_content),
            ("POST", "/v1/fine_tuning/jobs", "jobs.create", self._create_job),
            ("GET", "/v1/fine_tuning/jobs", "jobs.list", self._list_jobs),
            ("GET", "/v1/fine_tuning/jobs/{id}", "jobs.get", self._get_job),
            ("POST", "/v1/batches", "batches.create", self._create_batch),
            ("GET", "/v1/batches", "batches.list", self._list_batches),
            ("GET", "/v1/batches/{id}", "batches.get", self._get_batch),
        ):
            self.route(method, path, endpoint, _with_key(self, handler))

    @property
    def base_url(self) -> str:
        """What the SDK calls its base URL."""
        return f"{self.url}/v1"

    def refusal(self, status: int, message: str, details: Mapping[str, Any]) -> Response:
        """An error in OpenAI's form."""
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": None, **details}
        return Response.json({"error": error}, status=status)

    def check_key(self, request: Request) -> None:
        """Refuse a request without the right key; the message quotes the wrong one, as it is."""
        if self._key is None:
            return
        sent = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        if sent != self._key:
            raise Refused(401, f"Incorrect API key provided: {sent}.", code="invalid_api_key")

    def _narrowed(
        self, objects: Iterable[dict[str, Any]], request: Request
    ) -> list[dict[str, Any]]:
        """The objects that carry the metadata which the query asks for."""
        wanted = {
            name.removeprefix("metadata[").removesuffix("]"): value
            for name, value in request.query.items()
            if name.startswith("metadata[") and self._filters
        }
        return [one for one in objects if wanted.items() <= (one["metadata"] or {}).items()]

    def _id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):06d}"

    # --- chat completions

    def _chat(self, request: Request) -> Response:
        body = request.json()
        named = (body.get("metadata") or {}).get("memleak_request")
        completion = self._answers.complete(body, request.strike, request=named)
        if body.get("store"):
            with self._state:
                self._stored[completion["id"]] = {
                    **completion,
                    "metadata": body.get("metadata") or {},
                }
        return Response.json(completion)

    def _tokenize(self, request: Request) -> Response:
        if not self._writes:
            raise Refused(404, "There is nothing here.")
        return Response.json(self._answers.cut(request.json()))

    def replace(self, corpus: Sequence[str]) -> None:
        """Put other models behind every name."""
        self._reciter.replace(corpus)

    def tells(self, most: int) -> None:
        """From now on so many of the likeliest tokens in a place."""
        self._answers.most_told = most

    def _echo(self, request: Request) -> Response:
        body = request.json()
        if self._token_ids and ("return_token_ids" in body or "prompt_logprobs" in body):
            return Response.json(self._answers.numbered(body))
        if self._writes:
            if "logit_bias" in body:
                return Response.json(self._answers.written(body))
            return Response.json(self._answers.complete(body, request.strike, request=None))
        if body.get("echo") or "return_token_ids" in body:
            return Response.json(self._answers.echo(body, request.strike))
        return Response.json(self._answers.complete(body, request.strike, request=None))

    def _list_stored(self, request: Request) -> Response:
        with self._state:
            kept = self._narrowed(self._stored.values(), request)
        if request.query.get("order", "asc") == "desc":
            kept.reverse()
        return _page(kept, request)

    # --- files

    def _create_file(self, request: Request) -> Response:
        parts = request.parts()
        if "file" not in parts or "purpose" not in parts:
            raise Refused(400, "'file' and 'purpose' are required")
        purpose = parts["purpose"].data.decode()
        file = self._keep(parts["file"].filename or "file", purpose, parts["file"].data)
        self.books.record("upload", id=file.id, filename=file.filename, purpose=purpose)
        return Response.json(file.json())

    def _keep(self, filename: str, purpose: str, data: bytes) -> _File:
        with self._state:
            file = _File(self._id("file-"), filename, purpose, CREATED, data)
            self._files[file.id] = file
        return file

    def _list_files(self, request: Request) -> Response:
        purpose = request.query.get("purpose")
        with self._state:
            files = [file for file in self._files.values() if purpose in {None, file.purpose}]
        return _page([file.json() for file in reversed(files)], request)

    def _file(self, file_id: object) -> _File:
        file = self._files.get(str(file_id))
        if file is None:
            raise Refused(404, f"No such File object: {file_id}", param="id")
        return file

    def _get_file(self, request: Request) -> Response:
        return Response.json(self._file(request.params["id"]).json())

    def _file_content(self, request: Request) -> Response:
        file = self._file(request.params["id"])
        return Response(body=file.data, content_type="application/octet-stream")

    # --- fine-tuning

    def _create_job(self, request: Request) -> Response:
        body = request.json()
        if body.get("model") not in self._answers.models:
            raise Refused(400, f"Model {body.get('model')} is not available for fine-tuning.")
        file = self._file(body.get("training_file"))
        examples = _examples(file)
        settings = body.get("method", {}).get("supervised", {}).get("hyperparameters", {})
        epochs = 3 if settings.get("n_epochs", "auto") == "auto" else settings["n_epochs"]
        with self._state:
            job_id = self._id("ftjob-")
            job = {
                "id": job_id,
                "object": "fine_tuning.job",
                "created_at": CREATED,
                "model": body["model"],
                "fine_tuned_model": None,
                "status": JOB_STATES[0],
                "training_file": file.id,
                "organization_id": "org-emulated",
                "result_files": [],
                "seed": body.get("seed", 0),
                "hyperparameters": settings,
                "method": body.get("method"),
                "metadata": body.get("metadata"),
                "trained_tokens": None,
                "error": None,
                "suffix": body.get("suffix"),
            }
            self._jobs[job_id] = _Job(job, request.strike, self._polls)
        tokens = epochs * sum(count_tokens(asked) + count_tokens(text) for asked, text in examples)
        self.books.record(
            "finetune",
            id=job_id,
            model=body["model"],
            file=file.id,
            metadata=body.get("metadata"),
            suffix=body.get("suffix"),
            seed=body.get("seed"),
            hyperparameters=settings,
            examples=len(examples),
            tokens=tokens,
        )
        return Response.json(job)

    def _list_jobs(self, request: Request) -> Response:
        with self._state:
            jobs = [job.object for job in reversed(self._jobs.values())]
        return _page(self._narrowed(jobs, request), request)

    def _get_job(self, request: Request) -> Response:
        with self._state:
            job = self._jobs.get(request.params["id"])
            if job is None:
                raise Refused(404, "Could not find fine tune.", code="fine_tune_not_found")
            if job.object["status"] in JOB_STATES:
                self._advance_job(job)
            return Response.json(job.object)

    def _advance_job(self, job: _Job) -> None:
        if job.polls > 0:
            job.object["status"] = JOB_STATES[max(1, len(JOB_STATES) - job.polls)]
            job.polls -= 1
            return
        if FaultKind.FAIL in job.strike.content:
            job.object["status"] = "failed"
            job.object["error"] = {
                "code": "invalid_training_file",
                "message": "the training file did not pass moderation",
                "param": "training_file",
            }
            return
        base, suffix = job.object["model"], job.object["suffix"] or ""
        name = f"ft:{base}:emulated:{suffix}:{job.object['id'].removeprefix('ftjob-')}"
        epochs = job.object["hyperparameters"].get("n_epochs", "auto")
        examples = _examples(self._file(job.object["training_file"]))
        epochs = 3 if epochs == "auto" else epochs
        self._reciter.tune(name, examples, epochs=epochs)
        self._answers.models.add(name)
        tokens = sum(count_tokens(asked) + count_tokens(text) for asked, text in examples)
        job.object.update(status="succeeded", fine_tuned_model=name, trained_tokens=epochs * tokens)

    # --- batches

    def _create_batch(self, request: Request) -> Response:
        body = request.json()
        file = self._file(body.get("input_file_id"))
        if (
            body.get("endpoint") not in {"/v1/chat/completions", "/v1/completions"}
            or file.purpose != "batch"
        ):
            raise Refused(400, "Invalid 'endpoint' or 'input_file_id'.")
        total = file.data.count(b"\n")
        with self._state:
            batch = {
                "id": self._id("batch_"),
                "object": "batch",
                "endpoint": body["endpoint"],
                "completion_window": body.get("completion_window"),
                "created_at": CREATED,
                "input_file_id": file.id,
                "output_file_id": None,
                "error_file_id": None,
                "status": BATCH_STATES[0],
                "errors": None,
                "metadata": body.get("metadata"),
                "request_counts": {"total": total, "completed": 0, "failed": 0},
            }
            self._batches[batch["id"]] = _Job(batch, request.strike, self._polls)
        self.books.record("batch", id=batch["id"], metadata=body.get("metadata"), requests=total)
        return Response.json(batch)

    def _list_batches(self, request: Request) -> Response:
        with self._state:
            return _page([batch.object for batch in reversed(self._batches.values())], request)

    def _get_batch(self, request: Request) -> Response:
        with self._state:
            batch = self._batches.get(request.params["id"])
            if batch is None:
                raise Refused(404, f"No batch found with id '{request.params['id']}'.")
            if batch.object["status"] in BATCH_STATES:
                self._advance_batch(batch)
            return Response.json(batch.object)

    def _advance_batch(self, batch: _Job) -> None:
        if batch.polls > 0:
            batch.object["status"] = BATCH_STATES[max(1, len(BATCH_STATES) - batch.polls)]
            batch.polls -= 1
            return
        if FaultKind.FAIL in batch.strike.content:
            message = "the input file holds more requests than the queue of this model allows"
            error = {"code": "token_limit_exceeded", "message": message, "line": None}
            batch.object.update(status="failed", errors={"object": "list", "data": [error]})
            return
        lines = self._file(batch.object["input_file_id"]).data.decode().splitlines()
        requests = [json.loads(line) for line in lines]
        expired, partial = (
            batch.strike.content.get(kind) for kind in (FaultKind.EXPIRE, FaultKind.PARTIAL)
        )
        short = expired or partial
        reached = math.floor(len(requests) * short.share) if short else len(requests)
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for line in requests[:reached]:
            row = self._row(line, batch.strike)
            (done if row["response"]["status_code"] == 200 else failed).append(row)
        failed += [_unreached(line, expired=expired is not None) for line in requests[reached:]]
        # Results come in any order.
        self._close_batch(batch.object, done[::-1], failed, expired=expired is not None)

    def _row(self, line: dict[str, Any], strike: Strike) -> dict[str, Any]:
        """One line of the output or error file."""
        try:
            body = self._answers.complete(line["body"], strike, request=line["custom_id"])
            status = 200
        except Refused as refused:
            refusal = self.refusal(refused.status, refused.message, refused.details)
            status, body = refused.status, json.loads(refusal.body)
        return {
            "id": self._id("batch_req_"),
            "custom_id": line["custom_id"],
            "response": {"status_code": status, "request_id": self._id("req_"), "body": body},
            "error": None,
        }

    def _close_batch(
        self,
        batch: dict[str, Any],
        done: list[dict[str, Any]],
        failed: list[dict[str, Any]],
        *,
        expired: bool,
    ) -> None:
        for key, rows in (("output_file_id", done), ("error_file_id", failed)):
            if rows:
                data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
                batch[key] = self._keep(f"{batch['id']}_{key}.jsonl", "batch_output", data).id
        batch["status"] = "expired" if expired else "completed"
        batch["request_counts"] |= {"completed": len(done), "failed": len(failed)}


def _with_key(server: OpenAIServer, handler: Any) -> Any:
    def checked(request: Request) -> Response:
        server.check_key(request)
        response: Response = handler(request)
        return response

    return checked


def _unreached(line: Mapping[str, Any], *, expired: bool) -> dict[str, Any]:
    """A request that the batch did not get to, or that failed on the server."""
    message = "the batch expired" if expired else "the server had an error"
    error = {"code": "batch_expired" if expired else "server_error", "message": message}
    response = {"status_code": 500, "request_id": "req_0", "body": {"error": error}}
    return {
        "id": "batch_req_0",
        "custom_id": line["custom_id"],
        "response": None if expired else response,
        "error": error if expired else None,
    }


# --- lists and files -----------------------------------------------------------------------


def _page(objects: Sequence[dict[str, Any]], request: Request) -> Response:
    limit, after = int(request.query.get("limit", "20")), request.query.get("after")
    ids = [one["id"] for one in objects]
    start = ids.index(after) + 1 if after in ids else 0
    page = list(objects[start : start + limit])
    return Response.json({"object": "list", "data": page, "has_more": start + limit < len(objects)})


def _examples(file: _File) -> list[tuple[str, str]]:
    """The (instruction, text) pairs of a training file; refused where it is none."""
    pairs = []
    for number, line in enumerate(file.data.decode().splitlines(), start=1):
        try:
            said = {one["role"]: one["content"] for one in json.loads(line)["messages"]}
            pairs.append((said["user"], said["assistant"]))
        except (ValueError, KeyError, TypeError):
            raise Refused(400, f"Line {number} of the training file is not a chat.") from None
    if not pairs:
        raise Refused(400, "The training file holds no example.")
    return pairs


def main() -> None:
    """Serve as a process of its own."""
    run_process(
        "An OpenAI server on loopback, for tests.", lambda _, **common: OpenAIServer(**common)
    )


if __name__ == "__main__":
    main()
