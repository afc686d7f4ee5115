"""The parameters of requests to a server of OpenAI's form, and the rejected ones."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pytest_memleak.interfaces.protocols import SampleRequest
from pytest_memleak.providers.call_errors import RequestRejected
from pytest_memleak.providers.openai.api_forms import Api
from pytest_memleak.providers.parameter_support import ParameterSupport

# The model's own distribution, which is the default of OpenAI's and Google's servers.
PLAIN: Mapping[str, Any] = {"top_p": 1.0}
PLAIN_ELSEWHERE: Mapping[str, Any] = {
    **PLAIN,
    "top_k": -1,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}
# llama.cpp computes a prompt that it has cached in other batches, so a greedy text may
# differ from its first word on.
UNCACHED: Mapping[str, Any] = {"cache_prompt": False}

_NEW_NAME, _OLD_NAME = "max_completion_tokens", "max_tokens"
_COMPLAINTS = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.NOT_IMPLEMENTED,
}
_STREAM: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
# What may be omitted, the least important first: of two that exclude each other, that
# one goes.
_OPTIONAL = (
    "stream_options",
    "store",
    *UNCACHED,
    *reversed(list(PLAIN_ELSEWHERE)),
    "seed",
    "temperature",
)


class ServerParameters(ParameterSupport):
    """Those of one provider's endpoints.

    api: "auto" begins with chat and falls back to completions; "responses" has no
        seed, and would store responses by default
    max_tokens_parameter: "auto" begins with the new name and falls back to the old one
    plain: the parameters of the distribution, besides the temperature
    greedy: further ones at temperature 0, for answers that repeat
    """

    def __init__(
        self,
        *,
        max_tokens_parameter: str,
        api: Api = "chat",
        plain: Mapping[str, Any] = PLAIN,
        greedy: Mapping[str, Any] | None = None,
    ) -> None:
        # Both mean that no token is too unlikely; a server may know only one of them.
        super().__init__({("top_k", -1): 0})
        self._fixed = max_tokens_parameter != "auto"
        self.max_tokens_parameter = _NEW_NAME
        if self._fixed:
            self.max_tokens_parameter = max_tokens_parameter
        self.most_completions: int | None = None
        self.api: Api = api
        self._plain = dict(plain)
        self._greedy = greedy or {}
        self._streams = False
        if api == "responses":
            self.reject("seed", 0)  # counts for each seed
            self._plain["store"] = False

    def parameters(
        self,
        request: SampleRequest,
        *,
        limit_name: str,
        n: int,
    ) -> dict[str, Any]:
        """Return a request's parameters without rejected ones.

        limit_name: the server's name of the limit of tokens
        """
        limit = {}
        if request.max_tokens is not None:
            limit[limit_name] = request.max_tokens
        wanted = {
            "n": n if n > 1 else None,
            "temperature": request.temperature,
            **limit,
            "seed": request.seed,
            **self._plain,
            **(self._greedy if request.temperature == 0 else {}),
        }
        if self._streams:
            wanted |= _STREAM
        accepted = {**self.accepted(wanted), **limit}
        if n > 1:
            accepted["n"] = n  # never omitted, but lowered
        return accepted

    def use_max_tokens_name(self) -> bool:
        """Use `max_tokens` from now on; False if the suite sets the name."""
        if not self._fixed:
            self.max_tokens_parameter = _OLD_NAME
        return not self._fixed

    def use_completions(self) -> None:
        """Use completions from now on, since the server has no chat."""
        self.accepted({"api": "chat"})
        self.reject("api", "chat")
        self.api = "completions"

    def adapts_to_rejection(
        self,
        refused: RequestRejected,
        body: Mapping[str, Any],
        *,
        fixed: Mapping[str, Any],
    ) -> bool:
        """Tell whether the server rejected a parameter that can be replaced or omitted.

        fixed: the suite's own parameters, which are never omitted
        """
        if refused.status not in _COMPLAINTS:
            return False
        # Of what was sent, since another thread may have learned the same meanwhile.
        named = [name for name in refused.named if name in body]
        if _NEW_NAME in named and self.use_max_tokens_name():
            self.reject(_NEW_NAME, body[_NEW_NAME])
            return True
        for name in _OPTIONAL:
            if name in named and name not in fixed:
                self.reject(name, body[name])
                return True
        if "stream" in refused.named and "stream" not in body:
            self._streams = True
            return True
        return "n" in refused.named and self._request_fewer(
            body.get("n", 1), refused.most
        )

    def _request_fewer(self, n: int, most: int | None) -> bool:
        """Lower `n` to the server's limit, or by half; False if it is 1 already."""
        if n <= 1:
            return False
        fewer = n // 2
        if most is not None and 1 <= most < n:
            fewer = most
        self.reject("n", n)
        self.most_completions = min(fewer, self.most_completions or n)
        return True
