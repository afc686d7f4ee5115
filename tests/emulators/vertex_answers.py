"""GenerateContentResponses as Vertex AI makes, checks and bills them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faults import FaultKind, Strike
from http_server import Books, Refused
from reciter import Answer, Reciter, count_tokens

CONFIG_FIELDS = frozenset(
    {
        "candidateCount",
        "frequencyPenalty",
        "maxOutputTokens",
        "presencePenalty",
        "seed",
        "stopSequences",
        "temperature",
        "thinkingConfig",
        "topK",
        "topP",
    }
)
REQUEST_FIELDS = frozenset(
    {"contents", "generationConfig", "labels", "safetySettings", "systemInstruction"}
)
INT32 = 2**31
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_WITHHELD = (
    (FaultKind.EMPTY, "STOP"),
    (FaultKind.FILTER, "SAFETY"),
    (FaultKind.RECITATION, "RECITATION"),
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A checked request. `thoughts`: tokens of each candidate that are thought and not said."""

    instruction: str
    n: int
    temperature: float
    max_tokens: int
    thoughts: int
    seed: int | None


class ContentGenerator:
    """Answers of the models called `models` (a set that grows), recorded in `books`.

    thinks: how many tokens a model thinks before it answers, unless its budget is smaller.
    """

    def __init__(
        self,
        *,
        reciter: Reciter,
        books: Books,
        models: Sequence[str],
        most_candidates: int,
        thinks: int,
        new_id: Callable[[], str],
    ) -> None:
        self.models = set(models)
        self._reciter = reciter
        self._books = books
        self._most_candidates = most_candidates
        self._thinks = thinks
        self._new_id = new_id

    def generate(
        self, model: str, body: Mapping[str, Any], strike: Strike, *, request: str | None
    ) -> dict[str, Any]:
        """The response that `body` asks for, recorded in the books.

        request: what names the call in the books, if anything does.
        """
        asked = self._checked(model, body)
        unknown = strike.content.get(FaultKind.REFUSE_PARAMETER)
        for name in (unknown.code or "").split() if unknown else ():
            if name in (body.get("generationConfig") or {}):
                raise Refused(400, f"Invalid value at 'generation_config.{name}'.")
        blocked = FaultKind.REJECT in strike.content
        answers = [] if blocked else self._answers(model, asked, strike)
        candidates = [_candidate(place, one, asked) for place, one in enumerate(answers)]
        _withhold(candidates, strike)
        call, prompt_tokens = self._new_id(), count_tokens(asked.instruction)
        # A blocked prompt has no candidates; each that was asked for has a row all the same.
        rows = [
            (_visible(candidate), candidate["finishReason"], one.tokens + asked.thoughts)
            for candidate, one in zip(candidates, answers, strict=True)
        ] or [("", "PROHIBITED_CONTENT", 0)] * asked.n
        self._books.record_all(
            "completion",
            [
                {
                    "call": call,
                    "choice": place,
                    "request": request,
                    "model": model,
                    "instruction": asked.instruction,
                    "text": text,
                    "finish_reason": reason,
                    "prompt_tokens": prompt_tokens if place == 0 else 0,
                    "completion_tokens": tokens,
                    "temperature": asked.temperature,
                    "max_tokens": asked.max_tokens,
                    "seed": asked.seed,
                }
                for place, (text, reason, tokens) in enumerate(rows)
            ],
        )
        said, thought = sum(one.tokens for one in answers), asked.thoughts * len(answers)
        usage = {
            "promptTokenCount": prompt_tokens,
            "candidatesTokenCount": said,
            "thoughtsTokenCount": thought,
            "totalTokenCount": prompt_tokens + said + thought,
        }
        return {
            **({"candidates": candidates} if candidates else {}),
            **({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}} if blocked else {}),
            # As everywhere in this API, what is 0 is left out.
            "usageMetadata": {name: count for name, count in usage.items() if count},
            "modelVersion": "another-model-2" if FaultKind.REROUTE in strike.content else model,
            "responseId": call,
        }

    def _answers(self, model: str, asked: _Asked, strike: Strike) -> list[Answer]:
        greedy = FaultKind.GREEDY in strike.content
        n = 1 if FaultKind.IGNORE_N in strike.content else asked.n
        room = asked.max_tokens - asked.thoughts
        if room <= 0:
            return [Answer("", 0, ended=False)] * n
        return self._reciter.answer(
            model,
            asked.instruction,
            n=1 if greedy else n,
            temperature=0 if greedy else asked.temperature,
            max_tokens=room,
            seed=asked.seed,
        ) * (n if greedy else 1)

    def _checked(self, model: str, body: Mapping[str, Any]) -> _Asked:
        """What is asked for; refuses what Vertex AI refuses."""
        if model not in self.models:
            raise Refused(404, f"Publisher Model or endpoint `{model}` was not found.")
        config = body.get("generationConfig") or {}
        for unknown in (body.keys() - REQUEST_FIELDS) | (config.keys() - CONFIG_FIELDS):
            raise Refused(400, f'Invalid JSON payload received. Unknown name "{unknown}".')
        _check_labels(body.get("labels") or {})
        n, seed = config.get("candidateCount", 1), config.get("seed")
        if not 1 <= n <= self._most_candidates:
            raise Refused(
                400,
                f"Unable to submit request because it has a candidateCount value of {n} but the "
                f"supported range is from 1 (inclusive) to {self._most_candidates + 1} "
                "(exclusive). Update the value and try again.",
            )
        if seed is not None and not -INT32 <= seed < INT32:
            raise Refused(400, "Invalid value at 'generation_config.seed' (TYPE_INT32)")
        temperature, max_tokens = config.get("temperature", 1.0), config.get("maxOutputTokens", 700)
        if not 0 <= temperature <= 2 or max_tokens < 1:
            raise Refused(400, "Unable to submit request: temperature or maxOutputTokens.")
        budget = (config.get("thinkingConfig") or {}).get("thinkingBudget", self._thinks)
        return _Asked(
            instruction=_instruction(body),
            n=n,
            temperature=temperature,
            max_tokens=max_tokens,
            thoughts=min(self._thinks, budget, max_tokens),
            seed=seed,
        )


def _instruction(body: Mapping[str, Any]) -> str:
    system = body.get("systemInstruction") or {"parts": []}
    try:
        spoken = [system, *(one for one in body["contents"] if one["role"] == "user")]
        texts = [part["text"] for content in spoken for part in content["parts"]]
    except (KeyError, TypeError):
        raise Refused(400, "Unable to submit request: contents.") from None
    if not texts:
        raise Refused(400, "Unable to submit request because it must have a text parameter.")
    return "\n".join(texts)


def _check_labels(labels: Mapping[str, str]) -> None:
    for name, value in labels.items():
        if not (_LABEL.fullmatch(name) and _LABEL_VALUE.fullmatch(value)) or len(labels) > 64:
            raise Refused(400, f"Label {name!r} is not valid.")


def _candidate(index: int, answer: Answer, asked: _Asked) -> dict[str, Any]:
    thoughts = [{"text": "Let me think.", "thought": True}] if asked.thoughts else []
    parts = [*thoughts, {"text": answer.text}] if answer.text else []
    return {
        **({"index": index} if index else {}),
        "content": {"role": "model", **({"parts": parts} if parts else {})},
        "finishReason": "STOP" if answer.ended else "MAX_TOKENS",
    }


def _withhold(candidates: list[dict[str, Any]], strike: Strike) -> None:
    """Take the text out of the candidates that a fault of content strikes."""
    for kind, reason in _WITHHELD:
        fault = strike.content.get(kind)
        struck = math.ceil(fault.share * len(candidates)) if fault else 0
        for candidate in candidates[:struck]:
            candidate.pop("content", None)
            candidate["finishReason"] = reason


def _visible(candidate: Mapping[str, Any]) -> str:
    parts = candidate.get("content", {}).get("parts", [])
    return "".join(part["text"] for part in parts if not part.get("thought"))
