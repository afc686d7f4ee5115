"""An endpoint that speaks OpenAI's chat completions, or its older completions of plain text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pytest_memleak.interfaces.abilities import Abilities, Obeyed, Probabilities, Recovery
from pytest_memleak.interfaces.protocols import (
    Completion,
    SampleRequest,
    Served,
    Window,
    WindowLogs,
)
from pytest_memleak.providers.call_errors import Failing, Refused
from pytest_memleak.providers.openai.choices import filtered, read_completions
from pytest_memleak.providers.openai.logprobs import TokenTeller
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.openai.server_parameters import Api, ServerParameters

REQUEST_KEY = "memleak_request"
FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "invalid_prompt"})


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What is said in every request to `model`, beside what is asked.

    api: "completions" gives the text as it stands, without any chat around it.
    plain: whether the model's own distribution is asked for.
    named: whether the server is told the name; one with a single model needs none.
    """

    model: str
    system: str | None = field(default=None, repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    api: Api = "chat"
    plain: bool = True
    named: bool = True

    @property
    def sent(self) -> str:
        """The name as requests have it."""
        return self.model if self.named else ""

    @property
    def digest(self) -> str:
        """Names system prompt, extra body and distribution; empty where none is out of the way."""
        if self.system is None and not self.extra_body and self.plain:
            return ""
        settings = [self.system, self.extra_body, *([] if self.plain else ["server"])]
        text = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def asked(self, instruction: str, *, api: Api) -> dict[str, Any]:
        """The part of a request that says what to answer."""
        if api == "completions":
            return {"prompt": f"{self.system}\n\n{instruction}" if self.system else instruction}
        system = [{"role": "system", "content": self.system}] if self.system is not None else []
        return {"messages": [*system, {"role": "user", "content": instruction}]}


class ChatEndpoint:
    """A model; `id` names server, model and what is said in every request."""

    def __init__(
        self, *, settings: ChatSettings, calls: OpenAICalls, parameters: ServerParameters
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._parameters = parameters
        place = calls.provider if calls.official else calls.base_url
        raw = "text" if settings.api == "completions" else ""
        parts = (f"{place} {settings.model}", settings.digest, raw)
        self.id = "#".join(part for part in parts if part)
        self._teller = TokenTeller(settings.model, calls, sent=settings.sent)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @property
    def abilities(self) -> Abilities:
        """OpenAI never puts other weights behind a fine-tune's name."""
        return Abilities(
            fixed_weights=self._settings.model.startswith("ft:"),
            model_name=self._settings.model,
            obeyed=self.obeyed,
            continuing=self.continuing,
            probabilities=Probabilities(
                self.text_tokens, self.log_probabilities, self.top_k_log_probabilities, self.served
            ),
        )

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion]:
        """Up to `n` completions; fewer where the server allows fewer in one call.

        Prompt tokens stand with the first completion of a call, completion tokens are shared
        out evenly: both add up to what the server counted. A prompt that the provider's filter
        rejects is `n` withheld completions. What the server refuses of how to sample is left
        out (`obeyed`).
        """
        return self._draw(SampleRequest("", instruction, n, temperature, max_tokens, seed))

    def obeyed(self) -> Mapping[str, Obeyed]:
        """What was asked of how to sample, and what of it was refused, by this model's calls."""
        return self._parameters.obeyed

    def continuing(self) -> ChatEndpoint | None:
        """The same weights on text as it stands; None where they are asked in a chat.

        That there is no chat the suite says, or the server has said by now.
        """
        if "completions" not in (self._settings.api, self._parameters.api):
            return None
        settings = dataclasses.replace(self._settings, api="completions", system=None)
        return self._kind_of_text()(
            settings=settings, calls=self._calls, parameters=self._parameters
        )

    def _kind_of_text(self) -> type[ChatEndpoint]:
        return ChatEndpoint

    # --- probabilities of a given text

    def text_tokens(self, text: str) -> Sequence[int | str]:
        """The server's tokens of a text, by its completions endpoint."""
        return self._teller.tokens(text)

    def log_probabilities(self, windows: Sequence[Window]) -> list[list[float]]:
        """As `Probabilities` says.

        By the completions endpoint: neither chat nor system prompt stands around the text.
        """
        return [self._teller.log_probabilities(window) for window in windows]

    def top_k_log_probabilities(
        self, windows: Sequence[Window], top_k: int, temperature: float
    ) -> list[WindowLogs]:
        """As `Probabilities` says, where the server tells tokens by number."""
        return [
            self._teller.top_k_log_probabilities(window, top_k=top_k, temperature=temperature)
            for window in windows
        ]

    def served(self) -> Served | None:
        """As `Probabilities` says."""
        return self._calls.served

    # --- one call

    def _draw(
        self,
        request: SampleRequest,
        *,
        more: Mapping[str, Any] | None = None,
        api: Api | None = None,
    ) -> Sequence[Completion]:
        settings, parameters = self._settings, self._parameters
        api = api or (parameters.api if settings.api == "auto" else settings.api)
        api = "completions" if api == "completions" else "chat"
        asked = min(request.n, parameters.most_completions or request.n)
        body = self._body(dataclasses.replace(request, n=asked), api=api)
        call = f"{'chat.' if api == 'chat' else ''}completions.create (n = {asked})"
        try:
            answer = self._ask(call, {**body, **(more or {})}, request.instruction)
        except Refused as refused:
            if refused.code in FILTER_CODES:
                return filtered(asked)
            chatless = settings.api == "auto" and api == "chat" and not more
            if chatless and refused.status == HTTPStatus.NOT_FOUND:
                api = "completions"
            elif not parameters.learns(refused, body, fixed=settings.extra_body):
                raise
            failure = refused
        else:
            return self._completions(answer, request, call=call, api=api)
        # A refused call cost nothing; asked once more, in the way that the server accepts.
        try:
            came = self._draw(request, more=more, api=api)
        except Refused as refused:
            # Neither is there: it is the model that is not, and the first answer says so.
            neither = failure.status == refused.status == HTTPStatus.NOT_FOUND
            raise (failure if neither else refused) from None
        if api == "completions" and settings.api == "auto":
            parameters.use_completions()
        return came

    def _ask(self, call: str, body: dict[str, Any], instruction: str) -> object:
        def create(client: Any) -> Any:
            # Everything goes by `extra_body`, so that any server's parameters are taken.
            if "prompt" in body:
                return client.completions.with_streaming_response.create(
                    model=body["model"], prompt=body["prompt"], extra_body=body
                )
            return client.chat.completions.with_streaming_response.create(
                model=body["model"], messages=body["messages"], extra_body=body
            )

        texts = (instruction, *([self._settings.system] if self._settings.system else []))
        return self._calls.ask_json(call, create, endpoint=self._settings.model, texts=texts)

    def _body(self, request: SampleRequest, *, api: Api) -> dict[str, Any]:
        name = "max_tokens" if api == "completions" else self._parameters.max_tokens_parameter
        return {
            "model": self._settings.sent,
            **self._settings.asked(request.instruction, api=api),
            **self._parameters.parameters(request, limit_name=name),
            **self._settings.extra_body,
        }

    def _completions(
        self, answer: object, request: SampleRequest, *, call: str, api: Api
    ) -> list[Completion]:
        most = request.max_tokens
        completions = read_completions(answer, max_tokens=most, asked=request.instruction)
        if not completions:
            raise Failing(self._calls.provider, self._settings.model, call).busy(
                "The answer has no completion",
                f"Check that {self._calls.base_url} serves chat completions.",
            )
        if api == "chat" and all((each.completion_tokens or 0) > most for each in completions):
            # The server did not know the new name, and ignored it without a word.
            self._parameters.use_old_name()
        return completions


class StoredChatEndpoint(ChatEndpoint):
    """A chat model whose provider keeps the answers, under the name of the request."""

    @property
    def abilities(self) -> Abilities:
        """As of any chat model, and recovery."""
        return dataclasses.replace(
            super().abilities, recovery=Recovery(self.sample_as, self.recover)
        )

    def sample_as(self, request: SampleRequest) -> Sequence[Completion]:
        """As `sample`; the provider keeps the answer under the request's key."""
        more = {"store": True, "metadata": {REQUEST_KEY: request.key}}
        return self._draw(request, more=more)

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
        return (
            [completion for answer in mine for completion in read_completions(answer)]
            if mine
            else None
        )
