"""An OpenAI server on loopback: files, fine-tuning, batches and chat completions, with state.

Faults of content strike "chat" for online calls, and "jobs.create" or "batches.create"
for what becomes of a job or batch. Books have a row for each "upload", "finetune",
"batch" and "completion" (one a choice, online or of a batch, when it is made).
"""

import json
from functools import partial

from faults import FaultKind
from http_server import Job, RequestRejected, Response
from openai_answers import CREATED, ChatCompletions, OpenAIModelServer
from openai_responses import event_line, events_of, respond
from reciter import bill_of

JOB_STATES = ("validating_files", "queued", "running")
BATCH_ENDPOINTS = {"/v1/chat/completions", "/v1/completions", "/v1/responses"}
BATCH_STATES = ("validating", "in_progress", "finalizing")


class OpenAIServer(OpenAIModelServer):
    """most: the largest `n`; filters: whether lists heed metadata, which some servers ignore."""

    def __init__(
        self, *, reciter, books, models=("base",), most=128, filters=True, **common
    ):
        super().__init__(reciter=reciter, books=books, **common)
        self._filters = filters
        self._batches, self._stored = {}, {}
        shared = {
            "reciter": reciter,
            "books": books,
            "models": models,
            "new_id": self._id,
        }
        self._answers = ChatCompletions(most=most, **shared)
        look_at_job = partial(
            self.look_at, self._jobs, "status", JOB_STATES, self._end_job
        )
        look_at_batch = partial(
            self.look_at, self._batches, "status", BATCH_STATES, self._end_batch
        )
        self.add_routes(
            "",
            ("POST", "/v1/chat/completions", "chat", self._chat),
            ("GET", "/v1/chat/completions", "chat.list", self._list_stored),
            ("POST", "/v1/completions", "completions", self._chat),
            ("POST", "/v1/responses", "responses", self._respond),
            ("GET", "/v1/models", "models", self._list_models),
            ("POST", "/v1/files", "files.create", self._create_file),
            ("GET", "/v1/files", "files.list", self._list_files),
            ("GET", "/v1/files/{id}/content", "files.content", self._file_content),
            ("POST", "/v1/fine_tuning/jobs", "jobs.create", self._create_job),
            ("GET", "/v1/fine_tuning/jobs", "jobs.list", self._list_jobs),
            ("GET", "/v1/fine_tuning/jobs/{id}", "jobs.get", look_at_job),
            ("POST", "/v1/batches", "batches.create", self._create_batch),
            ("GET", "/v1/batches", "batches.list", self._list_batches),
            ("GET", "/v1/batches/{id}", "batches.get", look_at_batch),
        )

    @property
    def base_url(self):
        return f"{self.url}/v1"

    def _narrowed(self, objects, request):
        """The objects that carry the metadata which the query asks for."""
        wanted = {
            name.removeprefix("metadata[").removesuffix("]"): value
            for name, value in request.query.items()
            if name.startswith("metadata[") and self._filters
        }
        return [
            each
            for each in objects
            if wanted.items() <= (each["metadata"] or {}).items()
        ]

    def _chat(self, request):
        body = request.json()
        metadata = body.get("metadata") or {}
        named = metadata.get("memleak_request")
        completion = self._answers.complete(body, request.strike, request=named)
        if body.get("store"):
            self._stored[completion["id"]] = {**completion, "metadata": metadata}
        return Response.json(completion)

    def _respond(self, request):
        body = request.json()
        response = respond(self._answers, body, request.strike)
        if not body.get("stream"):
            return Response.json(response)
        events = "".join(map(event_line, events_of(response)))
        return Response(body=events.encode(), content_type="text/event-stream")

    def _list_models(self, request):
        ends = {"shutdown_seconds": 10**30, "shutdown_date": "2027-01-14"}
        return Response.json(
            {"data": [{"id": name, **ends} for name in self._answers.models]}
        )

    def _list_stored(self, request):
        kept = self._narrowed(self._stored.values(), request)
        return _page(
            kept[:: -1 if request.query.get("order") == "desc" else 1], request
        )

    def _create_file(self, request):
        parts = request.parts()
        name, data = parts["file"]
        file = self._keep(name or "file", parts["purpose"][1].decode(), data)
        named = {key: file[key] for key in ("id", "filename", "purpose")}
        self.books.record("upload", **named)
        return Response.json(_shown(file))

    def _keep(self, filename, purpose, data):
        named = {"id": self._id("file-"), "filename": filename, "purpose": purpose}
        file = {"object": "file", **named, "created_at": CREATED, "status": "processed"}
        return self._files.setdefault(
            file["id"], file | {"bytes": len(data), "data": data}
        )

    def _list_files(self, request):
        purpose = request.query.get("purpose")
        files = [
            file for file in self._files.values() if purpose in {None, file["purpose"]}
        ]
        return _page([_shown(file) for file in reversed(files)], request)

    def _file_content(self, request):
        data = self._file(request.params["id"])["data"]
        return Response(body=data, content_type="application/octet-stream")

    def _create_job(self, request):
        body = request.json()
        model, file = body.get("model"), body.get("training_file")
        if model not in self._answers.models:
            raise RequestRejected(
                400, f"Model {model} is not available for fine-tuning."
            )
        examples = self._examples(file)
        settings = (
            body.get("method", {}).get("supervised", {}).get("hyperparameters", {})
        )
        named = {name: body.get(name) for name in ("metadata", "suffix", "seed")}
        job = (
            {
                "id": self._id("ftjob-"),
                "object": "fine_tuning.job",
                "created_at": CREATED,
            }
            | {"model": model, "fine_tuned_model": None, "status": JOB_STATES[0]}
            | {
                "training_file": file,
                "organization_id": "org-emulated",
                "result_files": [],
            }
            | {"hyperparameters": settings, "method": body.get("method"), **named}
            | {"trained_tokens": None, "error": None, "seed": body.get("seed", 0)}
        )
        self._jobs[job["id"]] = Job(job, request.strike, self._polls)
        named |= {
            "hyperparameters": settings,
            "tokens": bill_of(examples, _epochs(job)),
        }
        self.books.record("finetune", id=job["id"], model=model, file=file, **named)
        return Response.json(job)

    def _list_jobs(self, request):
        jobs = [job.object for job in reversed(self._jobs.values())]
        return _page(self._narrowed(jobs, request), request)

    def _end_job(self, job):
        if FaultKind.FAIL in job.strike.content:
            message = "the training file did not pass moderation"
            error = {
                "code": "invalid_training_file",
                "message": message,
                "param": "training_file",
            }
            job.object.update(status="failed", error=error)
            return
        base, suffix = job.object["model"], job.object["suffix"] or ""
        name = f"ft:{base}:emulated:{suffix}:{job.object['id'].removeprefix('ftjob-')}"
        examples, epochs = (
            self._examples(job.object["training_file"]),
            _epochs(job.object),
        )
        self._reciter.tune(name, examples, epochs=epochs)
        self._answers.models.add(name)
        tokens = bill_of(examples, epochs)
        job.object.update(
            status="succeeded", fine_tuned_model=name, trained_tokens=tokens
        )

    def _create_batch(self, request):
        body = request.json()
        file = self._file(body.get("input_file_id"))
        if body.get("endpoint") not in BATCH_ENDPOINTS or file["purpose"] != "batch":
            raise RequestRejected(400, "Invalid 'endpoint' or 'input_file_id'.")
        total, metadata = file["data"].count(b"\n"), body.get("metadata")
        batch = (
            {"id": self._id("batch_"), "object": "batch", "endpoint": body["endpoint"]}
            | {
                "completion_window": body.get("completion_window"),
                "created_at": CREATED,
            }
            | {
                "input_file_id": file["id"],
                "output_file_id": None,
                "error_file_id": None,
            }
            | {"status": BATCH_STATES[0], "errors": None, "metadata": metadata}
            | {"request_counts": {"total": total, "completed": 0, "failed": 0}}
        )
        self._batches[batch["id"]] = Job(batch, request.strike, self._polls)
        self.books.record("batch", id=batch["id"], metadata=metadata, requests=total)
        return Response.json(batch)

    def _list_batches(self, request):
        return _page(
            [batch.object for batch in reversed(self._batches.values())], request
        )

    def _end_batch(self, job):
        batch, strike = job.object, job.strike
        if FaultKind.FAIL in strike.content:
            message = (
                "the input file holds more requests than the queue of this model allows"
            )
            error = {"code": "token_limit_exceeded", "message": message, "line": None}
            batch.update(status="failed", errors={"object": "list", "data": [error]})
            return
        lines = self._file(batch["input_file_id"])["data"].decode().splitlines()
        requests, expired = (
            list(map(json.loads, lines)),
            FaultKind.EXPIRE in strike.content,
        )
        reached = strike.reached(requests)
        rows = [self._row(line, strike) for line in requests[:reached]]
        done = [row for row in rows if row["response"]["status_code"] == 200]
        failed = [row for row in rows if row not in done]
        failed += [_unreached(line, expired=expired) for line in requests[reached:]]
        # Results come in any order.
        for key, rows in (("output_file_id", done[::-1]), ("error_file_id", failed)):
            if rows:
                data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
                batch[key] = self._keep(
                    f"{batch['id']}_{key}.jsonl", "batch_output", data
                )["id"]
        batch["status"] = "expired" if expired else "completed"
        batch["request_counts"] |= {"completed": len(done), "failed": len(failed)}

    def _row(self, line, strike):
        try:
            asked = line["body"]
            if line["url"] == "/v1/responses":
                body = respond(self._answers, asked, strike, request=line["custom_id"])
            else:
                body = self._answers.complete(asked, strike, request=line["custom_id"])
            status = 200
        except RequestRejected as refused:
            refusal = self.refusal(refused.status, refused.message, refused.details)
            status, body = refused.status, json.loads(refusal.body)
        return {
            "id": self._id("batch_req_"),
            "custom_id": line["custom_id"],
            "response": {
                "status_code": status,
                "request_id": self._id("req_"),
                "body": body,
            },
            "error": None,
        }


def _shown(file):
    return {key: value for key, value in file.items() if key != "data"}


def _epochs(job):
    epochs = job["hyperparameters"].get("n_epochs", "auto")
    return 3 if epochs == "auto" else int(epochs)


def _unreached(line, *, expired):
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


def _page(objects, request):
    limit, after = int(request.query.get("limit", "20")), request.query.get("after")
    ids = [each["id"] for each in objects]
    start = ids.index(after) + 1 if after in ids else 0
    page = list(objects[start : start + limit])
    return Response.json(
        {"object": "list", "data": page, "has_more": start + limit < len(objects)}
    )


EMULATOR = OpenAIServer
