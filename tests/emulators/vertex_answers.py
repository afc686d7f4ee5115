"""GenerateContentResponses as Vertex AI makes, checks and bills them."""

from types import SimpleNamespace

from faults import FaultKind
from http_server import RequestRejected
from reciter import Completions, count_tokens

from pytest_memleak.providers.ngram.ngram_writer import Draft

CONFIG_FIELDS = {
    *(
        "candidateCount",
        "frequencyPenalty",
        "maxOutputTokens",
        "presencePenalty",
        "seed",
    ),
    *("stopSequences", "temperature", "thinkingConfig", "topK", "topP"),
}
REQUEST_FIELDS = {
    "contents",
    "generationConfig",
    "labels",
    "safetySettings",
    "systemInstruction",
}
INT32 = 2**31
_WITHHELD = (
    (FaultKind.EMPTY, "STOP"),
    (FaultKind.FILTER, "SAFETY"),
    (FaultKind.RECITATION, "RECITATION"),
)


class ContentGenerator(Completions):
    """thinks: how many tokens a model thinks before it answers, unless its budget is smaller."""

    def __init__(self, *, thinks, **common):
        super().__init__(**common)
        self._thinks = thinks

    def generate(self, model, body, strike, *, request):
        """The response that `body` asks for, recorded in the books under the name `request`."""
        settings = self._checked(model, body)
        for name in strike.parameters():
            if name in (body.get("generationConfig") or {}):
                raise RequestRejected(
                    400, f"Invalid value at 'generation_config.{name}'."
                )
        blocked = FaultKind.REJECT in strike.content
        answers = [] if blocked else self._answers(model, settings, strike)
        candidates = [
            _candidate(place, answer, settings) for place, answer in enumerate(answers)
        ]
        for kind, reason in _WITHHELD:
            for candidate in strike.struck(kind, candidates):
                candidate.pop("content", None)
                candidate["finishReason"] = reason
        call, prompt_tokens = self._new_id(""), count_tokens(settings.instruction)
        # A blocked prompt has no candidates; each that was asked for has a row all the
        # same.
        rows = [
            (
                _visible(candidate),
                candidate["finishReason"],
                answer.tokens + settings.thoughts,
            )
            for candidate, answer in zip(candidates, answers, strict=True)
        ] or [("", "PROHIBITED_CONTENT", 0)] * settings.n
        named = {
            "call": call,
            "request": request,
            "model": model,
            "seed": settings.seed,
        }
        named |= {
            "instruction": settings.instruction,
            "temperature": settings.temperature,
        }
        self.bill(rows, prompt_tokens, {**named, "max_tokens": settings.max_tokens})
        usage = {
            "promptTokenCount": prompt_tokens,
            "candidatesTokenCount": sum(answer.tokens for answer in answers),
            "thoughtsTokenCount": settings.thoughts * len(answers),
        }
        return {
            **({"candidates": candidates} if candidates else {}),
            **(
                {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
                if blocked
                else {}
            ),
            # As everywhere in this API, what is 0 is left out.
            "usageMetadata": {name: count for name, count in usage.items() if count},
            "modelVersion": "another-model-2"
            if FaultKind.REROUTE in strike.content
            else model,
            "responseId": call,
        }

    def _answers(self, model, asked, strike):
        room = asked.max_tokens - asked.thoughts
        if room <= 0:
            return [Draft("", 0, ended=False)] * asked.n
        settings = {"n": asked.n, "temperature": asked.temperature, "seed": asked.seed}
        return self.draw(model, asked.instruction, strike, max_tokens=room, **settings)

    def _checked(self, model, body):
        if model not in self.models:
            raise RequestRejected(
                404, f"Publisher Model or endpoint `{model}` was not found."
            )
        config = body.get("generationConfig") or {}
        for unknown in (body.keys() - REQUEST_FIELDS) | (config.keys() - CONFIG_FIELDS):
            raise RequestRejected(
                400, f'Invalid JSON payload received. Unknown name "{unknown}".'
            )
        n, seed = config.get("candidateCount", 1), config.get("seed")
        if not 1 <= n <= self._most:
            raise RequestRejected(
                400,
                "Unable to submit request because it has a candidateCount value of "
                f"{n} but the "
                f"supported range is from 1 (inclusive) to {self._most + 1} "
                "(exclusive). Update the value and try again.",
            )
        if seed is not None and not -INT32 <= seed < INT32:
            raise RequestRejected(
                400, "Invalid value at 'generation_config.seed' (TYPE_INT32)"
            )
        temperature, max_tokens = (
            config.get("temperature", 1.0),
            config.get("maxOutputTokens", 700),
        )
        budget = (config.get("thinkingConfig") or {}).get(
            "thinkingBudget", self._thinks
        )
        # Of each candidate, so many tokens are thought and not said.
        thoughts = min(self._thinks, budget, max_tokens)
        settings = {
            "instruction": _instruction(body),
            "n": n,
            "temperature": temperature,
        }
        return SimpleNamespace(
            **settings, max_tokens=max_tokens, thoughts=thoughts, seed=seed
        )


def _instruction(body):
    system = body.get("systemInstruction") or {"parts": []}
    spoken = [
        system,
        *(content for content in body["contents"] if content["role"] == "user"),
    ]
    return "\n".join(part["text"] for content in spoken for part in content["parts"])


def _candidate(index, answer, asked):
    thoughts = [{"text": "Let me think.", "thought": True}] if asked.thoughts else []
    parts = [*thoughts, {"text": answer.text}] if answer.text else []
    return {
        **({"index": index} if index else {}),
        "content": {"role": "model", **({"parts": parts} if parts else {})},
        "finishReason": "STOP" if answer.ended else "MAX_TOKENS",
    }


def _visible(candidate):
    parts = candidate.get("content", {}).get("parts", [])
    return "".join(part["text"] for part in parts if not part.get("thought"))
