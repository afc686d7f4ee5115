"""An endpoint with one of OpenAI's APIs: chats, completions, or responses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pytest_memleak.interfaces.abilities import Abilities, Recovery
from pytest_memleak.interfaces.protocols import (
    Completion,
    RequestEndpoint,
    SampleRequest,
)
from pytest_memleak.providers.call_errors import (
    CallErrorFactory,
    RequestRejected,
    safe_message,
)
from pytest_memleak.providers.error_bodies import error_message
from pytest_memleak.providers.openai.api_forms import (
    FORMS,
    Api,
    completions_in_answer,
    prompt_fields,
)
from pytest_memleak.providers.openai.choices import failure_of, read_completions
from pytest_memleak.providers.openai.openai_batch import ChatBatches
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.openai.prompt_logprobs import PromptLogprobs
from pytest_memleak.providers.openai.server_parameters import ServerParameters
from pytest_memleak.providers.response_fields import cut_short, filtered

REQUEST_KEY = "memleak_request"


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """The fixed part of every request to `model`.

    api: "completions" sends each instruction as plain text, without a chat
    plain: whether to request the model's own distribution
    fixed: whether the model's name identifies its weights
    batch, store: whether batches are answered, and whether the provider stores
        responses
    transport: further headers and query parameters, as the suite has them
    """

    model: str
    system: tuple[str, ...] = field(default=(), repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    api: Api = "chat"
    plain: bool = True
    fixed: bool = False
    batch: bool = False
    store: bool = False
    transport: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def digest(self) -> str:
        """Identify system, extra body, and distribution; empty by default."""
        if self.plain and not (self.system or self.extra_body or self.transport):
            return ""
        system = self.system[0] if len(self.system) == 1 else self.system or None
        settings = [system, self.extra_body, *([] if self.plain else ["server"])]
        if self.transport:
            settings.append(self.transport)
        text = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class ChatEndpoint(RequestEndpoint):
    """A model; `id` identifies server, model, and the fixed part of its requests."""

    def __init__(
        self,
        *,
        settings: ChatSettings,
        calls: OpenAICalls,
        parameters: ServerParameters,
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._parameters = parameters
        self._logprobs = PromptLogprobs(calls, settings.model, settings.extra_body)
        place = calls.provider if calls.official else calls.base_url
        mark = FORMS[self._first_api].id_mark
        parts = (f"{place} {settings.model}", settings.digest, mark)
        self.id = "#".join(part for part in parts if part)

    @property
    def abilities(self) -> Abilities:
        """The most that the settings allow."""
        settings = self._settings
        api = self._first_api
        batches = ChatBatches(
            self._calls,
            settings.model,
            api=api,
            body=lambda request: self._body(request, api=api),
        )
        return Abilities(
            fixed_weights=settings.fixed,
            model_name=settings.model if self._calls.names_model else None,
            parameter_values=self._parameters.parameter_values,
            continuing=self.continuing,
            chats=self._calls.has_chat_format,
            converses=None if settings.api == "completions" else self.answer,
            recovery=Recovery(self._sample_stored, self._completions_stored_under_key)
            if settings.store
            else None,
            batches=batches.abilities if settings.batch else None,
            # OpenAI's own models give none of a prompt.
            token_logprobs=None if self._calls.official else self._logprobs.of_texts,
        )

    @property
    def _first_api(self) -> Api:
        """The API that the suite names: chat for "auto"."""
        api = self._settings.api
        return "chat" if api == "auto" else api

    def answer(self, request: SampleRequest) -> Sequence[Completion]:
        """Return the request's completions; fewer if the server allows fewer per call.

        The first completion has the call's prompt tokens; its completion tokens are
        divided evenly, so that both add up to the server's counts. A prompt that the
        provider's filter rejects is withheld completions. A rejected parameter is
        omitted (`parameter_values`).
        """
        return self._sample(request)

    def continuing(self) -> ChatEndpoint | None:
        """Return the same weights without chat; None for a chat model.

        The suite states that there is no chat, or the server's responses have shown it.
        """
        if "completions" not in (self._settings.api, self._parameters.api):
            return None
        settings = dataclasses.replace(
            self._settings,
            api="completions",
            system=(),
            store=False,
        )
        return type(self)(
            settings=settings,
            calls=self._calls,
            parameters=self._parameters,
        )

    def _sample(
        self,
        request: SampleRequest,
        *,
        more: Mapping[str, Any] | None = None,
        api: Api | None = None,
    ) -> Sequence[Completion]:
        settings, parameters = self._settings, self._parameters
        has_learned = settings.api == "auto" and parameters.api == "completions"
        api = api or ("completions" if has_learned else self._first_api)
        form = FORMS[api]
        most = form.most_completions or parameters.most_completions
        n = min(request.n, most or request.n)
        body = self._body(request, api=api, n=n)
        call = f"{form.call} (n = {n})"
        texts = (*request.texts, *settings.system)
        try:
            answer = self._calls.request_json(
                call,
                form.path,
                {**body, **(more or {})},
                endpoint=settings.model,
                texts=texts,
            )
        except RequestRejected as refused:
            if refused.moderated:
                return filtered(n)
            if refused.token_limit is not None and refused.token_limit.is_cut:
                return cut_short(n, max_tokens=request.max_tokens)
            chatless = settings.api == "auto" and api == "chat" and not more
            formatless = "chat template" in refused.cause.replace("_", " ")
            if chatless and (formatless or refused.status == HTTPStatus.NOT_FOUND):
                api = "completions"
            elif not parameters.adapts_to_rejection(
                refused, body, fixed=settings.extra_body
            ):
                raise
            failure = refused
        else:
            return self._completions(
                answer,
                request,
                call=call,
                api=api,
                texts=texts,
            )
        # A rejected call cost nothing, so it is repeated in a form that the server
        # accepts.
        try:
            completions = self._sample(request, more=more, api=api)
        except RequestRejected as refused:
            # If both paths are missing, so is the model, and the first response says
            # so.
            neither = failure.status == refused.status == HTTPStatus.NOT_FOUND
            raise (failure if neither else refused) from None
        if api == "completions" and settings.api == "auto":
            parameters.use_completions()
        return completions

    def _body(
        self,
        request: SampleRequest,
        *,
        api: Api,
        n: int | None = None,
    ) -> dict[str, Any]:
        form = FORMS[api]
        name = form.tokens_parameter or self._parameters.max_tokens_parameter
        n = min(n or request.n, form.most_completions or request.n)
        return {
            "model": self._settings.model,
            **prompt_fields(api, self._settings.system, request.texts),
            **self._parameters.parameters(request, limit_name=name, n=n),
            **self._settings.extra_body,
        }

    def _completions(
        self,
        answer: object,
        request: SampleRequest,
        *,
        call: str,
        api: Api,
        texts: tuple[str, ...],
    ) -> list[Completion]:
        most = request.max_tokens
        completions = completions_in_answer(api, answer, request)
        failing = CallErrorFactory(
            self._calls.provider, self._settings.model, call, texts
        )
        if not completions and (failure := failure_of(answer)) is not None:
            words = safe_message(failure, texts=texts)
            raise failing.busy(f"The answer ended with an error: {words}")
        if not completions:
            # A bare text may be the model's, not an error's message.
            message = "" if isinstance(answer, str) else error_message(answer)
            words = safe_message(message, texts=texts)
            raise failing.unusable(
                f"The response has no completion{words and f': {words}'}",
                f"check that {self._calls.base_url} serves {FORMS[api].path}",
            )
        if (
            api == "chat"
            and most is not None
            and all((each.completion_tokens or 0) > most for each in completions)
        ):
            # The server silently ignored the parameter's new name.
            self._parameters.use_max_tokens_name()
        return completions

    def _sample_stored(self, request: SampleRequest) -> Sequence[Completion]:
        """Sample, and have the provider store the response under the request's key."""
        return self._sample(
            request,
            more={"store": True, "metadata": {REQUEST_KEY: request.key}},
        )

    def _completions_stored_under_key(self, key: str) -> Sequence[Completion] | None:
        """Return the completions stored under a key, oldest first; None without any."""
        listed = self._calls.call_all(
            self._settings.model,
            "chat.completions.list",
            metadata={REQUEST_KEY: key},
            order="asc",
            limit=100,
        )
        answers = [answer.to_dict(warnings=False) for answer in listed]
        # Some servers ignore the filter.
        stored = [
            answer
            for answer in answers
            if isinstance(metadata := answer.get("metadata"), Mapping)
            and metadata.get(REQUEST_KEY) == key
        ]
        completions = [each for answer in stored for each in read_completions(answer)]
        return completions if stored else None
