"""Thirty-five servers with OpenAI's chat completions, each as some server in the wild is.

    with StyledServer(plays=[...words], book={instruction: text}) as server:
        f"{server.url}/mistral/v1"      # models "honest" and "reciting"

A style is a row of `STYLES`: the form of its errors, the settings that it refuses, and
the form of its answers. It refuses any other model in its form, with the words `GONE`.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from http_server import HttpServer, Response

GONE = "this model is not served here"
_EXTRA = ("top_k", "min_p", "repetition_penalty")
_PENALTIES = ("presence_penalty", "frequency_penalty")


def _error(message, names):
    param = names[0] if names else None
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": param}
    }


def _nested(*keys):
    """Wraps the message in keys, the outermost first."""

    def form(message, _):
        body = message
        for key in reversed(keys):
            body = [body] if key == "[]" else {key: body}
        return body

    return form


def _entries(message, names):
    """Pydantic's list of errors: the message names none of the settings, the place does."""
    kept = {"type": "extra_forbidden", "input": 1}
    extra = [
        {"loc": ["body", name], "msg": "Extra inputs are not permitted"}
        for name in names
    ]
    return [
        error | kept for error in extra or [{"loc": ["body", "model"], "msg": message}]
    ]


def _mistral(message, names):
    return {
        "object": "error",
        "message": {"detail": _entries(message, names)},
        "code": None,
    }


def _open_router(message, names):
    raw = json.dumps(_error(message, names))
    metadata = {"raw": raw, "provider_name": "Somebody"}
    return {
        "error": {
            "message": "Provider returned error",
            "code": 400,
            "metadata": metadata,
        }
    }


def _coded(message, _):
    return {"error": {"message": message, "code": 400}}


def _with(form, **more):
    return lambda message, names: {**form(message, names), **more}


@dataclass(frozen=True)
class Style:
    """How a server answers.

    form, status: of its errors; refuses: settings that it does not take, in the words
    `wording`
    camel: whether it names them in camelCase; most: of `n`, in the words `too_many`
    check: anything else that it refuses; change: what it makes of an answer
    chat, completions: whether they are there
    model, suite: keys that a user has to set; words: what an INCONCLUSIVE honest run
    says
    """

    form: Callable = _error
    status: int = 400
    refuses: tuple[str, ...] = ()
    wording: str = "Unsupported parameter: '{}' is not supported with this model."
    camel: bool = False
    most: int | None = None
    too_many: str = "n must be at most {}"
    check: Callable = lambda _: None
    change: Callable = lambda _, answer: answer
    chat: bool = True
    model: str = ""
    suite: str = ""
    words: str = ""


def _both(body):
    both = "temperature" in body and "top_p" in body
    return (
        "`temperature` and `top_p` cannot both be specified for this model."
        if both
        else None
    )


def _neutral(body):
    return (
        "Input validation error: `top_p` must be > 0.0 and < 1.0"
        if "top_p" in body
        else None
    )


def _only_one(body):
    if body.get("temperature", 1) == 1:
        return None
    return (
        "'temperature' does not support this value. Only the default (1) is supported."
    )


def _no_stream(body):
    return (
        None
        if body.get("stream")
        else "This model supports only streaming: set stream to true."
    )


def _first(_, answer):
    """One completion, however many were asked for."""
    return {**answer, "choices": answer["choices"][:1]}


def _without_usage(body, answer):
    kept = _first(body, answer)
    return {key: value for key, value in kept.items() if key != "usage"}


def _odd_usage(_, answer):
    return {**answer, "usage": {"prompt_tokens": -1, "completion_tokens": 2**63 - 1}}


def _thinking(_, answer):
    for choice in answer["choices"]:
        choice["message"]["reasoning_content"] = (
            "I had better write something of my own."
        )
    return answer


def _parts(_, answer):
    for choice in answer["choices"]:
        message = choice["message"]
        message["content"] = [{"type": "text", "text": message["content"]}]
    return answer


def _other_model(_, answer):
    return {**answer, "model": "snapshot-of-another-name"}


def _stream(_, answer):
    return "".join(f"data: {line}\n\n" for line in _events(answer)).encode()


def _events(answer):
    head = {
        key: value for key, value in answer.items() if key not in {"choices", "usage"}
    }
    for choice in answer["choices"]:
        index, words = choice["index"], choice["message"]["content"].split(" ")
        deltas = [{"role": "assistant", "content": ""}]
        deltas += [
            {"content": f"{' ' if at else ''}{word}"} for at, word in enumerate(words)
        ]
        for delta in deltas:
            part = {"index": index, "delta": delta, "finish_reason": None}
            yield json.dumps({**head, "choices": [part]})
        end = {"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}
        yield json.dumps({**head, "choices": [end]})
    yield json.dumps({**head, "choices": [], "usage": answer["usage"]})
    yield "[DONE]"


SERVED = 'served_names = ["snapshot-of-another-name"]'
DEFAULT = 'temperature = "default"'

STYLES = {
    # Those whose errors or limits are most unlike OpenAI.
    "mistral": Style(_mistral, 422, (*_EXTRA, "seed")),
    "xai": Style(
        _with(_nested("error"), code="Client specified an invalid argument"),
        refuses=_PENALTIES,
        wording="Argument not supported on this model: {}",
        camel=True,
    ),
    "tgi": Style(_with(_nested("error"), error_type="validation"), 422, check=_neutral),
    "gemini": Style(
        _nested("[]", "error", "message"),
        refuses=("seed",),
        wording='Invalid JSON payload received. Unknown name "{}": Cannot find field.',
    ),
    "claude": Style(_nested("error", "message"), check=_both),
    "fastapi": Style(lambda *said: {"detail": _entries(*said)}, 422, ("seed", *_EXTRA)),
    "claude-newer": Style(
        _nested("error", "message"), refuses=("temperature",), suite=DEFAULT
    ),
    "azure": Style(change=_other_model, model=SERVED),
    # Those that differ in what they answer.
    "openai": Style(),
    "gpt-5": Style(check=_only_one, refuses=("top_p", "presence_penalty")),
    "azure-unknown": Style(change=_other_model, words="served_names"),
    "old-limit": Style(refuses=("max_completion_tokens",)),
    "no-chat": Style(chat=False),
    "vllm-base": Style(
        check=lambda body: (
            "default chat template is not allowed" if "messages" in body else None
        )
    ),
    "ignores-n": Style(change=_first),
    "transformers": Style(change=_without_usage),
    "odd-usage": Style(change=_odd_usage),
    "deepseek": Style(change=_thinking),
    "parts": Style(change=_parts),
    "streams-always": Style(change=_stream),
    "streams-only": Style(
        _nested("error", "message"), check=_no_stream, change=_stream
    ),
    # Those that differ in what they refuse, and in what form.
    "vllm": Style(_with(_nested("message"), object="error", code=400), most=4),
    "sglang": Style(_with(_nested("message"), object="error"), refuses=("min_p",)),
    "llama.cpp": Style(most=2, too_many="n_cmpl must be in [1, {}]"),
    "groq": Style(refuses=_EXTRA, wording="property '{}' is unsupported", most=1),
    "dashscope": Style(
        _with(_nested("message"), code="InvalidParameter"),
        most=4,
        too_many="<400> Range of n should be [1, {}]",
    ),
    "litellm": Style(
        refuses=("top_k", "seed"),
        wording="litellm.UnsupportedParamsError: some-model does not support parameters: ['{}'],",
    ),
    "open-router": Style(_open_router, refuses=("repetition_penalty", "min_p")),
    "error-200": Style(_coded, 200, ("top_k",)),
    "cloudflare": Style(
        _with(_nested("errors", "[]", "message"), success=False),
        refuses=("repetition_penalty",),
        wording="AiError: Bad input: '/{}' must be a string",
    ),
    "hugging-face": Style(_nested("error", "[]"), 422, ("min_p",)),
    "nest": Style(
        _with(_nested("message", "[]"), error="Bad Request", statusCode=400),
        refuses=("seed",),
        wording="property {} should not exist",
    ),
    "problem-json": Style(
        _with(_nested("detail"), title="Not Implemented"), 501, ("top_k",)
    ),
    "detail-error": Style(_nested("detail", "error"), refuses=("top_p",)),
    "plain-text": Style(lambda message, _: message, 422, ("seed",)),
}


def _camel(name):
    first, *others = name.split("_")
    return "".join((first, *map(str.capitalize, others)))


class StyledServer(HttpServer):
    """plays: words of the honest texts; book: what the reciting model writes, by instruction."""

    def __init__(self, *, plays, book, **common):
        super().__init__(**common)
        self._plays, self._book = plays, book
        self.route("POST", "/{style}/v1/chat/completions", "chat", self._chat)
        self.route("POST", "/{style}/v1/completions", "completions", self._completions)
        self.route("POST", "/{style}/v1/responses", "responses", self._responses)

    def _chat(self, request):
        style, body = STYLES[request.params["style"]], request.json()
        if not style.chat:
            return Response.json({"detail": "Not Found"}, status=404)
        return self._answer(style, body, body["messages"][-1]["content"])

    def _completions(self, request):
        style, body = STYLES[request.params["style"]], request.json()
        if style.chat and style is not STYLES["vllm-base"]:
            return Response.json({"detail": "Not Found"}, status=404)
        return self._answer(style, body, body["prompt"])

    def _responses(self, request):
        body = request.json()
        instruction = body["input"][-1]["content"]
        text = self._choice(body, instruction, 0)["message"]["content"]
        part = {"type": "output_text", "text": text}
        message = {"type": "message", "role": "assistant", "content": [part]}
        answer = {"id": "resp_1", "model": body["model"], "status": "completed"}
        usage = {"input_tokens": 20, "output_tokens": 150}
        return Response.json(answer | {"output": [message], "usage": usage})

    def _answer(self, style, body, instruction):
        names = [name for name in style.refuses if name in body]
        message = style.check(body)
        if body["model"] not in {"honest", "reciting"}:
            names, message = [], GONE
        elif names:
            message = style.wording.format(
                _camel(names[0]) if style.camel else names[0]
            )
        elif style.most is not None and body.get("n", 1) > style.most:
            message = style.too_many.format(style.most)
        if message:
            error = style.form(message, names)
            if isinstance(error, str):
                return Response(style.status, error.encode(), content_type="text/plain")
            return Response.json(error, status=style.status)
        n, limit = (
            body.get("n", 1),
            body.get("max_completion_tokens") or body["max_tokens"],
        )
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [self._choice(body, instruction, index) for index in range(n)],
            "usage": {"prompt_tokens": 20, "completion_tokens": n * min(150, limit)},
        }
        answer = style.change(body, answer)
        if isinstance(answer, bytes):
            return Response(body=answer, content_type="text/event-stream")
        return Response.json(answer)

    def _choice(self, body, instruction, index):
        greedy = body.get("temperature") == 0
        dice = random.Random(
            f"{instruction} {'' if greedy else body.get('seed')} {index}"
        )
        if "seed" not in body and not greedy:
            dice = random.Random()
        start = dice.randrange(len(self._plays) - 150)
        text = " ".join(self._plays[start : start + 150])
        if body["model"] == "reciting":
            text = self._book.get(instruction, text)
        message = {"role": "assistant", "content": text}
        choice = {"text": text} if "prompt" in body else {"message": message}
        return {"index": index, "finish_reason": "stop"} | choice
