"""A text's tokens and their log-probabilities, in whatever form a server has for them.

    by number (numbered_tokens.py)    vLLM and its kin
    echoed as texts (echo.py)         older completions
    as written (written_tokens.py)    llama.cpp, which tells nothing of a prompt

Which form it is shows in the first answers.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pytest_memleak.errors import ProviderBusy, ProviderError, TopKUnavailable
from pytest_memleak.interfaces.protocols import Window, WindowLogs
from pytest_memleak.providers.openai.echo_logprobs import EchoCompletions
from pytest_memleak.providers.openai.llamacpp_logprobs import WrittenTokens
from pytest_memleak.providers.openai.openai_client import Calls
from pytest_memleak.providers.openai.vllm_logprobs import NumberedTokens


class TokenTeller:
    """Asks `model` at one server for a text's tokens, and how probable they are.

    sent: its name as requests have it.
    """

    def __init__(self, model: str, calls: Calls, *, sent: str) -> None:
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
        """Of every token of the suffix, after the prefix; see `LogProbabilityEndpoint`."""
        return self._form_of(window).log_probabilities(window)

    def top_k_log_probabilities(
        self, window: Window, *, top_k: int, temperature: float
    ) -> WindowLogs:
        """Those, and the same among the likeliest; see `TopKEndpoint`."""
        form = self._form_of(window)
        if isinstance(form, EchoCompletions):
            raise self._too_few("what it echoes has the tokens' own log-probabilities alone")
        if not top_k:
            raise self._too_few("it does not tell the probabilities of all tokens")
        return form.top_k_log_probabilities(window, top_k=top_k, temperature=temperature)

    def _form_of(self, window: Window) -> NumberedTokens | WrittenTokens | EchoCompletions:
        if not all(isinstance(one, int) for one in (*window.prefix, *window.suffix)):
            return self._echo
        form = self._by_number()
        if form is None and self._can_write():
            form = self._written
        return form or self._numbered

    def _by_number(self) -> NumberedTokens | WrittenTokens | None:
        """The form that has numbers, as far as that is known without an echo."""
        with self._lock:
            if self._tells_numbers is None:
                self._tells_numbers = self._numbered.found()
        if self._tells_numbers:
            return self._numbered
        return self._written if self._writes else None

    def _can_write(self) -> bool:
        with self._lock:
            if self._writes is None:
                self._writes = self._written.found()
        return self._writes

    def _too_few(self, cause: str) -> TopKUnavailable:
        return TopKUnavailable(
            cause,
            provider=self._calls.provider,
            endpoint=self._model,
            call="completions.create (top-k)",
        )
