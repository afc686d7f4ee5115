"""The tokens of a given text and their log-probabilities, in the form that a server has.

vLLM numbers tokens, and returns the K likeliest at each place of a prompt:

    POST completions  {"prompt": [IDS], "prompt_logprobs": K, "return_token_ids": true}

llama.cpp's server returns none of a prompt. So each token of a suffix is a request of its own,
after all tokens before it: a bias forces the token, and the returned probabilities are the model's
own, before any bias. The server caches its prompt, so each call processes one more token.

    POST /tokenize    {"content": TEXT, "add_special": false}
    POST completions  {"prompt": [IDS], "max_tokens": 1, "logprobs": K, "logit_bias": [[ID, 1000]]}

Older completions echo a prompt's tokens as texts. The first responses show which form it is.
"""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pytest_memleak.errors import ProviderBusy, ProviderError, TopKUnavailable
from pytest_memleak.interfaces.abilities import Probabilities
from pytest_memleak.interfaces.protocols import Window, WindowLogs
from pytest_memleak.providers.call_errors import Failing, Refused
from pytest_memleak.providers.openai.choices import as_list, as_mapping
from pytest_memleak.providers.openai.openai_client import OpenAICalls

_SHORT = "The"  # any text, to find the tokens that mark a beginning
_BIAS = 1000.0  # exceeds any difference of logits
_ENOUGH = 20  # characters that identify a text
_COMPLAINTS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})


class TokenForm:
    """One way to request tokens of `model` from a server.

    call, needs: its name in error messages, and what it needs of a server
    """

    call: str
    needs: str

    def __init__(self, model: str, calls: OpenAICalls) -> None:
        self._model = model
        self._calls = calls

    def _ask(self, body: dict[str, Any], *, texts: tuple[str, ...] = ()) -> object:
        request = {"model": self._model, "max_tokens": 1, "temperature": 0, **body}
        return self._calls.ask_json(
            self.call, "completions", request, endpoint=self._model, texts=texts
        )

    @property
    def _failing(self) -> Failing:
        return Failing(self._calls.provider, self._model, self.call)

    def _lacking(self, cause: str) -> ProviderError:
        return self._failing.final(cause, f'probe = "probability" needs a server {self.needs}')


Entry = tuple[int, float, Mapping[int, float]]
"""A token, its log-probability, and those of the likeliest tokens in its place."""


def top_k_logs(
    entries: Sequence[Entry], failing: Failing, *, top_k: int, temperature: float
) -> WindowLogs:
    """Return the tokens' log-probabilities, and the same among the likeliest."""
    from pytest_memleak.scoring.extraction import among_likeliest

    fewest = min(len(likeliest) for _, _, likeliest in entries)
    if fewest < top_k:
        cause = f"Got {fewest} log-probabilities at a position; {top_k} were requested"
        raise TopKUnavailable(cause, billed=True, **failing.place)
    among = [
        among_likeliest(likeliest, token, value, top_k=top_k, temperature=temperature)
        for token, value, likeliest in entries
    ]
    return WindowLogs([value for _, value, _ in entries], among)


class _ByNumber(TokenForm):
    """A form in which tokens are numbers; `is_supported` must be called first."""

    _begin: Sequence[int] = ()
    _no_tokens: str
    _fewest: int  # of the likeliest tokens that can be requested

    def is_supported(self) -> bool:
        """Tell whether the server returns token numbers."""
        try:
            bare = self._numbers(_SHORT, special=False)
            whole = bare and self._numbers(_SHORT, special=True)
        except Refused:
            return False  # it rejects the fields
        if not bare or not whole:
            return False
        self._begin = begin_of(whole, bare)
        return True

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, without any that mark its beginning or end."""
        tokens = self._numbers(text, special=False)
        if tokens is None:
            raise self._lacking(self._no_tokens)
        return tokens

    def log_probabilities(self, window: Window) -> list[float]:
        """Return those of the suffix tokens after the prefix; see `Probabilities`."""
        return [value for _, value, _ in self._entries(window, self._fewest)]

    def top_k_log_probabilities(
        self, window: Window, *, top_k: int, temperature: float
    ) -> WindowLogs:
        """Return them, and the same among the likeliest; see `Probabilities`."""
        entries = self._entries(window, top_k)
        return top_k_logs(entries, self._failing, top_k=top_k, temperature=temperature)

    @abstractmethod
    def _numbers(self, text: str, *, special: bool) -> list[int] | None: ...

    @abstractmethod
    def _entries(self, window: Window, likeliest: int) -> list[Entry]: ...


class NumberedTokens(_ByNumber):
    """Tokens of vLLM."""

    call = "completions.create (prompt_logprobs)"
    needs = "whose completions endpoint accepts prompt_logprobs"
    _no_tokens = "The response lacks the prompt's token_ids"
    _fewest = 0

    def top_k_log_probabilities(
        self, window: Window, *, top_k: int, temperature: float
    ) -> WindowLogs:
        """Return them as `_ByNumber` does; TopKUnavailable if the server rejects `top_k`."""
        try:
            return super().top_k_log_probabilities(window, top_k=top_k, temperature=temperature)
        except Refused as refused:
            if refused.status not in _COMPLAINTS:
                raise
            cause = f"The server rejects prompt_logprobs = {top_k}: {refused.cause}"
        raise TopKUnavailable(cause, **self._failing.place)

    def _entries(self, window: Window, likeliest: int) -> list[Entry]:
        asked = [*self._begin, *map(int, (*window.prefix, *window.suffix))]
        answer = self._ask({"prompt": asked, "prompt_logprobs": likeliest})
        places = first_choice(answer).get("prompt_logprobs")
        if not isinstance(places, list) or len(places) != len(asked):
            raise self._lacking("The response lacks prompt_logprobs for some tokens of the prompt")
        count = len(window.suffix)
        entries: list[Entry] = []
        for token, place in zip(asked[-count:], map(as_mapping, places[-count:]), strict=True):
            logs = {int(name): self._log_of(place, name) for name in place if name.isdecimal()}
            entries.append((token, self._log_of(place, token), logs))
        return entries

    def _log_of(self, entry: Mapping[str, Any], token: object) -> float:
        log = entry.get(str(token))
        value = _log(log.get("logprob") if isinstance(log, Mapping) else log)
        if value is None:
            raise self._lacking("The response lacks a token's log-probability")
        return value

    def _numbers(self, text: str, *, special: bool) -> list[int] | None:
        body = {"prompt": text, "return_token_ids": True, "add_special_tokens": special}
        return _ids(first_choice(self._ask(body, texts=(text,))).get("prompt_token_ids"))


class WrittenTokens(_ByNumber):
    """Tokens of llama.cpp's server, which returns log-probabilities of generated tokens only."""

    call = "completions.create (logprobs)"
    needs = "that returns log-probabilities"
    _no_tokens = "The /tokenize response has no tokens"
    _fewest = 1

    def _entries(self, window: Window, likeliest: int) -> list[Entry]:
        before = [*self._begin, *map(int, window.prefix)]
        entries: list[Entry] = []
        for token in map(int, window.suffix):
            entries.append((token, *self._next(before, token, likeliest)))
            before.append(token)
        return entries

    def _next(self, before: list[int], token: int, most: int) -> tuple[float, dict[int, float]]:
        body = {"prompt": before, "logprobs": most, "logit_bias": [[token, _BIAS]]}
        content = as_mapping(first_choice(self._ask(body)).get("logprobs")).get("content")
        entry = content[0] if isinstance(content, list) and content else None
        number, value = _number_and_log(entry)
        if number != token or value is None:
            raise self._lacking("The response lacks the generated token's log-probability")
        pairs = map(_number_and_log, as_list(as_mapping(entry).get("top_logprobs")))
        return value, {
            number: log for number, log in pairs if number is not None and log is not None
        }

    def _numbers(self, text: str, *, special: bool) -> list[int] | None:
        body = {"content": text, "add_special": special}
        answer = self._calls.ask_json(
            "tokenize", "/tokenize", body, endpoint=self._model, texts=(text,)
        )
        return _ids(as_mapping(answer).get("tokens"))


class EchoCompletions(TokenForm):
    """Tokens as texts, echoed by older completions."""

    call = "completions.create (echo)"
    needs = "whose completions endpoint accepts echo and logprobs"

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of a text, which join to it; ProviderError if there is no echo."""
        return [token for token, _ in self._echoed(text)] if text else []

    def log_probabilities(self, window: Window) -> list[float]:
        """Return as many as the window has suffix tokens; see `Probabilities`.

        If the server splits the window's text differently from the book's, only their sum is that
        of the suffix.
        """
        prefix, suffix = "".join(map(str, window.prefix)), "".join(map(str, window.suffix))
        end, values = 0, []
        for token, value in self._echoed(prefix + suffix):
            end += len(token)
            # Part of a character may be a token without text, before the character.
            if end > len(prefix) or (not token and end == len(prefix)):
                if value is None:
                    raise self._lacking("The response lacks a token's log-probability")
                values.append(value)
        missing = len(window.suffix) - len(values)
        if missing >= 0:
            return values + [0.0] * missing
        last = len(window.suffix) - 1
        rest = values[last:]
        return [*values[:last], -math.inf if -math.inf in rest else math.fsum(rest)]

    def _echoed(self, text: str) -> list[tuple[str, float | None]]:
        answer = self._ask({"prompt": text, "echo": True, "logprobs": 1}, texts=(text,))
        tokens, values = _echo_of(answer)
        pairs: list[tuple[str, float | None]] = []
        left = text
        for token, value in zip(tokens, values, strict=False):
            if not left or not isinstance(token, str):
                break
            if not pairs and value is None and (not token or not left.startswith(token)):
                continue  # a token that marks the beginning of a text
            if not left.startswith(token):
                break
            left = left[len(token) :]
            pairs.append((token, None if value is None else float(value)))
        if left:
            raise self._lacking(_reason(tokens, text))
        return pairs


def _reason(tokens: list[Any], text: str) -> str:
    """Return why the echoed tokens don't join to the text, without quoting them."""
    cause = "The response doesn't echo the prompt's tokens"
    texts = [token for token in tokens if isinstance(token, str)]
    joined = "".join(texts)
    if "\ufffd" in joined and "\ufffd" not in text:
        return f"{cause} in full: a character split over several tokens becomes U+FFFD"
    if len(texts) < len(tokens) or not joined:
        return cause
    bare = "".join(text.split())
    # A token that marks the beginning may precede it.
    begun = "".join(joined.replace("\u2581", " ").split())[: 3 * _ENOUGH]
    if bare and bare[:_ENOUGH] in begun:
        return f"{cause} unchanged: blanks are lost or added (SentencePiece)"
    return cause


def _echo_of(answer: object) -> tuple[list[Any], list[Any]]:
    """Return the first choice's tokens and log-probabilities; empty if it has none."""
    logprobs = as_mapping(first_choice(answer).get("logprobs"))
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list):
        return [], []
    valid = all(value is None or isinstance(value, int | float) for value in values)
    return (tokens, values) if valid else ([], [])


class TokenProbabilities:
    """Those of `model` at one server."""

    def __init__(self, model: str, calls: OpenAICalls) -> None:
        self._model = model
        self._calls = calls
        self._numbered = NumberedTokens(model, calls)
        self._written = WrittenTokens(model, calls)
        self._echo = EchoCompletions(model, calls)
        self._supported: dict[str, bool] = {}
        self._lock = threading.Lock()

    @property
    def abilities(self) -> Probabilities:
        """By the completions path: neither chat nor system prompt precedes the text."""
        return Probabilities(
            self._tokens, self._log_probabilities, self._top_k, lambda: self._calls.served
        )

    def _tokens(self, text: str) -> Sequence[int | str]:
        """Return a text's tokens, as numbers or texts; ProviderError if the server has neither."""
        if not text:
            return []
        form = self._numbering()
        if form is not None:
            return form.tokens(text)
        try:
            return self._echo.tokens(text)
        except ProviderBusy:
            raise
        except ProviderError as error:
            lacking = error
        try:
            supported = self._is_supported(self._written)
        except ProviderBusy:
            supported = False  # what the first response lacked explains more
        if not supported:
            raise lacking
        return self._written.tokens(text)

    def _log_probabilities(self, windows: Sequence[Window]) -> list[list[float]]:
        return [self._form_of(window).log_probabilities(window) for window in windows]

    def _top_k(self, windows: Sequence[Window], top_k: int, temperature: float) -> list[WindowLogs]:
        return [self._window_logs(window, top_k, temperature) for window in windows]

    def _window_logs(self, window: Window, top_k: int, temperature: float) -> WindowLogs:
        form = self._form_of(window)
        if isinstance(form, EchoCompletions):
            cause = "The echo has only the tokens' own log-probabilities"
        elif not top_k:
            cause = "The server doesn't return the probabilities of all tokens"
        else:
            return form.top_k_log_probabilities(window, top_k=top_k, temperature=temperature)
        failing = Failing(self._calls.provider, self._model, "completions.create (top-k)")
        raise TopKUnavailable(cause, **failing.place)

    def _form_of(self, window: Window) -> NumberedTokens | WrittenTokens | EchoCompletions:
        if not all(isinstance(token, int) for token in (*window.prefix, *window.suffix)):
            return self._echo
        form = self._numbering()
        if form is None and self._is_supported(self._written):
            form = self._written
        return form or self._numbered

    def _numbering(self) -> NumberedTokens | WrittenTokens | None:
        """Return the form with numbers, as far as that is known without an echo."""
        if self._is_supported(self._numbered):
            return self._numbered
        return self._written if self._supported.get(self._written.call) else None

    def _is_supported(self, form: NumberedTokens | WrittenTokens) -> bool:
        with self._lock:
            if form.call not in self._supported:
                self._supported[form.call] = form.is_supported()
            return self._supported[form.call]


def _number_and_log(entry: object) -> tuple[int | None, float | None]:
    """Return a token's number and its log-probability."""
    number = as_mapping(entry).get("id")
    return number if isinstance(number, int) else None, _log(as_mapping(entry).get("logprob"))


def _log(value: object) -> float | None:
    """Return a valid log-probability, else None."""
    if not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:  # noqa: PLR2004
        return None
    return min(float(value), 0.0)


def _ids(value: object) -> list[int] | None:
    """Return token numbers, None if there are none."""
    tokens = value if isinstance(value, list) else []
    return tokens if tokens and all(isinstance(token, int) for token in tokens) else None


def begin_of(whole: list[int], bare: list[int]) -> list[int]:
    """Return the tokens that a server puts before a text's own (`bare`) in `whole`."""
    starts = range(len(whole) - len(bare) + 1)
    places = (start for start in starts if whole[start : start + len(bare)] == bare)
    return whole[: next(places, 0)]


def first_choice(answer: object) -> Mapping[str, Any]:
    """Return the first choice of a response; empty if there is none."""
    choices = as_mapping(answer).get("choices")
    return as_mapping(choices[0] if isinstance(choices, list) and choices else None)
