"""An endpoint whose answer to a text is the log-probabilities of its tokens.

So these are calls like any other: the ledger stores them, a plan prices them, budgets
hold, and none is made twice.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class LogprobEndpoint:
    """The log-probabilities that an endpoint's model gives to texts.

    What is sampled is one answer to a text, whatever the settings.
    """

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
        engine = own.engine and Engine(self._sample_many, own.engine.most)
        return Abilities(fixed_weights=own.fixed_weights, engine=engine)

    def sample(self, instruction: str, **_: object) -> list[Completion]:
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
            raise AssertionError("only an endpoint that gives them is asked")
        return [_completion(logprobs) for logprobs in read(texts)]


def _completion(logprobs: TokenLogprobs) -> Completion:
    rounded: list[float | None] = []
    for logprob in logprobs.logprobs:
        if logprob is None or math.isnan(logprob):
            rounded.append(None)
        else:
            rounded.append(round(logprob, _DECIMALS))
    fields = {"starts": logprobs.starts, "logprobs": rounded}
    return Completion(
        json.dumps(fields, separators=(",", ":")),
        prompt_tokens=len(rounded) or None,
        completion_tokens=1,
    )


def logprobs_in(answer: str) -> TokenLogprobs:
    """Read a stored answer; empty if it has another form."""
    try:
        fields = json.loads(answer)
        starts = tuple(map(int, fields["starts"]))
        logprobs = tuple(fields["logprobs"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return TokenLogprobs()
    has_numbers = all(isinstance(each, float | None) for each in logprobs)
    if not has_numbers or len(starts) != len(logprobs):
        return TokenLogprobs()
    return TokenLogprobs(starts, logprobs)
