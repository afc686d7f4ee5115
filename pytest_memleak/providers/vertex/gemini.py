"""An endpoint with Gemini's generateContent on Vertex AI."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from pytest_memleak.formats.distinct_keys import json_with_distinct_keys
from pytest_memleak.formats.server_texts import texts_sent
from pytest_memleak.interfaces.abilities import Abilities, ParameterValues
from pytest_memleak.interfaces.protocols import (
    Completion,
    RequestEndpoint,
    SampleRequest,
    Served,
)
from pytest_memleak.providers.call_errors import CallErrorFactory, RequestRejected
from pytest_memleak.providers.parameter_support import ParameterSupport
from pytest_memleak.providers.response_fields import (
    MOST_CHOICES,
    as_list,
    as_mapping,
    completions_of,
    finish_reason_of_answer,
    server_name,
    token_count,
)
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, VertexCalls
from pytest_memleak.records import FinishReason

_SEED_BITS = 0x7FFF_FFFF
_HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")


@dataclass(frozen=True, slots=True)
class GeminiSettings:
    """The fixed part of every request to `model`.

    model: an endpoint's resource name ("projects/.../endpoints/...") or a published
        model
    thinking_budget: how many tokens a model may think, in addition to its answer's
    safety_threshold: that of every harm category; None for Vertex AI's own
    generation_config: further fields of the request's generationConfig
    plain: whether to request the model's own distribution (topP 1)
    """

    model: str
    system: tuple[str, ...] = field(default=(), repr=False)
    thinking_budget: int | None = None
    safety_threshold: str | None = None
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = True

    @property
    def digest(self) -> str:
        """Identifies all but the model; empty for the defaults."""
        settings: list[object] = [
            self.system[0] if len(self.system) == 1 else self.system or None,
            self.thinking_budget,
            self.safety_threshold,
            dict(self.generation_config) or None,
        ]
        if self.plain and not any(value is not None for value in settings):
            return ""
        if not self.plain:
            settings.append("server")
        text = json.dumps(settings, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode())
        return digest.hexdigest()[:12]

    def wanted(self, request: SampleRequest) -> dict[str, Any]:
        """Return a request's parameters by the API's names; None is omitted."""
        given = {name.replace("_", "").lower() for name in self.generation_config}
        wanted: dict[str, Any] = {"temperature": request.temperature}
        if request.n > 1:
            wanted["candidateCount"] = request.n
        if request.max_tokens is not None:
            # Thoughts count toward the limit, and would leave no room for the answer.
            room = self.thinking_budget or 0
            wanted["maxOutputTokens"] = request.max_tokens + room
        if request.seed is not None:
            wanted["seed"] = request.seed & _SEED_BITS
        if self.plain and "topp" not in given:
            wanted["topP"] = 1.0
        return wanted

    def request(
        self,
        sample: SampleRequest,
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return a GenerateContentRequest."""
        config = {**self.generation_config, **parameters}
        if self.thinking_budget is not None:
            config["thinkingConfig"] = {"thinkingBudget": self.thinking_budget}
        request: dict[str, Any] = {
            "contents": [
                {"role": "model" if number % 2 else "user", "parts": [{"text": text}]}
                for number, text in enumerate(sample.texts)
            ],
            "generationConfig": config,
        }
        if self.system:
            request["systemInstruction"] = system_instruction(self.system)
        if self.safety_threshold is not None:
            request["safetySettings"] = [
                {
                    "category": f"HARM_CATEGORY_{harm}",
                    "threshold": self.safety_threshold,
                }
                for harm in _HARMS
            ]
        return request


def system_instruction(messages: Sequence[str]) -> dict[str, Any]:
    """Return a request's or an example's systemInstruction."""
    return {"parts": [{"text": text} for text in messages]}


class GeminiEndpoint(RequestEndpoint):
    """A Gemini model; `id` identifies server, model, and its requests' fixed part."""

    def __init__(self, *, settings: GeminiSettings, calls: VertexCalls) -> None:
        self._settings = settings
        self._calls = calls
        self._most_candidates: int | None = None
        self._support = ParameterSupport()
        place = calls.base_url or PROVIDER
        self.id = f"{place} {settings.model}"
        if settings.digest:
            self.id += f"#{settings.digest}"

    @property
    def abilities(self) -> Abilities:
        """Responses don't repeat the name of a tuned model's endpoint."""
        name = None
        if "/" not in self._settings.model:
            name = self._settings.model
        return Abilities(
            model_name=name,
            parameter_values=self.parameter_values,
            converses=self.answer,
        )

    def parameter_values(self) -> Mapping[str, ParameterValues]:
        """Return the requested parameters and those that the server rejected."""
        return self._support.parameter_values()

    def answer(self, request: SampleRequest) -> Sequence[Completion]:
        """Return the request's completions; fewer if the model allows fewer per call.

        The first completion has the call's prompt tokens; its completion tokens,
        thoughts included, are divided evenly, so that both add up to Vertex AI's
        counts. A blocked prompt is withheld completions. A rejected parameter is
        omitted (`parameter_values`).
        """
        n = min(request.n, self._most_candidates or request.n)
        body = self._request(replace(request, n=n))
        call = f"models.generate_content (candidateCount = {n})"
        try:
            answer = self._generate(call, body, request)
        except RequestRejected as refused:
            if not self._adapts_to_rejection(refused, body["generationConfig"]):
                raise
        else:
            completions = read_completions(answer, n=n)
            if completions:
                return completions
            failing = CallErrorFactory(PROVIDER, self._settings.model, call)
            raise failing.unusable(
                "The response has no candidate",
                "check that Vertex AI serves this model",
            )
        # A rejected call cost nothing, so it is repeated in a form that the model
        # accepts.
        return self.answer(request)

    def _request(self, request: SampleRequest) -> dict[str, Any]:
        wanted = self._settings.wanted(request)
        kept = wanted.keys() & {"candidateCount", "maxOutputTokens"}
        always = {name: wanted[name] for name in kept}
        return self._settings.request(
            request,
            {**self._support.accepted(wanted), **always},
        )

    def _adapts_to_rejection(
        self, refused: RequestRejected, config: Mapping[str, Any]
    ) -> bool:
        """Tell whether the server rejected what can be lowered or omitted."""
        if refused.status != HTTPStatus.BAD_REQUEST:
            return False
        for name in refused.named:
            if name == "candidateCount" and (n := config.get(name, 1)) > 1:
                self._support.reject(name, n)
                self._most_candidates = 1
                if refused.most is not None and 1 <= refused.most < n:
                    self._most_candidates = refused.most
                return True
            if name != "candidateCount" and name in config:
                if name in self._settings.generation_config:
                    return False  # set by the suite
                self._support.reject(name, config[name])
                return True
        return False

    def _generate(
        self,
        call: str,
        body: dict[str, Any],
        request: SampleRequest,
    ) -> object:
        from google.genai import types

        def generate() -> object:
            answer = self._calls.vertex().models.generate_content(
                model=self._settings.model,
                contents=request.instruction,
                config=types.GenerateContentConfig(
                    # Request and response have the form of a batch, in any version of
                    # the API.
                    http_options=types.HttpOptions(extra_body=body),
                    should_return_http_response=True,
                    automatic_function_calling=types.AutomaticFunctionCallingConfig(
                        disable=True,
                    ),
                ),
            )
            if answer.sdk_http_response is None:
                return None
            return json_with_distinct_keys(answer.sdk_http_response.body or "null")

        texts = [*request.texts, *self._settings.system]
        return self._calls.ask(
            call,
            generate,
            endpoint=self._settings.model,
            texts=texts,
        )


def read_completions(answer: object, *, n: int) -> list[Completion]:
    """Return the completions in a GenerateContentResponse, by their candidates' index.

    Empty if `answer` has another form.

    n: the requested candidateCount; that many completions are withheld if the prompt
        was blocked, and empty if the response is billed without a candidate
    """
    if not isinstance(answer, Mapping):
        return []
    listed = as_list(answer.get("candidates"))[:MOST_CHOICES]
    candidates = [candidate for candidate in listed if isinstance(candidate, Mapping)]
    candidates.sort(key=_index)
    texts = [_text_and_reason(candidate) for candidate in candidates]
    usage = answer.get("usageMetadata")
    blocked = as_mapping(answer.get("promptFeedback")).get("blockReason")
    if not texts and blocked:
        texts = [("", FinishReason.CONTENT_FILTER)] * n
    elif not texts and isinstance(usage, Mapping):
        texts = [("", FinishReason.EMPTY)] * n
    prompt, total = _prompt_and_completion_tokens(usage)
    words = [server_name(candidate.get("finishReason")) for candidate in candidates]
    beside = [_texts_outside_answer(candidate) for candidate in candidates]
    if not candidates:
        words = [server_name(blocked)] * len(texts)
        beside = [[]] * len(texts)
    strays = [candidate for candidate in listed if not isinstance(candidate, Mapping)]
    others = {key: value for key, value in answer.items() if key != "candidates"}
    served = Served(
        model=server_name(answer.get("modelVersion")),
        response_id=server_name(answer.get("responseId")),
    )
    return completions_of(
        texts,
        words,
        beside,
        apart=texts_sent(strays) + texts_sent(others),
        prompt=prompt,
        total=total,
        served=served,
    )


def _index(candidate: Mapping[str, Any]) -> int:
    """Return a candidate's index; the API omits 0."""
    index = candidate.get("index")
    if not isinstance(index, int):
        return 0
    return index


def _text_and_reason(candidate: Mapping[str, Any]) -> tuple[str, FinishReason]:
    text = _text_of_answer_parts(candidate, thought=False)
    return text, finish_reason_of_answer(candidate.get("finishReason"), text)


def _texts_outside_answer(candidate: Mapping[str, Any]) -> list[str]:
    """Return thoughts, function calls, and all other text beside the answer."""
    rest = dict(candidate)
    content = as_mapping(candidate.get("content"))
    if content:
        parts = [_without_text(part) for part in as_list(content.get("parts"))]
        rest["content"] = {**content, "parts": parts}
    return [_text_of_answer_parts(candidate, thought=True), *texts_sent(rest)]


def _without_text(part: object) -> object:
    if not isinstance(part, Mapping):
        return part
    return {key: value for key, value in part.items() if key != "text"}


def _text_of_answer_parts(candidate: Mapping[str, Any], *, thought: bool) -> str:
    """Return the text of the answer's parts, or of the model's visible thoughts."""
    content = as_mapping(candidate.get("content"))
    texts = []
    for part in as_list(content.get("parts")):
        if not isinstance(part, Mapping):
            continue
        if bool(part.get("thought")) is thought:
            texts.append(str(part.get("text") or ""))
    return "".join(texts)


def _prompt_and_completion_tokens(usage: object) -> tuple[int | None, int | None]:
    """Return prompt and completion tokens; the usage omits a count of 0."""
    if not isinstance(usage, Mapping):
        return None, None
    prompt = token_count(usage.get("promptTokenCount", 0))
    answer = token_count(usage.get("candidatesTokenCount", 0))
    thoughts = token_count(usage.get("thoughtsTokenCount", 0))
    if answer is None or thoughts is None:
        return prompt, None
    return prompt, answer + thoughts
