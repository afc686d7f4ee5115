"""Log-probabilities of given tokens from llama.cpp's server, which tells them of what it writes.

    POST /tokenize    {"content": TEXT, "add_special": false}
    POST completions  {"prompt": [IDS], "max_tokens": 1, "logprobs": K, "logit_bias": [[ID, 1000]]}

It tells nothing of a prompt. So each token of a suffix is asked for by itself, after all that
stands before it: a bias has it written, and the probability that is told, as those of the K
likeliest, is the model's own, before any bias. The server keeps what it has read: a token's call
reads one token more than the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from pytest_memleak.errors import ProviderError, TopKUnavailable
from pytest_memleak.interfaces.protocols import Window, WindowLogs
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.openai.vllm_logprobs import SHORT, begin_of, first_choice

_CALL = "completions.create (logprobs)"
_BIAS = 1000.0  # over any difference of logits
_LIKELIEST = 1  # the fewest of which the written one's is told


class WrittenTokens:
    """Asks `model` at one server; `sent` is its name in requests."""

    def __init__(self, model: str, calls: OpenAICalls, *, sent: str) -> None:
        self._model = model
        self._sent = sent
        self._calls = calls
        self._begin: list[int] = []

    def is_supported(self) -> bool:
        """Whether the server cuts texts so; what begins a text is known by then."""
        try:
            bare = self._cut(SHORT, special=False)
            whole = bare and self._cut(SHORT, special=True)
        except Refused:
            return False
        if not bare or not whole:
            return False
        self._begin = begin_of(whole, bare)
        return True

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, without any that mark its beginning or end."""
        tokens = self._cut(text, special=False)
        if tokens is None:
            raise self._lacking("The answer of /tokenize has no tokens")
        return tokens

    def log_probabilities(self, window: Window) -> list[float]:
        """Of every token of the suffix, after the prefix; see `Probabilities`."""
        return [value for _, value, _ in self._written(window, _LIKELIEST)]

    def top_k_log_probabilities(
        self, window: Window, *, top_k: int, temperature: float
    ) -> WindowLogs:
        """Those, and the same among the likeliest; see `Probabilities`."""
        from pytest_memleak.scoring.extraction import among_likeliest

        plain, among = [], []
        for token, value, likeliest in self._written(window, top_k):
            count = len(likeliest)
            if count < top_k:
                raise TopKUnavailable(
                    f"Got {count} log-probabilities at a position, requested {top_k}",
                    provider=self._calls.provider,
                    endpoint=self._model,
                    call=_CALL,
                    billed=True,
                )
            plain.append(value)
            among.append(
                among_likeliest(likeliest, token, value, top_k=top_k, temperature=temperature)
            )
        return WindowLogs(plain, among)

    def _written(self, window: Window, most: int) -> list[tuple[int, float, dict[int, float]]]:
        """Each token of the suffix, its log-probability, and those of the likeliest."""
        before = [*self._begin, *map(int, window.prefix)]
        entries = []
        for token in map(int, window.suffix):
            entries.append((token, *self._next(before, token, most)))
            before.append(token)
        return entries

    def _next(self, before: list[int], token: int, most: int) -> tuple[float, dict[int, float]]:
        body = {
            "prompt": before,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": most,
            "logit_bias": [[token, _BIAS]],
        }
        logprobs = first_choice(self._ask(body)).get("logprobs")
        content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
        entry = content[0] if isinstance(content, list) and content else None
        number, value = _number_and_log(entry)
        if number != token or value is None:
            raise self._lacking("The answer lacks the generated token's log-probability")
        listed = entry.get("top_logprobs") if isinstance(entry, Mapping) else None
        pairs = map(_number_and_log, listed if isinstance(listed, list) else ())
        return value, {
            number: log for number, log in pairs if number is not None and log is not None
        }

    def _cut(self, text: str, *, special: bool) -> list[int] | None:
        body = {"content": text, "add_special": special}
        answer = self._calls.ask(
            "tokenize",
            lambda client: client.post(
                urljoin(f"{client.base_url}", "/tokenize"), body=body, cast_to=object
            ),
            endpoint=self._model,
            texts=(text,),
        )
        tokens = answer.get("tokens") if isinstance(answer, Mapping) else None
        valid = isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)
        return tokens if valid and tokens else None

    def _ask(self, body: dict[str, Any]) -> object:
        request = {"model": self._sent, **body}
        return self._calls.ask_json(
            _CALL,
            lambda client: client.completions.with_streaming_response.create(
                model=self._sent, prompt=body["prompt"], extra_body=request
            ),
            endpoint=self._model,
        )

    def _lacking(self, cause: str) -> ProviderError:
        return ProviderError(
            cause,
            provider=self._calls.provider,
            endpoint=self._model,
            call=_CALL,
            hint='probe = "probability" needs a server that returns log-probabilities',
        )


def _number_and_log(entry: object) -> tuple[int | None, float | None]:
    """A token's number, and its log-probability."""
    if not isinstance(entry, Mapping):
        return None, None
    number, log = entry.get("id"), entry.get("logprob")
    if not isinstance(log, int | float) or math.isnan(log) or log > 1e-3:  # noqa: PLR2004
        log = None
    return (
        number if isinstance(number, int) else None,
        None if log is None else min(float(log), 0.0),
    )
