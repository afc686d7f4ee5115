"""How probable a given text is to a model at Tinker.

    SamplingClient.sample(prompt, max_tokens=1, include_prompt_logprobs=True,
                          topk_prompt_logprobs=K)

tells of each token of a prompt its own log-probability, and those of the K likeliest in its
place. One token is sampled, which is the least that can be asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from pytest_memleak.errors import ProviderError, TopKUnavailable
from pytest_memleak.interfaces.protocols import Window, WindowLogs
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.tinker.tinker_client import PROVIDER, Calls

if TYPE_CHECKING:
    from tinker import SampleResponse, SamplingClient

_CALL = "sample (prompt_logprobs)"
_COMPLAINTS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})


class TokenLogs:
    """Asks one model; `begin` are the tokens that begin a text, `client` opens a session."""

    def __init__(
        self,
        model: str,
        calls: Calls,
        *,
        begin: Sequence[int],
        client: Callable[[str], SamplingClient],
    ) -> None:
        self._model = model
        self._calls = calls
        self._begin = begin
        self._open = client
        # A session of its own: those of samples number their calls for the journal.
        self._client: SamplingClient | None = None
        self._opening = threading.Lock()

    def plain(self, window: Window) -> list[float]:
        """Of each token of the suffix. Raises ProviderError where the server leaves one out."""
        return self._own(window, self._ask(window, 0))

    def in_top_k(self, window: Window, *, top_k: int, temperature: float) -> WindowLogs:
        """Those, and the same among the likeliest; see `TopKEndpoint`."""
        from pytest_memleak.scoring.extraction import among_likeliest

        if not top_k:
            raise self._too_few("it does not tell the probabilities of all tokens")
        try:
            answer = self._ask(window, top_k)
        except Refused as refused:
            if refused.status not in _COMPLAINTS:
                raise
            cause = f"it does not take topk_prompt_logprobs = {top_k}: {refused.cause}"
            raise self._too_few(cause) from None
        own = self._own(window, answer)
        likeliest = (answer.topk_prompt_logprobs or [])[-len(window.suffix) :]
        fewest = min((len(told or ()) for told in likeliest), default=0)
        if len(likeliest) < len(own) or fewest < top_k:
            cause = f"it told {fewest} log-probabilities at a position, of {top_k} asked for"
            raise self._too_few(cause, billed=True)
        among = [
            among_likeliest(
                dict(told or ()), int(token), value, top_k=top_k, temperature=temperature
            )
            for token, value, told in zip(window.suffix, own, likeliest, strict=True)
        ]
        return WindowLogs(own, among)

    def _ask(self, window: Window, likeliest: int) -> SampleResponse:
        from tinker import types

        with self._opening:
            client = self._client = self._client or self._open(_CALL)
        tokens = [int(one) for one in (*self._begin, *window.prefix, *window.suffix)]
        try:
            return self._calls.ask(
                _CALL,
                lambda: client.sample(
                    prompt=types.ModelInput.from_ints(tokens),
                    num_samples=1,
                    sampling_params=types.SamplingParams(max_tokens=1),
                    include_prompt_logprobs=True,
                    topk_prompt_logprobs=likeliest,
                ),
                endpoint=self._model,
            )
        except ProviderError:
            self._client = None
            raise

    def _own(self, window: Window, answer: SampleResponse) -> list[float]:
        # The first token follows nothing: servers say None for it, or leave it out.
        asked = len(self._begin) + len(window.prefix) + len(window.suffix)
        told = list(answer.prompt_logprobs or ())
        values = told[-len(window.suffix) :]
        whole = len(told) in {asked, asked - 1} and len(told) >= len(window.suffix)
        if not whole or None in values:
            raise ProviderError(
                "the server does not tell the log-probabilities of every token",
                provider=PROVIDER,
                endpoint=self._model,
                call=_CALL,
                hint='probe = "probability" needs them all',
            )
        return [float(one) for one in values if one is not None]

    def _too_few(self, cause: str, *, billed: bool = False) -> TopKUnavailable:
        return TopKUnavailable(
            cause, provider=PROVIDER, endpoint=self._model, call=_CALL, billed=billed
        )
