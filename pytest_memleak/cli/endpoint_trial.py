"""A first look at an endpoint, for `try`: what it accepts, its name, and how fast."""

from __future__ import annotations

import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.cli.columns import print_sentence
from pytest_memleak.errors import ProviderBusy
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.redaction.text import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.interfaces.abilities import Obeyed
    from pytest_memleak.interfaces.protocols import Completion, Endpoint
    from pytest_memleak.sampling.cost_plan import Plan

_SAMPLES = range(2, 11)  # one sample has no interval, so it can't pass
BASE_MODEL = (
    "This seems to be a base model without a chat format: prompts are sent as plain "
    "text."
)
_NEUTRAL_PROMPT = (
    "Describe a day in late autumn in a small town, in about a hundred words."
)
_NEUTRAL_TOKENS = 200
_FEW_TOKENS = 8
_SLOW = 5.0  # seconds for a few tokens


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of the neutral prompt.

    lines:     titles and texts to print
    token:     seconds per token of a single call
    calls, completions: the share of a call's time by which each further call, or
        completion of the same call, delays it: 0 if they overlap, 1 if the server works
        through them one by one
    at_once:   calls that run at once
    excerpts:  number of the book's excerpts
    text_only: whether the prompt was sent without a chat
    """

    lines: tuple[tuple[str, str], ...]
    token: float
    calls: float
    completions: float
    at_once: int
    excerpts: int
    text_only: bool

    def samples_in(self, seconds: float, plans: Sequence[Plan]) -> int:
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
        for calls, seconds in self._phases(plans, samples):
            turns = math.ceil(calls / self.at_once)
            one_by_one = calls * self.calls
            overlapping = turns * (1 - self.calls)
            total += seconds * (one_by_one + overlapping)
        return total

    def call_deadline_needed(self, plans: Sequence[Plan], samples: int) -> int | None:
        """Return the seconds that a call must have, None if the default is enough."""
        from pytest_memleak.sampling.backoff import Retry

        longest_alone = max(seconds for _, seconds in self._phases(plans, samples))
        slowdown = 1 + (self.at_once - 1) * self.calls
        enough = math.ceil(2 * longest_alone * slowdown)
        return enough if enough > Retry().deadline else None

    def _phases(
        self,
        plans: Sequence[Plan],
        samples: int,
    ) -> Iterator[tuple[int, float]]:
        """Yield the number of each phase's calls, and the seconds of one alone."""
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
            yield plan.calls, self.token * tokens * slowdown


def sample_neutral(
    endpoint: Endpoint,
    *,
    at_once: int | None,
    excerpts: int,
) -> Trial:
    """Sample the neutral prompt: alone, twice in one call, and in calls at once.

    at_once: the suite's number of concurrent calls, if any; excerpts: of the book
    """
    from pytest_memleak.sampling.backoff import FIRST

    at_once = at_once or FIRST
    sample = partial(_sample, endpoint)
    tokens = _FEW_TOKENS
    answers, single = sample(tokens)
    if single < _SLOW:
        tokens = _NEUTRAL_TOKENS
        answers, single = sample(tokens)
    both, twice = sample(tokens, n=2)
    few = at_once
    if single >= _SLOW:
        few = min(at_once, 2)
    with ThreadPoolExecutor(few) as threads:
        results = threads.map(sample, [tokens] * few)
        together = max(seconds for _, seconds in results)
    parameters = abilities_of(endpoint).obeyed()
    completions = 1.0  # a server that ignores n gets a call for each
    if len(both) > 1:
        completions = _share(twice / single - 1, 1)
    return Trial(
        lines=(
            *_identity_lines(endpoint, answers),
            *_parameter_lines(parameters, len(both)),
        ),
        token=single / max(1.0, min(_tokens_of(answers[0]), tokens)),
        calls=_share(together / single - 1, few - 1),
        completions=completions,
        at_once=at_once,
        excerpts=excerpts,
        text_only="api" in parameters and "chat" in parameters["api"].rejected,
    )


def _tokens_of(answer: Completion | str) -> float:
    """Return the tokens of an answer, as the server counts them or as estimated."""
    counted: int | None = getattr(answer, "completion_tokens", None)
    if counted:
        return counted
    text = str(getattr(answer, "text", answer))
    return len(text.split()) * 4 / 3


def _share(delay: float, others: int) -> float:
    per_other = delay / max(1, others)
    return min(1.0, max(0.0, per_other))


def _sample(
    endpoint: Endpoint,
    tokens: int,
    n: int = 1,
) -> tuple[Sequence[Completion | str], float]:
    """Return answers to the neutral prompt, and their seconds without pauses."""
    from pytest_memleak.sampling.backoff import Retry
    from pytest_memleak.sampling.call_attempts import Notice

    def attempt() -> tuple[Sequence[Completion | str], float]:
        before = time.monotonic()
        answers = endpoint.sample(
            _NEUTRAL_PROMPT,
            n=n,
            temperature=1.0,
            max_tokens=tokens,
            seed=0,
        )
        return answers, time.monotonic() - before

    def tell(error: ProviderBusy, seconds: float) -> None:
        notice = Notice()
        notice.wait(error, seconds)
        print_sentence(str(notice))
        sys.stdout.flush()

    return Retry().run(attempt, unreached=lambda: 0.0, waiting=tell)


def _identity_lines(
    endpoint: Endpoint,
    answers: Sequence[Completion | str],
) -> Iterator[tuple[str, str]]:
    from pytest_memleak.interfaces.abilities import id_of
    from pytest_memleak.interfaces.protocols import Completion
    from pytest_memleak.pipeline.provenance_check import served_record
    from pytest_memleak.reports.generation_text import server_name
    from pytest_memleak.verdict.model_identity import served_model_issues

    yield "endpoint", id_of(endpoint) or "unnamed"
    completions = [answer for answer in answers if isinstance(answer, Completion)]
    if not completions:
        return
    first = completions[0]
    if served := first.served:
        record = served_record(
            served.model,
            served.fingerprint,
            calls=1,
            requested=False,
        )
        yield "served by", server_name(record)
        requested = abilities_of(endpoint).model_name
        if requested is not None:
            for issue in served_model_issues(requested, {served.model: 1}):
                yield "another name", str(issue)
    ended = short_name(first.finish_word or "") or first.finish_reason.value
    counts = "token counts"
    if first.completion_tokens is None:
        counts = "no token counts"
    yield "reports", f"finish reason ({ended}), {counts}"


def _parameter_lines(
    parameters: Mapping[str, Obeyed],
    came: int,
) -> Iterator[tuple[str, str]]:
    """Yield what the server accepts.

    came: the number of generations of a call that requested two
    """
    accepted = []
    rejected = []
    for name, support in parameters.items():
        if support.accepted:
            accepted.append(name)
        else:
            rejected.append(name)
    if came == 1:
        accepted = [name for name in accepted if name not in {"candidateCount", "n"}]
    if parameters:
        yield "accepts", ", ".join(accepted)
    if rejected:
        yield "rejects", f"{', '.join(rejected)} (omitted)"
    if came == 1:
        yield "returns", "one generation per call, even where two were requested"
