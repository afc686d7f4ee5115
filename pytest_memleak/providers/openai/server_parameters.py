"""What a server of OpenAI's form has turned out to take of what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

from pytest_memleak.interfaces.abilities import Obeyed
from pytest_memleak.interfaces.protocols import SampleRequest
from pytest_memleak.providers.call_errors import Refused

_ANY = "given"


class ParameterSupport:
    """The parameters of one server's requests; safe to share between threads.

    otherwise: another value that says the same, by name and value; it is tried before the
    parameter is left out.
    """

    def __init__(self, otherwise: Mapping[tuple[str, Any], Any] | None = None) -> None:
        self._otherwise = otherwise or {}
        self._asked: dict[str, list[Any]] = {}
        self._refused: dict[str, list[Any]] = {}
        self._lock = threading.Lock()

    @property
    def obeyed(self) -> dict[str, Obeyed]:
        """Per parameter what was asked and what was refused; a seed stands as "given"."""
        with self._lock:
            return {
                name: Obeyed(tuple(asked), tuple(self._refused.get(name, ())))
                for name, asked in self._asked.items()
            }

    def ask(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """What of `wanted` is to be said: neither what is None nor what was refused."""
        sent: dict[str, Any] = {}
        with self._lock:
            for name, value in wanted.items():
                if value is not None:
                    _note(self._asked, name, value)
                    taken = self._taken(name, value)
                    if taken is not None:
                        sent[name] = taken
        return sent

    def refuse(self, name: str, value: Any) -> None:
        """The server does not take `value` for the parameter `name`."""
        with self._lock:
            _note(self._refused, name, value)

    def _taken(self, name: str, value: Any) -> Any:
        refused = self._refused.get(name, ())
        while value is not None and _kept(name, value) in refused:
            value = self._otherwise.get((name, value))
        return value


def _note(where: dict[str, list[Any]], name: str, value: Any) -> None:
    there, kept = where.setdefault(name, []), _kept(name, value)
    if kept not in there:
        there.append(kept)


def _kept(name: str, value: Any) -> Any:
    """A value as it is remembered: no two calls have the same seed."""
    return _ANY if name == "seed" else value


Api = Literal["auto", "chat", "completions"]

# The model's own distribution. OpenAI's and Google's servers take it unless told otherwise.
PLAIN: Mapping[str, Any] = {"top_p": 1.0}
PLAIN_ELSEWHERE: Mapping[str, Any] = {
    **PLAIN,
    "top_k": -1,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}

_NEW_NAME, _OLD_NAME = "max_completion_tokens", "max_tokens"
_COMPLAINTS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_NAMES_OF_N = frozenset({"n", "n_cmpl", "n_choices"})
_LEFT_OUT = frozenset({*PLAIN_ELSEWHERE, "temperature", "seed"})


class ServerParameters:
    """Shared by the endpoints of one provider, and by threads.

    api: "auto" begins with chat, and falls back to completions where there is none.
    max_tokens_parameter: "auto" begins with the new name and falls back to the old one.
    plain: what is asked of the distribution, beside the temperature.
    """

    def __init__(
        self, *, max_tokens_parameter: str, api: Api = "chat", plain: Mapping[str, Any] = PLAIN
    ) -> None:
        self._fixed = max_tokens_parameter != "auto"
        self.max_tokens_parameter = max_tokens_parameter if self._fixed else _NEW_NAME
        self.most_completions: int | None = None
        self.api: Api = api
        self._plain = dict(plain)
        # Both mean that no token is too unlikely; servers differ in which of them they know.
        self._obedience = ParameterSupport({("top_k", -1): 0})

    @property
    def obeyed(self) -> Mapping[str, Obeyed]:
        """What was asked of how to sample, and what of it was refused."""
        return self._obedience.obeyed

    def parameters(self, request: SampleRequest, *, limit_name: str) -> dict[str, Any]:
        """What a request says of how to sample, without what was refused.

        limit_name: what the server calls the most tokens of an answer.
        """
        n, limit = request.n, {limit_name: request.max_tokens}
        asked = {"n": n, "temperature": request.temperature, **limit, "seed": request.seed}
        # `n` is never left out: fewer are asked for instead.
        return {**self._obedience.ask({**asked, **self._plain}), "n": n, **limit}

    def use_old_name(self) -> bool:
        """Say `max_tokens` from now on; False if the suite has settled on a name."""
        if not self._fixed:
            self.max_tokens_parameter = _OLD_NAME
        return not self._fixed

    def use_completions(self) -> None:
        """There is no chat here: ask for completions from now on."""
        self._obedience.ask({"api": "chat"})
        self._obedience.refuse("api", "chat")
        self.api = "completions"

    def learns(
        self, refused: Refused, body: Mapping[str, Any], *, fixed: Mapping[str, Any]
    ) -> bool:
        """Whether the refusal is about how it was asked, and there is another way to ask.

        fixed: what the suite says itself, and which is never left out.
        """
        if refused.status not in _COMPLAINTS:
            return False
        # Judged by what was sent: another thread may have learnt the same in the meantime.
        if _NEW_NAME in refused.named and _NEW_NAME in body and self.use_old_name():
            self._obedience.refuse(_NEW_NAME, body[_NEW_NAME])
            return True
        for name in refused.named:
            if name in _LEFT_OUT and name in body and name not in fixed:
                self._obedience.refuse(name, body[name])
                return True
        if _NAMES_OF_N.isdisjoint(refused.named):
            return False
        return self._ask_for_fewer(body["n"], refused.most)

    def _ask_for_fewer(self, n: int, most: int | None) -> bool:
        """Ask for what the server says it takes, or for half; False if `n` is 1 already."""
        if n > 1:
            fewer = most if most is not None and 1 <= most < n else n // 2
            self._obedience.refuse("n", n)
            self.most_completions = min(fewer, self.most_completions or n)
        return n > 1
