"""Log-probabilities of given tokens from servers that take and give them by number (vLLM).

    POST completions  {"prompt": [IDS], "prompt_logprobs": K, "return_token_ids": true}

No text has to be matched, and the K likeliest tokens stand beside each of the text's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pytest_memleak.errors import ProviderError, TopKUnavailable
from pytest_memleak.interfaces.protocols import Window, WindowLogs
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.openai.openai_client import OpenAICalls

SHORT = "The"
"""Any text, to see what begins one."""

_CALL = "completions.create (prompt_logprobs)"
_COMPLAINTS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})


class NumberedTokens:
    """Asks `model` at one server; `sent` is its name in requests, `begin` what begins a text."""

    def __init__(self, model: str, calls: OpenAICalls, *, sent: str) -> None:
        self._model = model
        self._sent = sent
        self._calls = calls
        self._begin: list[int] = []

    def is_supported(self) -> bool:
        """Whether the server tells numbers; what begins a text is known by then."""
        try:
            bare = self._numbers(SHORT, special=False)
            whole = bare and self._numbers(SHORT, special=True)
        except Refused:
            return False  # it does not take the fields
        if not bare or not whole:
            return False
        self._begin = begin_of(whole, bare)
        return True

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, without any that mark its beginning or end."""
        tokens = self._numbers(text, special=False)
        if tokens is None:
            raise self._lacking("The answer lacks the prompt's token_ids")
        return tokens

    def log_probabilities(self, window: Window) -> list[float]:
        """Of every token of the suffix, after the prefix; see `Probabilities`."""
        return [self._told(entry, token) for token, entry in self._entries(window, 0)]

    def top_k_log_probabilities(
        self, window: Window, *, top_k: int, temperature: float
    ) -> WindowLogs:
        """Those, and the same among the likeliest; see `Probabilities`."""
        try:
            entries = self._entries(window, top_k)
        except Refused as refused:
            if refused.status not in _COMPLAINTS:
                raise
            cause = f"The server rejects prompt_logprobs = {top_k}: {refused.cause}"
            raise self._too_few(cause) from None
        plain, among = [], []
        for token, entry in entries:
            plain.append(self._told(entry, token))
            among.append(self._in_top_k(entry, token, top_k=top_k, temperature=temperature))
        return WindowLogs(plain, among)

    def _entries(self, window: Window, likeliest: int) -> list[tuple[int, object]]:
        """Each token of the suffix, with what is told of its place."""
        asked = [*self._begin, *map(int, (*window.prefix, *window.suffix))]
        answer = self._ask({"prompt": asked, "prompt_logprobs": likeliest})
        entries = first_choice(answer).get("prompt_logprobs")
        if not isinstance(entries, list) or len(entries) != len(asked):
            raise self._lacking("The answer lacks prompt_logprobs for some tokens of the prompt")
        count = len(window.suffix)
        return list(zip(asked[-count:], entries[-count:], strict=True))

    def _told(self, entry: object, token: object) -> float:
        log = entry.get(str(token)) if isinstance(entry, Mapping) else None
        value = log.get("logprob") if isinstance(log, Mapping) else log
        if not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:  # noqa: PLR2004
            raise self._lacking("The answer lacks a token's log-probability")
        return min(float(value), 0.0)

    def _in_top_k(self, entry: object, token: int, *, top_k: int, temperature: float) -> float:
        from pytest_memleak.scoring.extraction import among_likeliest

        names = list(entry) if isinstance(entry, Mapping) else []
        values = {int(name): self._told(entry, name) for name in names if f"{name}".isdecimal()}
        if len(values) < top_k:
            cause = f"Got {len(values)} log-probabilities at a position, requested {top_k}"
            raise self._too_few(cause, billed=True)
        return among_likeliest(values, token, values[token], top_k=top_k, temperature=temperature)

    def _numbers(self, text: str, *, special: bool) -> list[int] | None:
        body = {"prompt": text, "return_token_ids": True, "add_special_tokens": special}
        token_ids = first_choice(self._ask(body)).get("prompt_token_ids")
        valid = isinstance(token_ids, list) and all(isinstance(token, int) for token in token_ids)
        return token_ids if valid and token_ids else None

    def _ask(self, body: dict[str, Any]) -> object:
        request = {"model": self._sent, "max_tokens": 1, "temperature": 0, **body}
        prompt = body["prompt"]
        return self._calls.ask_json(
            _CALL,
            lambda client: client.completions.with_streaming_response.create(
                model=self._sent, prompt=prompt, extra_body=request
            ),
            endpoint=self._model,
            texts=(prompt,) if isinstance(prompt, str) else (),
        )

    def _too_few(self, cause: str, *, billed: bool = False) -> TopKUnavailable:
        return TopKUnavailable(
            cause,
            provider=self._calls.provider,
            endpoint=self._model,
            call=_CALL,
            billed=billed,
        )

    def _lacking(self, cause: str) -> ProviderError:
        return ProviderError(
            cause,
            provider=self._calls.provider,
            endpoint=self._model,
            call=_CALL,
            hint='probe = "probability" needs a server whose completions take prompt_logprobs',
        )


def begin_of(whole: list[int], bare: list[int]) -> list[int]:
    """The tokens before a text's own: `whole` are those of it as a server would begin it."""
    places = (
        start
        for start in range(len(whole) - len(bare) + 1)
        if whole[start : start + len(bare)] == bare
    )
    return whole[: next(places, 0)]


def first_choice(answer: object) -> Mapping[str, Any]:
    """The first choice of an answer; empty where there is none."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, Mapping) else {}
