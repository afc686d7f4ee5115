r"""The log-probabilities of a prompt's tokens, from servers of OpenAI's completions.

A server may repeat the prompt with them (`echo`), or list them beside the completion
(`prompt_logprobs`, vLLM). Others ignore both, and answer with those of the one token
that they wrote: that is an error, never a number.

Servers write tokens in several ways: with a first space that the text lacks, "▁" for a
space, begin-of-text before all, "\ufffd" or nothing for a part of a character, and what
the model wrote after the text. Their own offsets count these as text, so tokens are
looked for in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pytest_memleak.interfaces.abilities import TokenLogprobs
from pytest_memleak.providers.call_errors import CallErrorFactory, RequestRejected
from pytest_memleak.providers.openai.api_forms import FORMS
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.response_fields import as_list, as_mapping

# One token is written, since some servers reject 0, and others never return.
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "echo": {"echo": True, "logprobs": 1, "max_tokens": 1},
    "prompt_logprobs": {"prompt_logprobs": 0, "max_tokens": 1},
}
_REJECTIONS = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.NOT_IMPLEMENTED,
}
_OTHER_WAYS = 'test the weights with provider = "transformers", or serve them by vLLM'
_ROUNDING = 1e-3  # of servers, above the logarithm of 1
_PART_OF_CHARACTER = "\ufffd"
_LONGEST_TOKEN = 40  # in characters, of a first one without a name

_Token = tuple[str | None, float | None]


class PromptLogprobs:
    """The log-probabilities that one model's server gives.

    Calls try each way in turn, until one works.
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
        self._ways = tuple(_PARAMETERS)

    def of_texts(self, texts: Sequence[str]) -> list[TokenLogprobs]:
        """Return each text's tokens. Raises ProviderError where the server has none."""
        return [self._of_text(text) for text in texts]

    def _of_text(self, text: str) -> TokenLogprobs:
        outcomes = []
        is_billed = False
        for way in self._ways:
            try:
                tokens = _prompt_tokens(self._first_choice(way, text))
            except RequestRejected as refused:
                if refused.moderated:
                    return TokenLogprobs()
                if refused.status not in _REJECTIONS:
                    raise
                outcomes.append(f"rejects {way} ({refused.cause})")
                continue
            if tokens:
                self._ways = (way,)
                return tokens_in_text(tokens, text)
            outcomes.append(f"ignores {way}")
            is_billed = True
        failure = self._error_factory(text).final(
            f"{self._calls.base_url} gives no log-probabilities of a prompt: it "
            f"{' and '.join(outcomes)}",
            _OTHER_WAYS,
        )
        failure.in_doubt = is_billed
        raise failure

    def _first_choice(self, way: str, text: str) -> Mapping[str, Any]:
        form = FORMS["completions"]
        body = {"model": self._model, "prompt": text, **_PARAMETERS[way]}
        answer = self._calls.request_json(
            form.call,
            form.path,
            {**body, **self._extra_body},
            endpoint=self._model,
            texts=(text,),
        )
        choices = as_list(as_mapping(answer).get("choices"))
        if not choices:
            raise self._error_factory(text).unusable("The response has no completion")
        return as_mapping(choices[0])

    def _error_factory(self, text: str) -> CallErrorFactory:
        call = FORMS["completions"].call
        return CallErrorFactory(self._calls.provider, self._model, call, (text,))


def _prompt_tokens(choice: Mapping[str, Any]) -> list[_Token]:
    """Return the prompt's tokens, perhaps with the one that was written.

    Returns none where the server gives nothing but that one. The first of
    `prompt_logprobs` has no name, since nothing is before it.
    """
    echoed = as_mapping(choice.get("logprobs"))
    names = as_list(echoed.get("tokens"))
    logprobs = as_list(echoed.get("token_logprobs"))
    if len(names) > 1 and len(names) == len(logprobs):
        return [
            (str(name), _logprob(logprob))
            for name, logprob in zip(names, logprobs, strict=True)
        ]
    tokens: list[_Token] = []
    for candidates in as_list(choice.get("prompt_logprobs")):
        fields = as_mapping(next(iter(as_mapping(candidates).values()), None))
        name = str(fields.get("decoded_token", "")) if fields else None
        tokens.append((name, _logprob(fields.get("logprob"))))
    return tokens


def _logprob(value: object) -> float | None:
    if isinstance(value, int | float) and value <= _ROUNDING:
        return float(value)
    return None  # no number, or NaN


def tokens_in_text(tokens: Sequence[_Token], text: str) -> TokenLogprobs:
    """Return where the text's tokens begin in it; none if they aren't all found.

    tokens: their names, perhaps without that of the first, and log-probabilities
    """
    if not tokens or tokens[0][0] is not None:
        return _named_tokens_in_text(tokens, text)
    (_, logprob), *others = tokens
    in_text = _named_tokens_in_text(others, text)  # behind begin of text
    for length in range(1, _LONGEST_TOKEN):
        if in_text.starts:
            break
        in_text = _named_tokens_in_text([(text[:length], logprob), *others], text)
    return in_text


def _named_tokens_in_text(tokens: Sequence[_Token], text: str) -> TokenLogprobs:
    starts: list[int] = []
    logprobs: list[float | None] = []
    end = 0  # of the last whole token
    slack = 0  # characters behind it that parts of characters may stand for
    for name, logprob in tokens:
        token = (name or "").replace("▁", " ")
        if end == len(text):
            break
        place = end
        if not token or _PART_OF_CHARACTER in token:
            slack += max(1, len(token))
        else:
            place = text.find(token, end, end + slack + len(token))
            if place < 0 and end == 0 and text.startswith(token.removeprefix(" ")):
                place, token = 0, token.removeprefix(" ")
            if place < 0 and not starts:
                continue  # begin of text
            if place < 0:
                break
            end = place + len(token)
            slack = 0
        starts.append(place)
        logprobs.append(logprob)
    if len(text) - end > slack:
        return TokenLogprobs()
    return TokenLogprobs(tuple(starts), tuple(logprobs))
