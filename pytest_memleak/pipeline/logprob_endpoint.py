"""An endpoint whose answer to a text is the log-probabilities of its tokens.

So these are calls like any other: the ledger stores them, a plan prices them, budgets
hold, and none is made twice.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.abilities import (
    Abilities,
    Engine,
    TokenLogprobs,
    abilities_of,
    id_of,
)
from pytest_memleak.interfaces.protocols import Completion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.interfaces.protocols import Endpoint, SampleRequest

_DECIMALS = 6
_LEAST = -1e9  # stands for the logarithm of 0, which JSON doesn't have


@dataclass(frozen=True, slots=True)
class LogprobEndpoint:
    """The log-probabilities that an endpoint's model gives to texts."""

    endpoint: Endpoint

    @property
    def id(self) -> str | None:
        """The endpoint's own id, with a mark; None if it has none."""
        own_id = id_of(self.endpoint)
        return own_id and f"{own_id}#log-probabilities"

    @property
    def abilities(self) -> Abilities:
        """The weights are the endpoint's; an engine reads many texts together."""
        own = abilities_of(self.endpoint)
        engine = None
        if own.engine is not None:
            engine = Engine(self._sample_many, own.engine.most)
        return Abilities(fixed_weights=own.fixed_weights, engine=engine)

    def sample(
        self,
        instruction: str,
        *,
        n: int,  # noqa: ARG002 - always one
        temperature: float | None,  # noqa: ARG002 - nothing is sampled
        max_tokens: int | None,  # noqa: ARG002
        seed: int | None,  # noqa: ARG002
    ) -> Sequence[Completion]:
        """Return one answer, to the text `instruction`."""
        return self._answers([instruction])

    def _sample_many(
        self,
        requests: Sequence[SampleRequest],
    ) -> list[list[Completion]]:
        texts = [request.instruction for request in requests]
        return [[answer] for answer in self._answers(texts)]

    def _answers(self, texts: Sequence[str]) -> list[Completion]:
        read = abilities_of(self.endpoint).token_logprobs
        if read is None:
            raise ProviderError(
                "the endpoint gives no log-probabilities",
                provider=type(self.endpoint).__name__,
                endpoint=id_of(self.endpoint) or "",
                call="token_logprobs",
            )
        return [_answer(logprobs) for logprobs in read(texts)]


def _answer(logprobs: TokenLogprobs) -> Completion:
    rounded: list[float | None] = []
    for logprob in logprobs.logprobs:
        if logprob is None or math.isnan(logprob):
            rounded.append(None)
        else:
            rounded.append(round(max(float(logprob), _LEAST), _DECIMALS))
    fields = {"starts": logprobs.starts, "logprobs": rounded}
    return Completion(
        json.dumps(fields, separators=(",", ":")),
        prompt_tokens=len(rounded) or None,
        completion_tokens=1,
    )


def read_logprobs(text: str) -> TokenLogprobs:
    """Read an answer's text as it was written; empty if it has another form."""
    try:
        fields = json.loads(text)
        starts = tuple(map(int, fields["starts"]))
        logprobs = tuple(fields["logprobs"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return TokenLogprobs()
    is_whole = len(starts) == len(logprobs) and [*starts] == sorted(starts)
    numbers = all(value is None or isinstance(value, float) for value in logprobs)
    return TokenLogprobs(starts, logprobs) if is_whole and numbers else TokenLogprobs()
