"""An endpoint that speaks Gemini's generateContent on Vertex AI."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pytest_memleak.interfaces.abilities import Abilities, Obeyed
from pytest_memleak.interfaces.protocols import Completion, SampleRequest, Served
from pytest_memleak.providers.call_errors import Failing, Refused
from pytest_memleak.providers.openai.choices import (
    MOST_CHOICES,
    as_mapping,
    shared_out,
    token_count,
)
from pytest_memleak.providers.openai.server_parameters import ParameterSupport
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, VertexCalls
from pytest_memleak.records import FinishReason
from pytest_memleak.records.generation import finish_reason
from pytest_memleak.records.reasoning_and_tool_calls import texts_in, without_answer

if TYPE_CHECKING:
    from google.genai import Client

_LONGEST_NAME = 200
_SEED_BITS = 0x7FFF_FFFF
_HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")


@dataclass(frozen=True, slots=True)
class GeminiSettings:
    """What is said in every request to `model`, beside what is asked.

    model: an endpoint's resource name ("projects/.../endpoints/...") or a published model.
    thinking_budget: tokens a thinking model may think; they come on top of an answer's.
    safety_threshold: of every harm category; None leaves Vertex AI's own.
    generation_config: further fields of the request's generationConfig.
    plain: whether the model's own distribution is asked for (topP 1).
    """

    model: str
    system: str | None = field(default=None, repr=False)
    thinking_budget: int | None = None
    safety_threshold: str | None = None
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = True

    @property
    def digest(self) -> str:
        """Names all but the model; empty where nothing is set."""
        settings: list[object] = [
            self.system,
            self.thinking_budget,
            self.safety_threshold,
            dict(self.generation_config) or None,
        ]
        if self.plain and not any(value is not None for value in settings):
            return ""
        settings += [] if self.plain else ["server"]
        return hashlib.sha256(
            json.dumps(settings, sort_keys=True, default=str).encode()
        ).hexdigest()[:12]

    def wanted(self, request: SampleRequest) -> dict[str, Any]:
        """What is asked of how to sample, in the API's own names; None where nothing is."""
        given = {name.replace("_", "").lower() for name in self.generation_config}
        return {
            "candidateCount": request.n,
            "temperature": request.temperature,
            # Thoughts count against the limit: without room of their own they eat the answer.
            "maxOutputTokens": request.max_tokens + (self.thinking_budget or 0),
            "seed": None if request.seed is None else request.seed & _SEED_BITS,
            "topP": 1.0 if self.plain and "topp" not in given else None,
        }

    def request(self, instruction: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A GenerateContentRequest; `said` is what of `wanted` is sent."""
        thinking = self.thinking_budget
        config = {
            **self.generation_config,
            **parameters,
            **({} if thinking is None else {"thinkingConfig": {"thinkingBudget": thinking}}),
        }
        request: dict[str, Any] = {
            "contents": [{"role": "user", "parts": [{"text": instruction}]}],
            "generationConfig": config,
        }
        if self.system is not None:
            request["systemInstruction"] = {"parts": [{"text": self.system}]}
        if self.safety_threshold is not None:
            request["safetySettings"] = [
                {"category": f"HARM_CATEGORY_{harm}", "threshold": self.safety_threshold}
                for harm in _HARMS
            ]
        return request


class GeminiEndpoint:
    """A Gemini model; `id` names server, model and what is said in every request."""

    def __init__(self, *, settings: GeminiSettings, calls: VertexCalls) -> None:
        self._settings = settings
        self._calls = calls
        self._most_candidates: int | None = None
        self._obedience = ParameterSupport()
        place = calls.base_url or PROVIDER
        self.id = "#".join(part for part in (f"{place} {settings.model}", settings.digest) if part)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @property
    def abilities(self) -> Abilities:
        """A tuned model's endpoint is no name that answers bear."""
        model = self._settings.model
        return Abilities(model_name=None if "/" in model else model, obeyed=self.obeyed)

    def obeyed(self) -> Mapping[str, Obeyed]:
        """What was asked of how to sample, and what of it was refused."""
        return self._obedience.obeyed

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion]:
        """Up to `n` completions; fewer where the model allows no more in one call.

        Prompt tokens stand with the first completion of a call; completion tokens, thoughts
        among them, are shared out evenly: both add up to what Vertex AI counted. A prompt that
        it blocks is `n` withheld completions. What it refuses of how to sample is left out.
        """
        return self._draw(SampleRequest("", instruction, n, temperature, max_tokens, seed))

    def _draw(self, request: SampleRequest) -> Sequence[Completion]:
        asked = min(request.n, self._most_candidates or request.n)
        body = self._request(replace(request, n=asked))
        call = f"models.generate_content (candidateCount = {asked})"
        try:
            answer = self._generate(call, body, request.instruction)
        except Refused as refused:
            if not self._learns(refused, body["generationConfig"]):
                raise
        else:
            completions = read_completions(answer, asked=asked)
            if completions:
                return completions
            failing = Failing(PROVIDER, self._settings.model, call)
            raise failing.busy("The answer has no candidate")
        # A refused call cost nothing; asked once more, in the way that the model accepts.
        return self._draw(request)

    def _request(self, request: SampleRequest) -> dict[str, Any]:
        wanted = self._settings.wanted(request)
        always = {"candidateCount": request.n, "maxOutputTokens": wanted["maxOutputTokens"]}
        return self._settings.request(
            request.instruction, {**self._obedience.ask(wanted), **always}
        )

    def _learns(self, refused: Refused, config: Mapping[str, Any]) -> bool:
        """Whether the refusal is about how it was asked, and there is another way to ask."""
        if refused.status != HTTPStatus.BAD_REQUEST:
            return False
        for name in refused.named:
            if name == "candidateCount" and (n := config[name]) > 1:
                most = refused.most
                self._obedience.refuse(name, n)
                self._most_candidates = most if most is not None and 1 <= most < n else 1
                return True
            if name != "candidateCount" and name in config:
                if name in self._settings.generation_config:
                    return False  # the suite's own word
                self._obedience.refuse(name, config[name])
                return True
        return False

    def _generate(self, call: str, request: dict[str, Any], instruction: str) -> object:
        from google.genai import types

        def generate(client: Client) -> object:
            answer = client.models.generate_content(
                model=self._settings.model,
                contents=instruction,
                config=types.GenerateContentConfig(
                    # The request goes as it stands in a batch, and the answer comes as it
                    # stands there: one way to write, one to read, in any version of the API.
                    http_options=types.HttpOptions(extra_body=request),
                    should_return_http_response=True,
                    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
                ),
            )
            body = answer.sdk_http_response.body if answer.sdk_http_response else None
            return json.loads(body or "null")

        system = self._settings.system
        texts = (instruction, system) if system else (instruction,)
        return self._calls.ask(call, generate, endpoint=self._settings.model, texts=texts)


# --- answers -------------------------------------------------------------------------------


def read_completions(answer: object, *, asked: int) -> list[Completion]:
    """The completions in a GenerateContentResponse, in the order of its candidates.

    asked: the candidateCount of the request; so many are withheld where the prompt was blocked,
    and empty where the model was billed and gave no candidate. Empty list if `answer` is no
    such response.
    """
    if not isinstance(answer, Mapping):
        return []
    listed = _list(answer.get("candidates"))[:MOST_CHOICES]
    candidates = [candidate for candidate in listed if isinstance(candidate, Mapping)]
    candidates.sort(key=_index)
    texts = [_text_and_reason(candidate) for candidate in candidates]
    usage = answer.get("usageMetadata")
    if not texts and as_mapping(answer.get("promptFeedback")).get("blockReason"):
        texts = [("", FinishReason.CONTENT_FILTER)] * asked
    elif not texts and isinstance(usage, Mapping):
        texts = [("", FinishReason.EMPTY)] * asked
    prompt, total = _counts(usage)
    words = [_name(candidate.get("finishReason")) for candidate in candidates]
    blocked = _name(as_mapping(answer.get("promptFeedback")).get("blockReason"))
    # Of no candidate, so that nobody can say of which: it stands with the first.
    apart = texts_in([candidate for candidate in listed if not isinstance(candidate, Mapping)])
    apart += texts_in({key: value for key, value in answer.items() if key != "candidates"})
    beside = [_beside(candidate) for candidate in candidates] or [[]] * len(texts)
    served = Served(
        model=_name(answer.get("modelVersion")), response_id=_name(answer.get("responseId"))
    )
    return [
        Completion(
            text,
            reason,
            prompt_tokens=None if prompt is None else prompt * (place == 0),
            completion_tokens=tokens,
            finish_word=words[place] if words else blocked,
            served=served,
            reasoning=without_answer([*beside[place], *(apart if place == 0 else ())], text),
        )
        for place, ((text, reason), tokens) in enumerate(
            zip(texts, shared_out(total, len(texts)), strict=True)
        )
    ]


def _index(candidate: Mapping[str, Any]) -> int:
    """The place of a candidate; 0 is left out."""
    index = candidate.get("index")
    return index if isinstance(index, int) else 0


def _text_and_reason(candidate: Mapping[str, Any]) -> tuple[str, FinishReason]:
    text = _parts(candidate, thought=False)
    reason = finish_reason(_name(candidate.get("finishReason")))
    if not reason.withheld and not text.strip():
        return text, FinishReason.EMPTY
    return text, reason


def _beside(candidate: Mapping[str, Any]) -> list[str]:
    """Thoughts, calls of functions and all else that was written beside the answer."""
    content = as_mapping(candidate.get("content"))
    parts = [
        {key: value for key, value in part.items() if key != "text"}
        if isinstance(part, Mapping)
        else part
        for part in _list(content.get("parts"))
    ]
    rest = {"content": {**content, "parts": parts}} if content else {}
    return [_parts(candidate, thought=True), *texts_in({**candidate, **rest})]


def _parts(candidate: Mapping[str, Any], *, thought: bool) -> str:
    """The text of an answer's parts, or of the thoughts that the model shows."""
    parts = _list(as_mapping(candidate.get("content")).get("parts"))
    return "".join(
        str(part.get("text") or "")
        for part in parts
        if isinstance(part, Mapping) and bool(part.get("thought")) is thought
    )


def _counts(usage: object) -> tuple[int | None, int | None]:
    """Prompt and completion tokens; a count of 0 is left out of the usage."""
    if not isinstance(usage, Mapping):
        return None, None
    prompt, answer, thoughts = (
        token_count(usage.get(name, 0))
        for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )
    return prompt, None if answer is None or thoughts is None else answer + thoughts


def _name(value: object) -> str | None:
    """A word of the server's, in one line of bounded length."""
    return " ".join(str(value)[:_LONGEST_NAME].split()) if value is not None else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
