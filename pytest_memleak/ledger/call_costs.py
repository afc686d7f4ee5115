"""What a call may cost, and what it did: tokens, prices, and the budget that holds them.

A call is reserved at its worst (every completion as long as it may be) in the transaction that
writes down its intent, and settled at what was billed when its answer is in. A call that was
lost stays at its worst. A price is US$ per million tokens, of prompts and of completions; n
completions of one call cost one prompt. Fine-tuning has a price of its own and is not in the
budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pytest_memleak.errors import SettingsError
from pytest_memleak.interfaces.capabilities import CountsTokens
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.prompts import TOKENS_PER_WORD, Ask, PromptSpec


class Sampler(Protocol):
    """What of a `Provider` the run loop needs to know; every Provider is one.

    Prompts are counted by one that CountsTokens.
    """

    @property
    def name(self) -> str:
        """As in a suite's `provider`."""
        ...

    @property
    def concurrency(self) -> int | None:
        """How many calls may run at once; None for as many as turns out well."""
        ...

    @property
    def completions_per_call(self) -> int:
        """The most completions to ask for in one call."""
        ...

    @property
    def batch(self) -> bool:
        """Whether to draw in batches."""
        ...


@dataclass(frozen=True, slots=True)
class OwnEndpoint:
    """The Sampler of an endpoint that no provider made."""

    name: str = "own"
    concurrency: int = 1
    completions_per_call: int = 1
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """How an endpoint is called, and for what price (US$ per million tokens: input, output)."""

    sampler: Sampler
    price: tuple[float, float] | None = None
    _counting: CountsTokens | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Asked once: looking for a protocol's methods takes as long as a row's writing.
        counting = self.sampler if isinstance(self.sampler, CountsTokens) else None
        object.__setattr__(self, "_counting", counting)

    def prompt_tokens(self, question: PromptSpec) -> int:
        """The tokens of a prompt: the provider's count, else 4/3 of its words."""
        if self._counting is not None:
            return self._counting.count_tokens(question.instruction)
        return math.ceil(question.prompt_words * TOKENS_PER_WORD)

    def estimate(self, ask: Ask) -> int | None:
        """The most that a call may cost, in billionths of a US$."""
        return self.cost(
            self.prompt_tokens(ask.question), len(ask.ordinals) * ask.question.max_tokens
        )

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """The price of so many tokens, in billionths of a US$, rounded up; None without one."""
        if self.price is None:
            return None
        input_price, output_price = self.price
        # Rounded first: a price such as 0.1 has no exact binary form.
        exact = prompt_tokens * input_price * 1000 + completion_tokens * output_price * 1000
        return math.ceil(round(exact, 3))

    def billed(
        self, question: PromptSpec, completions: Sequence[Completion]
    ) -> tuple[int | None, int | None, int | None]:
        """Prompt tokens, completion tokens and cost of an answered call.

        The completions' tokens add up to the call's: its one prompt stands with the first of
        them, or not at all. What the provider does not say is None, and billed as estimated:
        the prompt by its count, a completion at its longest.
        """
        prompts = [one.prompt_tokens for one in completions if one.prompt_tokens is not None]
        drawn = [one.completion_tokens for one in completions]
        known = [tokens for tokens in drawn if tokens is not None]
        prompt_tokens = sum(prompts) if prompts else None
        completion_tokens = sum(known) if len(known) == len(drawn) else None
        cost = self.cost(
            self.prompt_tokens(question) if prompt_tokens is None else prompt_tokens,
            sum(question.max_tokens if tokens is None else tokens for tokens in drawn),
        )
        return prompt_tokens, completion_tokens, cost


def limit_of(budget: float | None, terms: Terms, *, pair: str) -> int | None:
    """The budget in billionths of a US$; SettingsError where it has nothing to go by."""
    if budget is None:
        return None
    if not budget >= 0 or math.isinf(budget):
        raise SettingsError(f"the budget is {budget}; expected a number of US$ that is 0 or more")
    if terms.price is None:
        raise SettingsError(
            "there is a budget, but no price for the model",
            location=pair,
            hint="add price = { input = ..., output = ... } (US$ per million tokens) to the"
            " [[model]]; 0 for one that costs nothing",
        )
    return math.floor(budget * 1e9)
