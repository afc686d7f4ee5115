"""An endpoint that speaks Gemini's generateContent on Vertex AI."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_memleak.contracts.protocols import Completion
from pytest_memleak.errors import ProviderBusy
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, Calls, Refused
from pytest_memleak.records import FinishReason

if TYPE_CHECKING:
    from google.genai import Client

__all__ = ["GeminiEndpoint", "GeminiSettings", "read_completions"]

_SEED_BITS = 0x7FFF_FFFF
_HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_FINISH_REASONS = {
    "": FinishReason.STOP,
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,
    "RECITATION": FinishReason.RECITATION,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
}


@dataclass(frozen=True, slots=True)
class GeminiSettings:
    """What is said in every request to `model`, beside what is asked.

    model: an endpoint's resource name ("projects/.../endpoints/...") or a published model.
    thinking_budget: tokens a thinking model may think; they come on top of an answer's.
    safety_threshold: of every harm category; None leaves Vertex AI's own.
    generation_config: further fields of the request's generationConfig.
    """

    model: str
    system: str | None = field(default=None, repr=False)
    thinking_budget: int | None = None
    safety_threshold: str | None = None
    generation_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names all but the model; empty where nothing is set."""
        said = [
            self.system,
            self.thinking_budget,
            self.safety_threshold,
            dict(self.generation_config) or None,
        ]
        if not any(one is not None for one in said):
            return ""
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[
            :12
        ]

    def request(
        self, instruction: str, *, n: int, temperature: float, max_tokens: int, seed: int | None
    ) -> dict[str, Any]:
        """A GenerateContentRequest, in the API's own names."""
        thinking = self.thinking_budget
        config = {
            **self.generation_config,
            "candidateCount": n,
            "temperature": temperature,
            # Thoughts count against the limit: without room of their own they eat the answer.
            "maxOutputTokens": max_tokens + (thinking or 0),
            **({} if seed is None else {"seed": seed & _SEED_BITS}),
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

    def __init__(self, *, settings: GeminiSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        self._one_candidate_only = False
        place = calls.base_url or PROVIDER
        self.id = "#".join(part for part in (f"{place} {settings.model}", settings.digest) if part)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def sample(
        self, instruction: str, *, n: int, temperature: float, max_tokens: int, seed: int | None
    ) -> Sequence[Completion]:
        """Up to `n` completions; one where the model allows no more in one call.

        Prompt tokens stand with the first completion of a call; completion tokens, thoughts
        among them, are shared out evenly: both add up to what Vertex AI counted. A prompt that
        it blocks is `n` withheld completions.
        """
        asked = 1 if self._one_candidate_only else n
        request = self._settings.request(
            instruction, n=asked, temperature=temperature, max_tokens=max_tokens, seed=seed
        )
        call = f"models.generate_content (candidateCount = {asked})"
        try:
            answer = self._generate(call, request, instruction)
        except Refused as refused:
            if asked == 1 or not refused.too_many_candidates:
                raise
        else:
            completions = read_completions(answer, asked=asked)
            if completions:
                return completions
            raise ProviderBusy(
                "the answer holds no candidate",
                provider=PROVIDER,
                endpoint=self._settings.model,
                call=call,
            )
        # A refused call cost nothing; asked once more, in the way that the model accepts.
        self._one_candidate_only = True
        return self.sample(
            instruction, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed
        )

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
    candidates = [one for one in _list(answer.get("candidates")) if isinstance(one, Mapping)]
    candidates.sort(key=_index)
    said = [_text_and_reason(candidate) for candidate in candidates]
    usage = answer.get("usageMetadata")
    if not said and _mapping(answer.get("promptFeedback")).get("blockReason"):
        said = [("", FinishReason.CONTENT_FILTER)] * asked
    elif not said and isinstance(usage, Mapping):
        said = [("", FinishReason.EMPTY)] * asked
    prompt, total = _counts(usage)
    return [
        Completion(
            text,
            reason,
            prompt_tokens=None if prompt is None else prompt * (place == 0),
            completion_tokens=(
                None if total is None else (total + len(said) - 1 - place) // len(said)
            ),
        )
        for place, (text, reason) in enumerate(said)
    ]


def _index(candidate: Mapping[str, Any]) -> int:
    """The place of a candidate; 0 is left out."""
    index = candidate.get("index")
    return index if isinstance(index, int) else 0


def _text_and_reason(candidate: Mapping[str, Any]) -> tuple[str, FinishReason]:
    parts = _list(_mapping(candidate.get("content")).get("parts"))
    text = "".join(
        str(part.get("text") or "")
        for part in parts
        if isinstance(part, Mapping) and not part.get("thought")
    )
    # A reason that is not known here broke the answer off: whatever came is not complete.
    reason = _FINISH_REASONS.get(str(candidate.get("finishReason") or ""), FinishReason.EMPTY)
    if not reason.withheld and not text.strip():
        return text, FinishReason.EMPTY
    return text, reason


def _counts(usage: object) -> tuple[int | None, int | None]:
    """Prompt and completion tokens; a count of 0 is left out of the usage."""
    if not isinstance(usage, Mapping):
        return None, None
    counts = [
        value if isinstance(value := usage.get(name, 0), int) and value >= 0 else 0
        for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    ]
    return counts[0], counts[1] + counts[2]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
