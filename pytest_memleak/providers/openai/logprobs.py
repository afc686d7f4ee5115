"""A text's tokens and their log-probabilities, in whatever form a server has for them.

    by number (numbered_logprobs.py)  vLLM and its kin; llama.cpp, of what it writes alone
    echoed as texts                   older completions

Which form it is shows in the first answers.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_memleak.errors import ProviderBusy, ProviderError, TopKUnavailable
from pytest_memleak.interfaces.protocols import Window, WindowLogs
from pytest_memleak.providers.openai.numbered_logprobs import (
    NumberedTokens,
    TokenForm,
    WrittenTokens,
    first_choice,
)
from pytest_memleak.providers.openai.openai_client import OpenAICalls

_ENOUGH = 20


class EchoCompletions(TokenForm):
    """Texts, echoed by older completions."""

    call = "completions.create (echo)"
    needs = "whose completions take echo and logprobs"

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
                    raise self._lacking("The answer lacks a token's log-probability")
                values.append(value)
        # One that is cut otherwise has another number of tokens; their product is what counts.
        missing = len(window.suffix) - len(values)
        if missing >= 0:
            return values + [0.0] * missing
        last = len(window.suffix) - 1
        rest = values[last:]
        return [*values[:last], -math.inf if -math.inf in rest else math.fsum(rest)]

    def _echoed(self, text: str) -> list[tuple[str, float | None]]:
        answer = self._ask({"prompt": text, "echo": True, "logprobs": 1}, texts=(text,))
        tokens, values = _told(answer)
        pairs: list[tuple[str, float | None]] = []
        left = text
        for token, value in zip(tokens, values, strict=False):
            if not left or not isinstance(token, str):
                break
            if not pairs and value is None and (not token or not left.startswith(token)):
                continue  # what marks the beginning of a text
            if not left.startswith(token):
                break
            left = left[len(token) :]
            pairs.append((token, None if value is None else float(value)))
        if left:
            raise self._lacking(_reason(tokens, text))
        return pairs


def _reason(tokens: list[Any], text: str) -> str:
    """Why the tokens of an answer are of no use, without a word of them."""
    cause = "the answer does not echo the prompt's tokens"
    texts = [token for token in tokens if isinstance(token, str)]
    joined = "".join(texts)
    if "\ufffd" in joined and "\ufffd" not in text:
        return f"{cause} in full: a character split over several tokens becomes U+FFFD"
    if len(texts) < len(tokens) or not joined:
        return cause
    bare = "".join(text.split())
    # A mark of the beginning may stand before it.
    begun = "".join(joined.replace("\u2581", " ").split())[: 3 * _ENOUGH]
    if bare and bare[:_ENOUGH] in begun:
        return f"{cause} unchanged: blanks are lost or added (SentencePiece)"
    return cause


def _told(answer: object) -> tuple[list[Any], list[Any]]:
    """The tokens and log-probabilities of an answer's first choice; empty where it has none."""
    logprobs = first_choice(answer).get("logprobs")
    if not isinstance(logprobs, Mapping):
        return [], []
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list):
        return [], []
    valid = all(value is None or isinstance(value, int | float) for value in values)
    return (tokens, values) if valid else ([], [])


class TokenTeller:
    """Asks `model` at one server for a text's tokens, and how probable they are.

    sent: its name as requests have it.
    """

    def __init__(self, model: str, calls: OpenAICalls, *, sent: str) -> None:
        self._model = model
        self._calls = calls
        self._numbered = NumberedTokens(model, calls, sent=sent)
        self._written = WrittenTokens(model, calls, sent=sent)
        self._echo = EchoCompletions(model, calls, sent=sent)
        self._tells_numbers: bool | None = None
        self._writes: bool | None = None
        self._lock = threading.Lock()

    def tokens(self, text: str) -> Sequence[int | str]:
        """The tokens of a text, without any that mark its beginning or end: numbers, or texts.

        Raises ProviderError where the server tells neither.
        """
        if not text:
            return []
        form = self._by_number()
        if form is not None:
            return form.tokens(text)
        try:
            return self._echo.tokens(text)
        except ProviderBusy:
            raise
        except ProviderError as error:
            lacking = error
        try:
            writes = self._can_write()
        except ProviderBusy:
            writes = False  # what the first answer lacked is the better reason
        if not writes:
            raise lacking
        return self._written.tokens(text)

    def log_probabilities(self, window: Window) -> list[float]:
        """Of every token of the suffix, after the prefix; see `Probabilities`."""
        return self._form_of(window).log_probabilities(window)

    def top_k_log_probabilities(
        self, window: Window, *, top_k: int, temperature: float
    ) -> WindowLogs:
        """Those, and the same among the likeliest; see `Probabilities`."""
        form = self._form_of(window)
        if isinstance(form, EchoCompletions):
            raise self._too_few("The echo has only the tokens' own log-probabilities")
        if not top_k:
            raise self._too_few("The server doesn't return the probabilities of all tokens")
        return form.top_k_log_probabilities(window, top_k=top_k, temperature=temperature)

    def _form_of(self, window: Window) -> NumberedTokens | WrittenTokens | EchoCompletions:
        if not all(isinstance(token, int) for token in (*window.prefix, *window.suffix)):
            return self._echo
        form = self._by_number()
        if form is None and self._can_write():
            form = self._written
        return form or self._numbered

    def _by_number(self) -> NumberedTokens | WrittenTokens | None:
        """The form that has numbers, as far as that is known without an echo."""
        with self._lock:
            if self._tells_numbers is None:
                self._tells_numbers = self._numbered.is_supported()
        if self._tells_numbers:
            return self._numbered
        return self._written if self._writes else None

    def _can_write(self) -> bool:
        with self._lock:
            if self._writes is None:
                self._writes = self._written.is_supported()
        return self._writes

    def _too_few(self, cause: str) -> TopKUnavailable:
        return TopKUnavailable(
            cause,
            provider=self._calls.provider,
            endpoint=self._model,
            call="completions.create (top-k)",
        )
