"""Servers that reason, moderate, fail, or cap tokens, each as some server in the wild does.

    with TroubledServer(plays=[...words]) as server:
        f"{server.url}/deepseek-moderates/v1"      # any model; its prose is honest
        server.calls["deepseek-moderates"]         # answered and rejected calls

A row of `TROUBLES` says what the server does, what a suite may say of it, and what a
run of an honest model has to end with.
"""

import gzip
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from http_server import HttpServer, Response

WORDS = 150
REASONING = 1_500  # tokens before an answer


@dataclass(frozen=True)
class Trouble:
    """What a server does with a request, and what comes of it.

    reject: (status, body) of a request that it rejects; `call` is its number, from 0
    change: what it makes of an answer; send: the response that it makes of the body
    reasons: tokens that it uses before it answers
    options, model, suite: what the suite says of it
    verdict, words: of an honest model's run
    most: calls, at most; None where every generation is a call of its own
    """

    reject: Callable = lambda body, call: None
    change: Callable = lambda answer, call: answer
    send: Callable = lambda body: Response(body=body)
    reasons: int = 0
    options: dict = field(default_factory=dict)
    model: str = ""
    suite: str = ""
    verdict: str = "INCONCLUSIVE"
    words: str = ""
    most: int | None = None


def limit_of(body):
    return body.get("max_completion_tokens") or body.get("max_tokens") or 10**6


def error(message, code=None, status=400, kind="error", **more):
    """A server that rejects each request."""
    body = {"error": {"message": message, "code": code, "type": kind, **more}}
    return lambda _, __: (status, body)


def _too_large(most, message):
    def reject(body, _):
        if limit_of(body) <= most:
            return None
        text = message.format(asked=limit_of(body), most=most)
        return 400, {"error": {"message": text, "code": None}}

    return reject


def _could_not_finish(body, _):
    if limit_of(body) >= REASONING:
        return None
    message = (
        "Could not finish the message because max_tokens or model output limit was "
        "reached. Please try again with higher max_tokens."
    )
    return 400, {"error": {"message": message, "code": None}}


def _ends_in_error(answer, call):
    if call in {3, 8}:
        ended = {"message": {"content": ""}, "finish_reason": "error"}
        ended["error"] = {"code": 502, "message": "Upstream error from provider"}
        answer["choices"] = [ended]
    return answer


def _shows_reasoning(answer, _):
    for choice in answer["choices"]:
        choice["message"]["reasoning_content"] = "Let me think about it. " * 20
    return answer


def _as_another(answer, _):
    return {**answer, "model": "provider/somebodys-model-fp8"}


def _packed(name, pack):
    return lambda body: Response(body=pack(body), headers={"Content-Encoding": name})


def _deployment(body, _):
    return None if body["_query"].get("api-version") else (404, {"error": {
        "code": "404", "message": "Resource not found"}})  # fmt: skip


FILTERED = "test an endpoint without output filters"
OPEN_ROUTER_FLAGGED = error(
    "m requires moderation on Somebody. Your input was flagged for 'violence'.",
    status=403,
    metadata={"reasons": ["violence"], "provider_name": "Somebody"},
)
CONTEXT = (
    "This model's maximum context length is {most} tokens. However, you requested "
    "{asked} tokens (50 in the messages, {asked} in the completion)."
)
TOO_LARGE = (
    "max_tokens is too large: {asked}. This model supports at most {most} completion "
    "tokens, whereas you provided {asked}."
)
ENOUGH = "max_tokens = 2500"
ADD_CREDIT = "add credit to the account"
RAISE = "raise max_tokens: a reasoning model uses tokens before it answers"

TROUBLES = {
    # They moderate each prompt.
    "azure-moderates": Trouble(
        error("The response was filtered", "content_filter"), words=FILTERED
    ),
    "deepseek-moderates": Trouble(
        error("Content Exists Risk", "invalid_request_error"), words=FILTERED
    ),
    "qwen-moderates": Trouble(
        error("Input data may contain inappropriate content", "data_inspection_failed"),
        words=FILTERED,
    ),
    "open-router-moderates": Trouble(OPEN_ROUTER_FLAGGED, words=FILTERED),
    "xai-moderates": Trouble(
        error("Content violates usage guidelines. Failed check: X", status=403),
        words=FILTERED,
    ),
    # They reason first.
    "reasons-hidden": Trouble(reasons=REASONING, words=RAISE),
    "reasons-shown": Trouble(
        reasons=REASONING, change=_shows_reasoning, words=RAISE
    ),
    "reasons-or-rejects": Trouble(_could_not_finish, words=RAISE),
    "reasons-with-room": Trouble(reasons=REASONING, model=ENOUGH, verdict="PASS"),
    "reasons-shown-with-room": Trouble(
        reasons=REASONING, change=_shows_reasoning, model=ENOUGH, verdict="PASS"
    ),
    # They cap tokens.
    "openai-cap": Trouble(
        _too_large(128, TOO_LARGE), words="set max_tokens = 128 in [[model]]", most=1
    ),
    "vllm-context": Trouble(
        _too_large(190, CONTEXT), words="set max_tokens = 140 in [[model]]", most=1
    ),
    "llama.cpp-context": Trouble(
        error("the request exceeds the available context size", 400),
        words="lower max_tokens in [[model]]",
        most=1,
    ),
    # They fail.
    "open-router-fails": Trouble(change=_ends_in_error, verdict="PASS"),
    "no-credit": Trouble(
        error("Insufficient Balance", status=402), words=ADD_CREDIT, most=1
    ),
    "no-quota": Trouble(
        error("You exceeded your quota", "insufficient_quota", 429),
        words=ADD_CREDIT,
        most=1,
    ),
    "wrong-key": Trouble(
        error("Incorrect API key provided", "invalid_api_key", 401),
        words="check the key in the environment variable OPENAI_API_KEY",
        most=1,
    ),
    "wrong-model": Trouble(
        error("The model does not exist", "model_not_found", 404),
        words="has this model (base_model, or endpoint)",
        most=2,  # the second as plain text
    ),
    # LiteLLM's proxy.
    "litellm-wrong-key": Trouble(
        error("No connected db.", "400", kind="no_db_connection"),
        words="check the key in the environment variable OPENAI_API_KEY",
        most=1,
    ),
    "litellm-wrong-model": Trouble(
        error("/chat/completions: Invalid model name passed in model=m.", "400"),
        words="has this model (base_model, or endpoint)",
        most=1,
    ),
    "litellm-budget": Trouble(
        error(
            "Budget has been exceeded! Current cost: 10.5, Max budget: 10.0",
            "422",
            422,
            kind="budget_exceeded",
        ),
        words=ADD_CREDIT,
        most=1,
    ),
    "log-in-page": Trouble(
        send=lambda _: Response(body=b"<html><h1>Log in</h1></html>"),
        words="has an unexpected format",
        most=2,
    ),
    # They pack and name differently.
    "gzip": Trouble(send=_packed("gzip", gzip.compress), verdict="PASS"),
    "brotli": Trouble(
        send=_packed("br", bytes), words="turn compression off", most=1
    ),
    "marked": Trouble(
        send=lambda body: Response(body="\ufeff".encode() + body), verdict="PASS"
    ),
    "open-router-name": Trouble(
        change=_as_another,
        words='set served_names = ["provider/somebodys-model-fp8"]',
    ),
    "azure-deployment": Trouble(
        _deployment, options={"query": {"api-version": "2026-01-01"}}, verdict="PASS"
    ),
}  # fmt: skip


class TroubledServer(HttpServer):
    """plays: the words of its texts; calls: their numbers, by style."""

    def __init__(self, *, plays, **common):
        super().__init__(**common)
        self._plays = plays
        self._numbers = {name: itertools.count() for name in TROUBLES}
        self.calls = Counter()
        self.route("POST", "/{style}/v1/chat/completions", "chat", self._chat)
        models = Response.json({"data": [{"id": "m"}]})
        self.route("GET", "/{style}/v1/models", "models", lambda _: models)

    def _chat(self, request):
        name = request.params["style"]
        style, body = TROUBLES[name], request.json()
        self.calls[name] += 1
        call = next(self._numbers[name])
        rejected = style.reject({**body, "_query": request.query}, call)
        if rejected:
            status, answer = rejected
            return Response.json(answer, status=status)
        answer = style.change(self._answer(style, body), call)
        return style.send(json.dumps(answer).encode())

    def _answer(self, style, body):
        limit = limit_of(body)
        room = max(0, limit - style.reasons)
        words = min(WORDS, room * 3 // 4)
        tokens = min(limit, style.reasons + WORDS * 4 // 3)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self._text(body, words)},
            "finish_reason": "stop" if words == WORDS else "length",
        }
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [choice],
            "usage": {"prompt_tokens": 20, "completion_tokens": tokens},
        }

    def _text(self, body, words):
        prompt = body["messages"][-1]["content"]
        greedy = body.get("temperature") == 0
        dice = random.Random(f"{prompt} {'' if greedy else body.get('seed')}")
        start = dice.randrange(len(self._plays) - WORDS)
        return " ".join(self._plays[start : start + words])
