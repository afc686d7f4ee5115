"""What a preflight shows of an endpoint, and how long its calls will take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.cli.learned_keys import LearnedKey
    from pytest_memleak.sampling.cost_plan import Plan

_SAMPLES = range(2, 11)  # one sample has no interval, so it can't pass
BASE_MODEL = (
    "This seems to be a base model without a chat format: prompts are sent as plain "
    "text."
)


@dataclass(frozen=True, slots=True)
class PreflightResult:
    """The result of the neutral prompts.

    lines:     titles and texts to print
    token:     seconds per token of a single call
    calls, completions: the share of a call's time by which each further call, or
        completion of the same call, delays it: 0 if they overlap, 1 if the server works
        through them one by one
    at_once:   calls that run at once
    excerpts:  number of the book's excerpts
    text_only: whether the prompt was sent without a chat
    keys:      what a suite has to say of the endpoint
    spent:     the expected share of max_tokens that a generation uses
    """

    lines: tuple[tuple[str, str], ...]
    token: float
    calls: float
    completions: float
    at_once: int
    excerpts: int
    text_only: bool
    keys: tuple[LearnedKey, ...] = ()
    spent: float = 1.0

    def samples_that_fit(self, seconds: float, plans: Sequence[Plan]) -> int:
        """Return how many generations per excerpt fit into this time.

        plans: for one generation per excerpt
        """
        fitting = [n for n in _SAMPLES if self.seconds_of(plans, n) <= seconds]
        return max(fitting, default=_SAMPLES[0])

    def seconds_of(self, plans: Sequence[Plan], samples: int = 1) -> float:
        """Estimate the time of all planned calls; the first plan has the canaries, too.

        samples: how many times as many of its other calls there are
        """
        total = 0.0
        for calls, seconds in self._calls_and_seconds_of_phases(
            plans, samples, spent=self.spent
        ):
            turns = math.ceil(calls / self.at_once)
            one_by_one = calls * self.calls
            overlapping = turns * (1 - self.calls)
            total += seconds * (one_by_one + overlapping)
        return total

    def call_deadline_needed(self, plans: Sequence[Plan], samples: int) -> int | None:
        """Return the seconds that a call must have, None if the default is enough."""
        from pytest_memleak.sampling.retry import Retry

        phases = self._calls_and_seconds_of_phases(plans, samples, spent=1.0)
        longest_alone = max(seconds for _, seconds in phases)
        slowdown = 1 + (self.at_once - 1) * self.calls
        enough = math.ceil(2 * longest_alone * slowdown)
        return enough if enough > Retry().deadline else None

    def _calls_and_seconds_of_phases(
        self,
        plans: Sequence[Plan],
        samples: int,
        *,
        spent: float,
    ) -> Iterator[tuple[int, float]]:
        """Yield the number of each phase's calls, and the seconds of one alone.

        spent: the share of max_tokens that a generation uses
        """
        from pytest_memleak.ledger.prompts import CANARY_TOKENS
        from pytest_memleak.pipeline.canaries import CANARIES

        own, *others = plans
        canaries = min(CANARIES, self.excerpts, own.calls)
        yield canaries, self.token * CANARY_TOKENS
        further_tokens = own.completion_tokens - canaries * CANARY_TOKENS
        left = replace(
            own,
            calls=samples * (own.calls - canaries),
            generations=samples * (own.generations - canaries),
            completion_tokens=samples * further_tokens,
        )
        for plan in (left, *others):
            further = max(0, plan.generations - plan.calls)
            further_per_call = further / max(1, plan.calls)
            tokens = plan.completion_tokens / max(1, plan.generations)
            slowdown = 1 + further_per_call * self.completions
            yield plan.calls, self.token * tokens * spent * slowdown
