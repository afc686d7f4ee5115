"""An endpoint that speaks OpenAI's chat completions: online, stored, and in batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pytest_memleak.contracts.protocols import Completion, Window
from pytest_memleak.errors import ProviderBusy
from pytest_memleak.providers.openai.echo import EchoCompletions
from pytest_memleak.providers.openai.openai_client import PROVIDER, Calls, Refused
from pytest_memleak.records import FinishReason

__all__ = ["ChatEndpoint", "ChatSettings", "Habits", "StoredChatEndpoint", "read_completions"]

REQUEST_KEY = "memleak_request"
FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "invalid_prompt"})
_COMPLAINTS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_NAMES_OF_N = frozenset({"n", "n_cmpl", "n_choices"})
_FINISH_REASONS = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "refusal": FinishReason.REFUSAL,
    "safety": FinishReason.CONTENT_FILTER,
    # The server broke off: whatever it sent is no complete answer.
    "abort": FinishReason.EMPTY,
    "error": FinishReason.EMPTY,
}


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What is said in every request to `model`, beside what is asked."""

    model: str
    system: str | None = field(default=None, repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def digest(self) -> str:
        """Names system prompt and extra body; empty where there are none."""
        if self.system is None and not self.extra_body:
            return ""
        said = json.dumps([self.system, self.extra_body], sort_keys=True, default=str)
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class Habits:
    """What a server has turned out to accept; shared by the endpoints of one provider.

    max_tokens_parameter: "auto" begins with the new name and falls back to the old one.
    """

    def __init__(self, *, max_tokens_parameter: str) -> None:
        self._fixed = max_tokens_parameter != "auto"
        self.max_tokens_parameter = max_tokens_parameter if self._fixed else "max_completion_tokens"
        self.most_completions: int | None = None

    def use_old_name(self) -> bool:
        """Say `max_tokens` from now on; False if the suite has settled on a name."""
        if not self._fixed:
            self.max_tokens_parameter = "max_tokens"
        return not self._fixed

    def ask_for_fewer(self, n: int) -> bool:
        """Ask for half of `n` at most from now on; False if `n` is 1."""
        if n > 1:
            self.most_completions = min(n // 2, self.most_completions or n)
        return n > 1


class ChatEndpoint:
    """A chat model; `id` names server, model and what is said in every request."""

    def __init__(self, *, settings: ChatSettings, calls: Calls, habits: Habits) -> None:
        self._settings = settings
        self._calls = calls
        self._habits = habits
        place = PROVIDER if calls.official else calls.base_url
        self.id = "#".join(part for part in (f"{place} {settings.model}", settings.digest) if part)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def sample(
        self, instruction: str, *, n: int, temperature: float, max_tokens: int, seed: int | None
    ) -> Sequence[Completion]:
        """Up to `n` completions; fewer where the server allows fewer in one call.

        Prompt tokens stand with the first completion of a call, completion tokens are shared
        out evenly: both add up to what the server counted, which with some servers is one
        completion only. A prompt that the provider's filter rejects is `n` withheld completions.
        """
        return self._chat(
            instruction, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed, more={}
        )

    whole_distribution = False
    tokenizes_here = False
    windows_per_call = 1

    def text_tokens(self, text: str) -> list[str]:
        """The server's tokens of a text, by its completions endpoint."""
        return EchoCompletions(self._settings.model, self._calls).tokens(text)

    def log_probabilities(
        self,
        windows: Sequence[Window],
        *,
        top_k: int,  # noqa: ARG002 - the server tells the tokens' own probabilities alone
        temperature: float,  # noqa: ARG002
    ) -> list[list[float]]:
        """As `LogProbabilityEndpoint` says, without top-k and temperature.

        By the completions endpoint: neither chat nor system prompt stands around the text.
        """
        echo = EchoCompletions(self._settings.model, self._calls)
        return [echo.log_probabilities(one) for one in windows]

    def _chat(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float,
        max_tokens: int,
        seed: int | None,
        more: Mapping[str, Any],
    ) -> Sequence[Completion]:
        asked = min(n, self._habits.most_completions or n)
        body = self._body(
            instruction, n=asked, temperature=temperature, max_tokens=max_tokens, seed=seed
        )
        call = f"chat.completions.create (n = {asked})"
        try:
            answer = self._ask(call, {**body, **more}, instruction)
        except Refused as refused:
            if refused.code in FILTER_CODES:
                return filtered(asked)
            if not self._adapts(refused, body):
                raise
        else:
            return self._completions(answer, call=call, max_tokens=max_tokens)
        # A refused call cost nothing; asked once more, in the way that the server accepts.
        return self._chat(
            instruction, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed, more=more
        )

    def _ask(self, call: str, body: dict[str, Any], instruction: str) -> object:
        texts = (instruction, *([self._settings.system] if self._settings.system else []))
        return self._calls.ask_json(
            call,
            # Everything goes by `extra_body`, so that any server's parameters are taken.
            lambda client: client.chat.completions.with_streaming_response.create(
                model=body["model"], messages=body["messages"], extra_body=body
            ),
            endpoint=self._settings.model,
            texts=texts,
        )

    def _body(
        self, instruction: str, *, n: int, temperature: float, max_tokens: int, seed: int | None
    ) -> dict[str, Any]:
        system = self._settings.system
        messages = [{"role": "system", "content": system}] if system is not None else []
        return {
            "model": self._settings.model,
            "messages": [*messages, {"role": "user", "content": instruction}],
            "n": n,
            "temperature": temperature,
            self._habits.max_tokens_parameter: max_tokens,
            **({} if seed is None else {"seed": seed}),
            **self._settings.extra_body,
        }

    def _adapts(self, refused: Refused, body: Mapping[str, Any]) -> bool:
        """Whether the refusal is about how it was asked, and there is another way to ask."""
        if refused.status not in _COMPLAINTS:
            return False
        # Judged by what was sent: another thread may have learnt the same in the meantime.
        new_name = "max_completion_tokens"
        if new_name in refused.named and new_name in body and self._habits.use_old_name():
            return True
        return bool(refused.named & _NAMES_OF_N) and self._habits.ask_for_fewer(body["n"])

    def _completions(self, answer: object, *, call: str, max_tokens: int) -> list[Completion]:
        completions = read_completions(answer)
        if not completions:
            raise ProviderBusy(
                "the answer holds no completion",
                provider=PROVIDER,
                endpoint=self._settings.model,
                call=call,
                hint=f"is {self._calls.base_url} a chat completions server?",
            )
        if all((one.completion_tokens or 0) > max_tokens for one in completions):
            # The server did not know the new name, and ignored it without a word.
            self._habits.use_old_name()
        return completions


class StoredChatEndpoint(ChatEndpoint):
    """A chat model whose provider keeps the answers, under the name of the request."""

    def sample_as(
        self,
        request_id: str,
        instruction: str,
        *,
        n: int,
        temperature: float,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion]:
        """As `sample`; the provider keeps the answer under `request_id`."""
        return self._chat(
            instruction,
            n=n,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
            more={"store": True, "metadata": {REQUEST_KEY: request_id}},
        )

    def recover(self, request_id: str) -> Sequence[Completion] | None:
        """Every completion kept under `request_id`, oldest answer first; None without any."""
        answers = self._calls.ask(
            "chat.completions.list",
            lambda client: [
                answer.to_dict(warnings=False)
                for answer in client.chat.completions.list(
                    metadata={REQUEST_KEY: request_id}, order="asc", limit=100
                )
            ],
            endpoint=self._settings.model,
        )
        mine = [
            answer
            for answer in answers
            if isinstance(kept := answer.get("metadata"), Mapping)
            and kept.get(REQUEST_KEY) == request_id
        ]
        return [one for answer in mine for one in read_completions(answer)] if mine else None


# --- answers -------------------------------------------------------------------------------


def filtered(n: int) -> list[Completion]:
    """`n` completions of a prompt that the provider's filter rejected; nothing was billed."""
    return [Completion("", FinishReason.CONTENT_FILTER, 0, 0) for _ in range(n)]


def read_completions(answer: object) -> list[Completion]:
    """The completions in a chat completion object, in the order of its choices.

    Empty where there are none, or where `answer` is no such object.
    """
    if not isinstance(answer, Mapping):
        return []
    choices = [choice for choice in _list(answer.get("choices")) if isinstance(choice, Mapping)]
    usage = answer.get("usage")
    prompt, total = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return [
        Completion(
            *_text_and_reason(choice),
            prompt_tokens=None if prompt is None else prompt * (place == 0),
            completion_tokens=(
                None if total is None else (total + len(choices) - 1 - place) // len(choices)
            ),
        )
        for place, choice in enumerate(choices)
    ]


def _text_and_reason(choice: Mapping[str, Any]) -> tuple[str, FinishReason]:
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    text, refusal = _text(message.get("content")), _text(message.get("refusal"))
    said = str(choice.get("finish_reason") or "stop").lower()
    if refusal:
        return text or refusal, FinishReason.REFUSAL
    if "recitation" in said:
        return text, FinishReason.RECITATION
    if said.startswith("content_filter"):
        return text, FinishReason.CONTENT_FILTER
    reason = _FINISH_REASONS.get(said, FinishReason.STOP)
    if not reason.withheld and not text.strip():
        return text, FinishReason.EMPTY
    return text, reason


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = (part for part in _list(content) if isinstance(part, Mapping))
    return "".join(str(part.get("text") or "") for part in parts)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and value >= 0 else None
