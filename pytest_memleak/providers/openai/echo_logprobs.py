"""Log-probabilities of given text from a completions endpoint that echoes its prompt.

    POST completions  {"prompt": TEXT, "echo": true, "logprobs": 1, "max_tokens": 1}

Servers differ in what they do with `max_tokens = 0`, so one token is asked for and left aside.
They tokenize by themselves: a window is asked for by its text, and its suffix is every token
that ends after the prefix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.protocols import Window
from pytest_memleak.providers.openai.openai_client import Calls

_ENOUGH = 20

_CALL = "completions.create (echo)"


class EchoCompletions:
    """Asks `model` at one server for the probability of text; `sent` is its name in requests."""

    def __init__(self, model: str, calls: Calls, *, sent: str) -> None:
        self._model = model
        self._sent = sent
        self._calls = calls

    def tokens(self, text: str) -> list[str]:
        """The server's tokens of a text, which joined are the text.

        Raises ProviderError where the server does not echo.
        """
        return [token for token, _ in self._echoed(text)] if text else []

    def log_probabilities(self, window: Window) -> list[float]:
        """Of every token of the suffix, in the server's own tokens.

        Where it cuts the window's text otherwise than the book's, the sum is still that of the
        suffix's text; as many numbers come as the window has suffix tokens.
        """
        prefix, suffix = "".join(map(str, window.prefix)), "".join(map(str, window.suffix))
        end, values = 0, []
        for token, value in self._echoed(prefix + suffix):
            end += len(token)
            # A part of a character may come as a token without text, before the character.
            if end > len(prefix) or (not token and end == len(prefix)):
                if value is None:
                    raise self._lacking("the answer leaves out a token's log-probability")
                values.append(value)
        # One that is cut otherwise has another number of tokens; their product is what counts.
        missing = len(window.suffix) - len(values)
        if missing >= 0:
            return values + [0.0] * missing
        last = len(window.suffix) - 1
        rest = values[last:]
        return [*values[:last], -math.inf if -math.inf in rest else math.fsum(rest)]

    def _echoed(self, text: str) -> list[tuple[str, float | None]]:
        body = {
            "model": self._sent,
            "prompt": text,
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }
        answer = self._calls.ask_json(
            _CALL,
            lambda client: client.completions.with_streaming_response.create(
                model=self._sent, prompt=text, extra_body=body
            ),
            endpoint=self._model,
            texts=(text,),
        )
        tokens, values = _told(answer)
        found: list[tuple[str, float | None]] = []
        left = text
        for token, value in zip(tokens, values, strict=False):
            if not left or not isinstance(token, str):
                break
            if not found and value is None and (not token or not left.startswith(token)):
                continue  # what marks the beginning of a text
            if not left.startswith(token):
                break
            left = left[len(token) :]
            found.append((token, None if value is None else float(value)))
        if left:
            raise self._lacking(_reason(tokens, text))
        return found

    def _lacking(self, cause: str) -> ProviderError:
        return ProviderError(
            cause,
            provider=self._calls.provider,
            endpoint=self._model,
            call=_CALL,
            hint='probe = "probability" needs a server whose completions take echo and logprobs',
        )


def _reason(tokens: list[Any], text: str) -> str:
    """Why the tokens of an answer are of no use, without a word of them."""
    cause = "the answer does not echo the prompt's tokens"
    texts = [one for one in tokens if isinstance(one, str)]
    joined = "".join(texts)
    if "\ufffd" in joined and "\ufffd" not in text:
        return f"{cause} in full: characters that several tokens share come as U+FFFD"
    if len(texts) < len(tokens) or not joined:
        return cause
    bare = "".join(text.split())
    # A mark of the beginning may stand before it.
    begun = "".join(joined.replace("\u2581", " ").split())[: 3 * _ENOUGH]
    if bare and bare[:_ENOUGH] in begun:
        return f"{cause} as they stand in the text: blanks are lost or added (SentencePiece)"
    return cause


def _told(answer: object) -> tuple[list[Any], list[Any]]:
    """The tokens and log-probabilities of an answer's first choice; empty where it has none."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    told = choice.get("logprobs") if isinstance(choice, Mapping) else None
    if not isinstance(told, Mapping):
        return [], []
    tokens, values = told.get("tokens"), told.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list):
        return [], []
    sound = all(one is None or isinstance(one, int | float) for one in values)
    return (tokens, values) if sound else ([], [])
