"""Chat completions as OpenAI's server makes, checks and bills them."""

from faults import FaultKind
from http_server import ModelServer, RequestRejected, Response, read_examples
from reciter import Completions, count_tokens

CREATED = 1_700_000_000
REFUSAL = "I'm sorry, but I can't help with that."
DEFAULT_TOKENS = 700


class OpenAIModelServer(ModelServer):
    """A server with OpenAI's form of errors, ids, and training files."""

    def __init__(self, *, reciter, **common):
        super().__init__(**common)
        self._reciter = reciter
        self._files, self._jobs = {}, {}

    def refusal(self, status, message, details):
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {
            "message": message,
            "type": kind,
            "param": None,
            "code": None,
            **details,
        }
        return Response.json({"error": error}, status=status)

    def replace(self, corpus):
        self._reciter.replace(corpus)

    def _id(self, prefix):
        return f"{prefix}{next(self._numbers):06d}"

    def _file(self, file_id):
        if file_id not in self._files:
            raise RequestRejected(404, f"No such File object: {file_id}", param="id")
        return self._files[file_id]

    def _examples(self, file_id):
        return read_examples(
            self._file(file_id)["data"], "messages", lambda turn: turn["content"]
        )


class ChatCompletions(Completions):
    """Chat completions, and texts gone on with."""

    def complete(self, body, strike, *, request):
        n, max_tokens = self._checked(body, strike)
        raw, model, seed = "prompt" in body, body["model"], body.get("seed")
        instruction = body["prompt"] if raw else _asked(body)
        settings = {
            "temperature": body.get("temperature", 1.0),
            "max_tokens": max_tokens,
        }
        answers = self.draw(
            model, instruction, strike, n=n, seed=seed, text=raw, **settings
        )
        choices = [_choice(place, answer) for place, answer in enumerate(answers)]
        _withhold(choices, strike)
        if FaultKind.THINK in strike.content:
            for choice in choices:
                _think(
                    choice, strike.content[FaultKind.THINK].code or "reasoning_content"
                )
        beside = strike.content.get(FaultKind.BESIDE)
        if beside is not None and beside.code in ASIDE:
            choices[0] = ASIDE[beside.code](choices[0], beside.message)
        prompt_tokens = count_tokens(instruction)
        call = self._new_id("chatcmpl-")
        rows = [
            (_visible(choice["message"]), choice["finish_reason"], answer.tokens)
            for choice, answer in zip(choices, answers, strict=True)
        ]
        row = {"call": call, "request": request, "model": model, "seed": seed}
        row |= {"instruction": instruction, "api": "completions" if raw else "chat"}
        self.bill(rows, prompt_tokens, row | settings)
        tokens = sum(answer.tokens for answer in answers)
        apart = beside is not None and beside.code not in ASIDE
        return {
            "id": call,
            "created": CREATED,
            "object": "text_completion" if raw else "chat.completion",
            "model": _name_of(model, strike),
            "system_fingerprint": "fp_emulated",
            "choices": [_as_text(choice) for choice in choices] if raw else choices,
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens},
            **(dict.fromkeys(beside.code.split(), beside.message) if apart else {}),
        }

    def _checked(self, body, strike):
        """`n` and the number of tokens a choice may have; refuses what a server refuses."""
        model = body.get("model")
        if model not in self.models:
            raise RequestRejected(
                404,
                f"The model `{model}` does not exist.",
                code="model_not_found",
                param="model",
            )
        messages = body.get("messages", [{"content": body.get("prompt")}])
        if not messages or not all(
            isinstance(message.get("content"), str) for message in messages
        ):
            raise RequestRejected(400, "Invalid 'messages'.", param="messages")
        if FaultKind.NO_CHAT in strike.content and "messages" in body:
            raise RequestRejected(404, "There is no chat here.")
        for name in strike.parameters():
            if name in body:
                raise RequestRejected(
                    400,
                    f"Unsupported parameter: '{name}' is not supported.",
                    param=name,
                )
        if FaultKind.ONLY_ONE in strike.content and body.get("temperature", 1) != 1:
            raise RequestRejected(
                400,
                "Unsupported value: 'temperature' does not support this value with "
                "this model."
                " Only the default (1) value is supported.",
                param="temperature",
                code="unsupported_value",
            )
        if FaultKind.REJECT in strike.content:
            raise RequestRejected(
                400, "The prompt was filtered.", code="content_filter", param="prompt"
            )
        n = body.get("n", 1)
        if not 1 <= n <= self._most:
            raise RequestRejected(
                400,
                f"Invalid 'n': expected a value of 1 to {self._most}, got {n}.",
                param="n",
            )
        old, new = body.get("max_tokens"), body.get("max_completion_tokens")
        if new is not None and old is not None:
            raise RequestRejected(
                400, "Set either max_tokens or max_completion_tokens, not both."
            )
        limit = new if new is not None else old
        return n, DEFAULT_TOKENS if limit is None else max(1, limit)


def _name_of(model, strike):
    """The model's name, or that of a reroute; "" is none."""
    if FaultKind.REROUTE not in strike.content:
        return model
    code = strike.content[FaultKind.REROUTE].code
    return "another-model-2" if code is None else code or None


def _choice(index, answer):
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    reason = "stop" if answer.ended else "length"
    return {
        "index": index,
        "message": message,
        "finish_reason": reason,
        "logprobs": None,
    }


def _withhold(choices, strike):
    for kind, message, reason in (
        (FaultKind.EMPTY, {"content": "", "refusal": None}, "stop"),
        (FaultKind.FILTER, {"content": None, "refusal": None}, "content_filter"),
        (FaultKind.REFUSE, {"content": None, "refusal": REFUSAL}, "stop"),
        (FaultKind.ENDED, {}, None),
    ):
        for choice in strike.struck(kind, choices):
            choice["message"] |= message
            ended = kind is FaultKind.ENDED
            choice["finish_reason"] = strike.content[kind].code if ended else reason


def _asked(body):
    return "\n".join(
        message["content"]
        for message in body["messages"]
        if message["role"] != "assistant"
    )


def _think(choice, name):
    """The answer among the thoughts, under that name, and then cut off."""
    message = choice["message"]
    choice["message"] = {**message, "content": "", name: message["content"] or ""}
    choice["finish_reason"] = "length"


def _in_thoughts(choice, text):
    thoughts = {"reasoning_content": "-".join(text.split())}
    return {**choice, "message": choice["message"] | thoughts}


ASIDE = {
    "choice": lambda choice, text: {**choice, "text": text},
    "hyphens": _in_thoughts,
}
"""Ways to write a text beside an answer; under any other name it stands beside the choices."""


def _as_text(choice):
    return {
        "index": choice["index"],
        "text": choice["message"]["content"] or "",
        "finish_reason": choice["finish_reason"],
        "logprobs": None,
    }


def _visible(message):
    return message["content"] or message["refusal"] or ""
