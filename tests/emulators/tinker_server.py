"""A Tinker server on loopback: sessions, LoRA training, checkpoints and sampling, with state.

It speaks what the SDK speaks: a POST starts work and returns a promise,
`retrieve_future` brings the result (protobuf for training and samples). What names a
piece of work (model and `seq_id`, sampling session and `seq_id`) makes it unique: asked
for again, the first promise is given again and nothing is done or billed.

A model learns the targets with a weight as the answer to those without, once
`optim_step` is called, and answers in tokens. Books have a row for each "model",
"train" (a forward_backward), "optim", "state" and "weights" (checkpoints saved) and
"completion" (a sequence).
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import numpy as np
from faults import FaultKind
from http_server import ModelServer, RequestRejected, Response
from reciter import Completions
from tinker.proto import tinker_public_pb2 as pb
from tinker_words import Lesson, Words, read_example

PROTOBUF = "application/x-protobuf"
START = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Model:
    """A model in training: what it has learnt, how often, and what waits for the next step."""

    id: str
    base: str
    rank: int
    learnt: Counter[Lesson] = field(default_factory=Counter)
    waiting: list[Lesson] = field(default_factory=list)
    next_seq: int = 1


class TinkerServer(ModelServer):
    """tokenizer: a folder of one; polls: how often a promise is still pending when asked for."""

    fixtures = ("key", "tokenizer")

    def __init__(
        self, *, reciter, books, tokenizer, models=("base",), polls=0, **common
    ):
        super().__init__(books=books, polls=polls, **common)
        self._reciter = reciter
        self._words = Words(tokenizer)
        self._answers = Completions(
            reciter=reciter, books=books, models=models, most=128, new_id=str
        )
        self._sessions = {}
        self._models = {}
        self._saved = {}
        self._samplers = {}
        self._promises = {}
        self.add_routes(
            "/api/v1/",
            ("POST", "client/config", "config", lambda _: Response.json({})),
            (
                "POST",
                "client/dynamic_config",
                "dynamic_config",
                lambda _: Response.json({}),
            ),
            ("POST", "create_session", "sessions.create", self._create_session),
            ("POST", "session_heartbeat", "sessions.heartbeat", self._heartbeat),
            ("POST", "create_model", "models.create", self._create_model),
            ("POST", "get_info", "models.info", self._info),
            ("POST", "forward_backward", "train", self._train),
            ("POST", "optim_step", "optim", self._optim),
            ("POST", "save_weights", "states.save", partial(self._save, "training")),
            ("POST", "load_weights", "states.load", self._load_state),
            (
                "POST",
                "save_weights_for_sampler",
                "weights.save",
                partial(self._save, "sampler"),
            ),
            (
                "POST",
                "create_sampling_session",
                "samplers.create",
                self._create_sampler,
            ),
            ("GET", "samplers/{id*}", "samplers.get", self._get_sampler),
            ("POST", "asample", "sample", self._sample),
            ("POST", "retrieve_future", "futures", self._retrieve),
            ("GET", "checkpoints", "checkpoints.list", self._list_checkpoints),
            ("GET", "get_server_capabilities", "capabilities", self._capabilities),
        )

    def refusal(self, status, message, details):
        return Response.json({"detail": message, **details}, status=status)

    def end_sessions(self):
        """End every session, as happens some time after its client has gone."""
        self._sessions = dict.fromkeys(self._sessions, False)

    def check(self, request):
        sent = request.headers.get("X-API-Key") or ""
        if self.key is not None and sent != self.key:
            raise RequestRejected(401, f"Invalid API key: {sent}")

    def _create_session(self, _request):
        session = f"session-{len(self._sessions) + 1:04d}"
        self._sessions[session] = True
        return Response.json({"session_id": session, "type": "create_session"})

    def _heartbeat(self, request):
        self._living(request.json()["session_id"])
        return Response.json({"type": "session_heartbeat"})

    def _capabilities(self, _request):
        return Response.json(
            {
                "supported_models": [
                    {"model_name": name} for name in self._answers.models
                ]
            }
        )

    def _living(self, session):
        if session not in self._sessions:
            raise RequestRejected(404, f"There is no session {session}")
        if not self._sessions[session]:
            raise RequestRejected(410, f"The session {session} has finished")
        return session

    def _promise(self, name, request, work, head=None):
        """Do the work unless it was done before; the promise of it either way."""
        if name not in self._promises:
            failure = request.fault(FaultKind.FAIL)
            outcome = _failed(failure) if failure else work()
            self._promises[name] = SimpleNamespace(outcome=outcome, polls=self._polls)
        return Response.json({"request_id": name, **(head or {})})

    def _retrieve(self, request):
        name = request.json()["request_id"]
        promise = self._promises.get(name)
        if promise is None:
            raise RequestRejected(410, f"The promise {name} has expired")
        if promise.polls > 0:
            promise.polls -= 1
            return Response.json(
                {"type": "try_again", "request_id": name, "queue_state": "active"}
            )
        return promise.outcome

    def _create_model(self, request):
        body = request.json()
        base, lora = self._known_base(body["base_model"]), body["lora_config"]
        row = {"source": None, **lora}
        return self._begin(
            request, "create_model", {}, (base, lora["rank"], Counter()), row
        )

    def _load_state(self, request):
        body = request.json()
        path, saved = body["path"], self._checkpoint(body["path"], "training")
        row = {"source": path, "optimizer": body["optimizer"]}
        model = (saved.base, saved.rank, Counter(saved.learnt))
        return self._begin(request, "load_weights", {"path": path}, model, row)

    def _begin(self, request, kind, answer, model, row):
        """A new model in training: base, rank, and what it has learnt."""
        body = request.json()
        name = f"{self._living(body['session_id'])}:train:{body['model_seq_id']}"

        def work():
            self._models[name] = _Model(name, *model)
            self.books.record("model", id=name, base=model[0], **row)
            return Response.json({**answer, "model_id": name, "type": kind})

        return self._promise(f"{name}:0", request, work)

    def _info(self, request):
        model = self._model(request.json()["model_id"])
        data = {"arch": "ngram", "model_name": model.base, "tokenizer_id": None}
        info = {
            "type": "get_info",
            "model_data": data,
            "model_id": model.id,
            "is_lora": True,
        }
        return Response.json(
            {**info, "lora_rank": model.rank, "model_name": model.base}
        )

    def _train(self, request):
        message = pb.ForwardBackwardRequest()
        message.ParseFromString(request.body)
        assert message.loss_fn == "cross_entropy"
        examples = [read_example(datum) for datum in message.data]

        def work(model):
            model.waiting.extend(self._words.lesson(*example) for example in examples)
            self.books.record(
                "train",
                model=model.id,
                examples=len(examples),
                tokens=sum(len(inputs) for inputs, _, _ in examples),
                weighted=sum(
                    int(np.count_nonzero(weights)) for _, _, weights in examples
                ),
                longest=max(len(inputs) for inputs, _, _ in examples),
            )
            output = pb.ForwardBackwardOutput(loss_fn_output_type="ArrayRecord")
            output.loss_fn_outputs.add(num_datums=len(examples))
            return Response(body=output.SerializeToString(), content_type=PROTOBUF)

        return self._in_turn(message.model_id, message.seq_id, request, work)

    def _optim(self, request):
        body = request.json()
        rate = body["adam_params"]["learning_rate"]

        def work(model):
            if rate > 0:
                model.learnt.update(model.waiting)
            model.waiting.clear()
            self.books.record("optim", model=model.id, learning_rate=rate)
            return Response.json({"metrics": {}, "type": "optim_step"})

        return self._in_turn(body["model_id"], body["seq_id"], request, work)

    def _save(self, kind, request):
        body = request.json()
        folder, row = {
            "training": ("weights", "state"),
            "sampler": ("sampler_weights", "weights"),
        }[kind]

        def work(model):
            path = f"tinker://{model.id}/{folder}/{body['path']}"
            now = START + timedelta(minutes=len(self._saved))
            life, metadata = body.get("ttl_seconds"), body.get("user_metadata")
            learnt = Counter(model.learnt)
            shown = {
                "checkpoint_id": "/".join(path.split("/")[-2:]),
                "checkpoint_type": kind,
                "time": now.isoformat(),
                "tinker_path": path,
                "user_metadata": metadata,
                "expires_at": (now + timedelta(seconds=life)).isoformat()
                if life
                else None,
            }
            kept = {
                "kind": kind,
                "base": model.base,
                "rank": model.rank,
                "learnt": learnt,
            }
            self._saved[path] = SimpleNamespace(shown=shown, **kept)
            if kind == "sampler":
                self._reciter.tune(
                    path, sorted(learnt), epochs=max(learnt.values(), default=1)
                )
            self.books.record(
                row, path=path, metadata=metadata, lessons=len(learnt), life=life
            )
            return Response.json({"path": path})

        return self._in_turn(body["model_id"], body["seq_id"], request, work)

    def _in_turn(self, model_id, seq, request, work):
        """Work number `seq` of a model; what was done before is not done again."""
        model = self._model(model_id)
        self._living(model_id.partition(":")[0])
        name = f"{model_id}:{seq}"
        if name not in self._promises:
            if seq != model.next_seq:
                raise RequestRejected(
                    400, f"expected seq_id {model.next_seq}, found {seq}"
                )
            model.next_seq += 1
        return self._promise(name, request, lambda: work(model), {"model_id": model_id})

    def _model(self, name):
        if name not in self._models:
            raise RequestRejected(404, f"There is no model {name}")
        return self._models[name]

    def _known_base(self, name):
        if name not in self._answers.models:
            raise RequestRejected(400, f"base_model {name} is not supported")
        return name

    def _checkpoint(self, path, kind):
        saved = self._saved.get(path)
        if saved is None or saved.kind != kind:
            raise RequestRejected(404, f"There is no {kind} checkpoint {path}")
        return saved

    def _list_checkpoints(self, request):
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        newest = [saved.shown for saved in reversed(self._saved.values())]
        page = newest[offset : offset + limit]
        cursor = {"offset": offset, "limit": limit, "total_count": len(newest)}
        return Response.json({"checkpoints": page, "cursor": cursor})

    def _create_sampler(self, request):
        body = request.json()
        session = self._living(body["session_id"])
        path = body.get("model_path")
        base = self._checkpoint(path, "sampler").base if path else body["base_model"]
        name = f"{session}:sample:{body['sampling_session_seq_id']}:{base}"
        self._samplers[name] = (self._known_base(base), path)
        return Response.json(
            {"sampling_session_id": name, "type": "create_sampling_session"}
        )

    def _get_sampler(self, request):
        name = request.params["id"]
        if name not in self._samplers:
            raise RequestRejected(404, f"There is no sampler {name}")
        base, path = self._samplers[name]
        return Response.json(
            {"sampler_id": name, "base_model": base, "model_path": path}
        )

    def _sample(self, request):
        body = request.json()
        sampler = body["sampling_session_id"]
        if sampler not in self._samplers:
            raise RequestRejected(404, f"There is no sampler {sampler}")
        self._living(sampler.partition(":")[0])
        name = f"{sampler}:{body['seq_id']}"
        n = 1 if request.fault(FaultKind.IGNORE_N) else body.get("num_samples", 1)
        ids = [f"{name}:{choice}" for choice in range(n)]

        def work():
            base, path = self._samplers[sampler]
            return self._draw(name, path or base, n, request)

        return self._promise(name, request, work, {"sample_sequence_ids": ids})

    def _draw(self, call, model, n, request):
        body = request.json()
        prompt_tokens = [
            token for chunk in body["prompt"]["chunks"] for token in chunk["tokens"]
        ]
        settings = {"temperature": 1.0, **body["sampling_params"]}
        prompt, most = self._words.text(prompt_tokens), settings["max_tokens"]
        answers = self._answers.draw(
            model,
            prompt,
            request.strike,
            n=n,
            temperature=settings["temperature"],
            max_tokens=2
            * most,  # no token of the models is shorter than half of the tokenizer's
            seed=settings.get("seed"),
            text=not prompt.startswith("User: "),
        )
        sequences = [
            self._words.sequence(each, most, settings.get("stop")) for each in answers
        ]
        empty = request.strike.struck(FaultKind.EMPTY, sequences)
        sequences[: len(empty)] = [([], True)] * len(empty)
        rows = [
            (self._words.text(tokens), "stop" if ended else "length", len(tokens))
            for tokens, ended in sequences
        ]
        named = {"model": model, "prompt": prompt, "max_tokens": most, "call": call}
        self._answers.bill(rows, len(prompt_tokens), named)
        message = pb.SampleResponse()
        for tokens, ended in sequences:
            message.sequences.add(
                stop_reason=pb.STOP_REASON_STOP if ended else pb.STOP_REASON_LENGTH,
                tokens=np.array(tokens, dtype=np.int32).tobytes(),
            )
        return Response(body=message.SerializeToString(), content_type=PROTOBUF)


def _failed(fault):
    category = "user" if fault.status < 500 else "server"
    return Response.json({"error": fault.message, "category": category})


EMULATOR = TinkerServer
