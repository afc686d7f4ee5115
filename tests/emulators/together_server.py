"""A Together server on loopback: files, fine-tuning, dedicated endpoints and chat, with state.

It has the paths that the SDK 3.1 asks for. Fine-tuned models are served only while they
are deployed. Faults of content strike "chat", and "tunes.create" and "deploy" for what
becomes of a job or a deployment. Books have a row for each "upload", "finetune",
"deployment", "undeployment" and "completion".
"""

from functools import partial

from faults import FaultKind
from http_server import Job, RequestRejected, Response
from machines import stamp
from openai_answers import CREATED, ChatCompletions, OpenAIModelServer
from reciter import bill_of
from together_machines import SLUG, TogetherMachines

PROJECT = "proj-1"
STATES = ("pending", "queued", "running")
PUBLIC = "projects/together/models/ml_"
LIMITS = {"max_num_epochs": 20, "min_learning_rate": 1e-8, "max_learning_rate": 0.01}
LIMITS |= {"merge_output_lora": True, "supports_tools": True}
LORA = {
    "max_rank": 64,
    "min_batch_size": 8,
    "max_batch_size": 64,
    "target_modules": ["q_proj"],
}


class TogetherServer(OpenAIModelServer):
    """configs: how many a base model has; merges: whether a fine-tune ends in no adapter alone."""

    def __init__(
        self,
        *,
        reciter,
        books,
        models=("base",),
        configs=1,
        merges=True,
        timing=None,
        **common,
    ):
        super().__init__(reciter=reciter, books=books, **common)
        self._configs = configs
        self._merges = merges
        self._weights = {f"{PUBLIC}{name}": name for name in models}
        shared = {
            "reciter": reciter,
            "books": books,
            "models": models,
            "new_id": self._id,
        }
        self._answers = ChatCompletions(most=128, **shared)
        self.machines = TogetherMachines(books, self._id, timing, self._weights.get)
        look_at_job = partial(self.look_at, self._jobs, "status", STATES, self._end_job)
        self.route(
            "PUT", "/storage/{id}", "files.put", self._put_file
        )  # which takes no key
        self.add_routes(
            "",
            ("POST", "/v1/chat/completions", "chat", self._chat),
            ("POST", "/v1/completions", "chat", self._chat),
            ("POST", "/v1/files", "files.create", self._create_file),
            (
                "POST",
                "/v1/files/{id}/preprocess",
                "files.preprocess",
                self._register_file,
            ),
            ("GET", "/v1/files/{id}", "files.get", self._get_file),
            ("GET", "/v1/fine-tunes/models/limits", "tunes.limits", self._limits),
            ("POST", "/v1/fine-tunes/estimate-price", "tunes.estimate", self._estimate),
            ("POST", "/v1/fine-tunes", "tunes.create", self._create_job),
            ("GET", "/v1/fine-tunes", "tunes.list", self._list_jobs),
            ("GET", "/v1/fine-tunes/{id}", "tunes.get", look_at_job),
            ("GET", "/v3/whoami", "whoami", self._whoami),
            ("GET", "/v2/supported-models", "models.list", self._list_models),
            (
                "GET",
                "/v2/projects/{project}/models/{id}",
                "models.get",
                self._get_model,
            ),
            (
                "GET",
                "/v2/projects/{project}/configs",
                "configs.list",
                self._list_configs,
            ),
            *self.machines.routes(),
        )

    def _chat(self, request):
        body = request.json()
        name = body.get("model")
        weights = self.machines.weights_at(name)
        if weights is None and f"{PUBLIC}{name}" not in self._weights:
            raise RequestRejected(
                404, f"Unable to access model {name}.", code="model_not_available"
            )
        passed = {**body, "model": weights or name}
        answer = self._answers.complete(passed, request.strike, request=None)
        renamed = {} if weights is None else {"model": name}
        return Response.json({**answer, **renamed})

    def _create_file(self, request):
        fields = {name: data.decode() for name, (_, data) in request.parts().items()}
        for file in self._files.values():
            if file["checksum"] == fields["checksum"] and file["known"]:
                return Response.json({"file_id": file["id"]}, status=409)
        file = {"id": self._id("file-"), "data": b"", "known": False, **fields}
        self._files[file["id"]] = file
        headers = {
            "Location": f"{self.url}/storage/{file['id']}",
            "X-Together-File-Id": file["id"],
        }
        return Response(302, b"<a>Found</a>", headers=headers)

    def _put_file(self, request):
        assert request.headers.get("Authorization") is None
        self._file(request.params["id"])["data"] = request.body
        return Response(body=b"stored")

    def _register_file(self, request):
        file = self._file(request.params["id"])
        file["known"] = True
        self.books.record("upload", id=file["id"], filename=file["file_name"])
        return self._get_file(request)

    def _get_file(self, request):
        file = self._file(request.params["id"])
        size = {"bytes": len(file["data"]), "created_at": CREATED}
        named = {"id": file["id"], "object": "file", "filename": file["file_name"]}
        return Response.json(
            {**named, **size, "purpose": file["purpose"], "FileType": "jsonl"}
        )

    def _limits(self, request):
        self._base(request.query["model_name"])
        named = {"model_name": request.query["model_name"]}
        return Response.json(
            {**LIMITS, **named, "lora_training": LORA, "full_training": None}
        )

    def _base(self, name):
        if f"{PUBLIC}{name}" not in self._weights:
            raise RequestRejected(
                400, f"Model {name} is not available for fine-tuning."
            )

    def _estimate(self, request):
        self._file(request.json()["training_file"])
        reason = {"unavailable_reason": "train_file_not_validated"}
        return Response.json({"estimation_available": False, **reason})

    def _create_job(self, request):
        body = request.json()
        self._base(body["model"])
        examples = self._examples(body["training_file"])
        if len(body["suffix"]) > 40:
            raise RequestRejected(400, "The suffix is too long.")
        kept = (
            "model",
            "training_file",
            "suffix",
            "n_epochs",
            "batch_size",
            "learning_rate",
        )
        kept = {name: body[name] for name in (*kept, "random_seed", "training_type")}
        at = {"created_at": stamp(CREATED), "updated_at": stamp(CREATED)}
        job = {
            "id": self._id("ft-"),
            "status": STATES[0],
            "user_id": "u",
            "events": [],
            **at,
        }
        self._jobs[job["id"]] = Job({**job, **kept}, request.strike, self._polls)
        fields = {"tokens": bill_of(examples, body["n_epochs"]), **kept}
        self.books.record(
            "finetune", id=job["id"], file=body["training_file"], **fields
        )
        return Response.json({**job, **kept})

    def _list_jobs(self, request):
        hidden = {"model_object_id", "model_object_revision_id", "events"}
        jobs = (job.object for job in reversed(self._jobs.values()))
        shown = [{key: job[key] for key in job.keys() - hidden} for job in jobs]
        return Response.json({"data": shown})

    def _end_job(self, job):
        if FaultKind.FAIL in job.strike.content:
            message = "the training file did not pass moderation"
            event = {
                "object": "fine-tune-event",
                "type": "JOB_ERROR",
                "message": message,
            }
            job.object.update(status="error", events=[event])
            return
        tuned, revision = self._id("ml_"), self._id("rv_")
        examples, epochs = (
            self._examples(job.object["training_file"]),
            job.object["n_epochs"],
        )
        self._reciter.tune(tuned, examples, epochs=epochs)
        self._answers.models.add(tuned)
        path = f"projects/{PROJECT}/models/{tuned}"
        self._weights |= {path: tuned, f"{path}/revisions/{revision}": tuned}
        kind = "model" if self._merges else "adapter"
        named = {f"{kind}_object_id": tuned, f"{kind}_object_revision_id": revision}
        job.object.update(
            status="completed", token_count=bill_of(examples, epochs), **named
        )

    def _whoami(self, request):
        project = {"id": PROJECT, "slug": SLUG, "name": "Books"}
        return Response.json({"type": "project_api_key", "project": project})

    def _list_models(self, request):
        search = request.query["search"]
        names = [name for name in self._weights.values() if search in name]
        models = [
            {"id": name, "name": name, "base_model": f"{PUBLIC}{name}"}
            for name in names
        ]
        models = [{**each, "baseModel": each.pop("base_model")} for each in models]
        return Response.json({"data": models})

    def _get_model(self, request):
        path = f"projects/{request.params['project']}/models/{request.params['id']}"
        if path not in self._weights:
            raise RequestRejected(404, f"Model {path} is not found.")
        named = {"id": request.params["id"], "projectId": request.params["project"]}
        base = None if path.startswith(PUBLIC) else f"{PUBLIC}base"
        return Response.json(
            {**named, "name": f"{SLUG}/{named['id']}", "baseModel": base}
        )

    def _list_configs(self, request):
        assert request.query["referenceModel"].startswith(PUBLIC)
        selectors = [{"key": "accelerator_type", "value": "nvidia-h100-80gb"}]
        configs = [
            {"id": f"cr_{number}", "projectId": "together", "selectors": selectors}
            for number in range(1, self._configs + 1)
        ]
        return Response.json({"data": configs, "next_cursor": None})


EMULATOR = TogetherServer
