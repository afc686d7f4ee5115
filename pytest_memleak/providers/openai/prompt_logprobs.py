"""The log-probabilities of a prompt's tokens, from servers of OpenAI's completions.

A server may repeat the prompt with them (`echo`), or list them beside the completion
(`prompt_logprobs`, vLLM). Others ignore both, and answer with those of the one token
that they wrote: that is an error, never a number.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pytest_memleak.interfaces.abilities import TokenLogprobs
from pytest_memleak.providers.call_errors import Failing, Refused
from pytest_memleak.providers.openai.api_forms import FORMS
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.openai.token_places import token_places
from pytest_memleak.providers.response_fields import as_list, as_mapping

# One token, since some servers reject 0, and others never return.
_SHORTEST = {"max_tokens": 1}
_WAYS: Mapping[str, Mapping[str, Any]] = {
    "echo": {"echo": True, "logprobs": 1},
    "prompt_logprobs": {"prompt_logprobs": 0},
}
_REJECTIONS = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.NOT_IMPLEMENTED,
}
_OTHER_WAYS = 'test the weights with provider = "transformers", or serve them by vLLM'
_FEWEST = 2  # of an echo: one token of the prompt, and the one that was written
_ROUNDING = 1e-3  # of servers, above the logarithm of 1


class PromptLogprobs:
    """The log-probabilities that one model's server gives, by the way that it knows.

    The first call tries each way in turn; the others use the one that worked.
    """

    def __init__(
        self,
        calls: OpenAICalls,
        model: str,
        extra_body: Mapping[str, Any],
    ) -> None:
        self._calls = calls
        self._model = model
        self._extra_body = extra_body
        self._way: str | None = None
        self._why_not: str | None = None
        self._lock = threading.Lock()

    def of_texts(self, texts: Sequence[str]) -> list[TokenLogprobs]:
        """Return each text's tokens. Raises ProviderError where the server has none."""
        return [self._of_text(text) for text in texts]

    def _of_text(self, text: str) -> TokenLogprobs:
        if self._way is None:
            with self._lock:
                if self._way is None:
                    return self._by_first_way_that_works(text)
        tokens = _prompt_tokens(self._ask(self._way, text), text)
        if tokens is None:
            raise self._failing(text).unusable(
                f"The server ignores {self._way}, which it knew before",
            )
        return _in_text(tokens, text)

    def _by_first_way_that_works(self, text: str) -> TokenLogprobs:
        if self._why_not is not None:
            raise self._failing(text).final(self._why_not, _OTHER_WAYS)
        outcomes = []
        is_billed = False
        for way in _WAYS:
            try:
                tokens = _prompt_tokens(self._ask(way, text), text)
            except Refused as refused:
                if refused.status not in _REJECTIONS:
                    raise
                outcomes.append(f"rejects {way} ({refused.status})")
                continue
            if tokens is not None:
                self._way = way
                return _in_text(tokens, text)
            is_billed = True
            outcomes.append(f"ignores {way}")
        server = self._calls.base_url
        self._why_not = (
            f"{server} gives no log-probabilities of a prompt: it "
            f"{' and '.join(outcomes)}"
        )
        failure = self._failing(text).final(self._why_not, _OTHER_WAYS)
        failure.in_doubt = is_billed
        raise failure

    def _ask(self, way: str, text: str) -> Mapping[str, Any]:
        """Return the first choice of a completion."""
        form = FORMS["completions"]
        answer = self._calls.ask_json(
            form.call,
            form.path,
            {
                "model": self._model,
                "prompt": text,
                **_SHORTEST,
                **_WAYS[way],
                **self._extra_body,
            },
            endpoint=self._model,
            texts=(text,),
        )
        choices = as_list(as_mapping(answer).get("choices"))
        if not choices:
            raise self._failing(text).unusable("The response has no completion")
        return as_mapping(choices[0])

    def _failing(self, text: str) -> Failing:
        call = FORMS["completions"].call
        return Failing(self._calls.provider, self._model, call, (text,))


_Token = tuple[str | None, float | None]


def _prompt_tokens(choice: Mapping[str, Any], text: str) -> list[_Token] | None:
    """Return the prompt's tokens, perhaps with more; None if the server has none."""
    listed = as_list(choice.get("prompt_logprobs"))
    if listed:
        ids = as_list(choice.get("prompt_token_ids"))
        return [_listed_token(row, number, ids) for number, row in enumerate(listed)]
    repeated = choice.get("text")
    if not isinstance(repeated, str):
        return None
    if not _without_blanks(repeated).startswith(_without_blanks(text)):
        return None
    echoed = as_mapping(choice.get("logprobs"))
    tokens = as_list(echoed.get("tokens"))
    logprobs = as_list(echoed.get("token_logprobs"))
    if len(tokens) < _FEWEST or len(tokens) != len(logprobs):
        return None
    return [
        (str(token), _number(logprob))
        for token, logprob in zip(tokens, logprobs, strict=True)
    ]


def _without_blanks(text: str) -> str:
    return "".join(text.split())


def _listed_token(row: object, number: int, ids: Sequence[Any]) -> _Token:
    """Return a position's own token, among the likeliest ones beside it.

    The first of a prompt has none.
    """
    candidates = as_mapping(row)
    entry: object = None
    if len(candidates) == 1:
        (entry,) = candidates.values()
    elif number < len(ids):
        entry = candidates.get(str(ids[number]))
    fields = as_mapping(entry)
    token = fields.get("decoded_token")
    name = token if isinstance(token, str) else None
    return name, _number(fields.get("logprob"))


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if math.isnan(value) or value > _ROUNDING:
        return None
    return float(value)


def _in_text(tokens: Sequence[_Token], text: str) -> TokenLogprobs:
    """Return the tokens that are the text's; none where they can't be found in it."""
    places = token_places([token for token, _ in tokens], text)
    if places is None:
        return TokenLogprobs()
    starts = []
    logprobs = []
    for place, (_, logprob) in zip(places, tokens, strict=True):
        if place is not None:
            starts.append(place)
            logprobs.append(logprob)
    if len(logprobs) > _FEWEST and len(set(logprobs[1:])) == 1:
        return TokenLogprobs()  # a placeholder
    return TokenLogprobs(tuple(starts), tuple(logprobs))
