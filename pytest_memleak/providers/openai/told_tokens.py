"""A text's tokens and their log-probabilities, in the form that a server has for them.

vLLM and its kin take and give the tokens' numbers:

    POST completions  {"prompt": [IDS], "prompt_logprobs": 0, "return_token_ids": true}

so that no text has to be matched. Where a server has no such fields, what it echoes is read
(`EchoCompletions`). Which form it is shows in the first answer.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_memleak.contracts.protocols import Window
from pytest_memleak.errors import ProviderError
from pytest_memleak.providers.failures import Refused
from pytest_memleak.providers.openai.echo import EchoCompletions
from pytest_memleak.providers.openai.openai_client import Calls

__all__ = ["TokenTeller"]

_CALL = "completions.create (prompt_logprobs)"
_SHORT = "The"


class TokenTeller:
    """Asks `model` at one server for a text's tokens, and how probable they are.

    sent: its name as requests have it.
    """

    def __init__(self, model: str, calls: Calls, *, sent: str) -> None:
        self._model = model
        self._sent = sent
        self._calls = calls
        self._echo = EchoCompletions(model, calls, sent=sent)
        self._begin: list[int] | None = None
        self._asked = False
        self._lock = threading.Lock()

    def tokens(self, text: str) -> Sequence[int | str]:
        """The tokens of a text, without any that mark its beginning or end: numbers, or texts.

        Raises ProviderError where the server tells neither.
        """
        if not text:
            return []
        with self._lock:
            if not self._asked:
                self._begin = self._beginning()
                self._asked = True
        if self._begin is None:
            return self._echo.tokens(text)
        found = self._numbers(text, special=False)
        if found is None:
            raise self._lacking("the answer leaves out the prompt's token_ids")
        return found

    def log_probabilities(self, window: Window) -> list[float]:
        """Of every token of the suffix, after the prefix; see `LogProbabilityEndpoint`."""
        if not all(isinstance(one, int) for one in (*window.prefix, *window.suffix)):
            return self._echo.log_probabilities(window)
        asked = [*(self._begin or ()), *window.prefix, *window.suffix]
        told = _choice(self._ask({"prompt": asked, "prompt_logprobs": 0})).get("prompt_logprobs")
        if not isinstance(told, list) or len(told) != len(asked):
            raise self._lacking("the answer has no prompt_logprobs for each token of the prompt")
        count = len(window.suffix)
        return [
            self._told(token, entry)
            for token, entry in zip(asked[-count:], told[-count:], strict=True)
        ]

    def _told(self, token: object, entry: object) -> float:
        one = entry.get(str(token)) if isinstance(entry, Mapping) else None
        value = one.get("logprob") if isinstance(one, Mapping) else one
        if not isinstance(value, int | float) or math.isnan(value) or value > 1e-3:  # noqa: PLR2004
            raise self._lacking("the answer leaves out a token's log-probability")
        return min(float(value), 0.0)

    def _beginning(self) -> list[int] | None:
        """The tokens that begin a text; None where the server does not tell numbers."""
        try:
            bare = self._numbers(_SHORT, special=False)
            whole = bare and self._numbers(_SHORT, special=True)
        except Refused:
            return None  # it does not take the fields
        if not bare or not whole:
            return None
        places = (
            start
            for start in range(len(whole) - len(bare) + 1)
            if whole[start : start + len(bare)] == bare
        )
        return whole[: next(places, 0)]

    def _numbers(self, text: str, *, special: bool) -> list[int] | None:
        body = {"prompt": text, "return_token_ids": True, "add_special_tokens": special}
        answer = self._ask(body)
        told = _choice(answer).get("prompt_token_ids")
        sound = isinstance(told, list) and all(isinstance(one, int) for one in told)
        return told if sound and told else None

    def _ask(self, body: dict[str, Any]) -> object:
        said = {"model": self._sent, "max_tokens": 1, "temperature": 0, **body}
        prompt = body["prompt"]
        return self._calls.ask_json(
            _CALL,
            lambda client: client.completions.with_streaming_response.create(
                model=self._sent, prompt=prompt, extra_body=said
            ),
            endpoint=self._model,
            texts=(prompt,) if isinstance(prompt, str) else (),
        )

    def _lacking(self, cause: str) -> ProviderError:
        return ProviderError(
            cause,
            provider=self._calls.provider,
            endpoint=self._model,
            call=_CALL,
            hint='probe = "probability" needs a server whose completions take prompt_logprobs',
        )


def _choice(answer: object) -> Mapping[str, Any]:
    """The first choice of an answer; empty where there is none."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, Mapping) else {}
