"""The probability of a book's windows as text: it judges nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_memleak.records.number_format import amount, percent
from pytest_memleak.scoring.window_probability import PREFIX_TOKENS, WINDOW_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.probability_facts import ProbabilityFacts

_LEAST_PERCENT = 1e-4
NO_VERDICT = (
    f"How likely the model is to go on with {WINDOW_TOKENS} tokens of the book word "
    f"for word, after {PREFIX_TOKENS} tokens of it, whatever it answers in a chat. "
    "This judges nothing."
)


def probability_lines(result: PairResult) -> Iterator[str]:
    """State which share of a book's windows samples would bring back."""
    facts = result.probability
    if facts is None:
        return
    if facts.shares:
        shares = []
        for row in facts.shares:
            samples = amount(row.samples, "sample")
            shares.append(f"{percent(row.share)} by {samples}")
        yield (
            f"Probability (judges nothing): {_measured(facts)} of {WINDOW_TOKENS} "
            f"tokens; extractable: {', '.join(shares)}"
        )
    elif not facts.fault:
        yield "Probability (judges nothing): the book is too short for a window"
    if facts.fault:
        yield f"Probability not measured: {facts.fault}"


def _measured(facts: ProbabilityFacts) -> str:
    text = amount(facts.windows, "window")
    if facts.planned is not None and facts.windows < facts.planned:
        text = f"{facts.windows:,} of {amount(facts.planned, 'window')}"
    if facts.unreadable:
        text += f" ({facts.unreadable:,} unreadable)"
    return text


def likelihood_text(log_p: float) -> str:
    """State a probability: as percentage, or as 1 in a power of ten."""
    p = math.exp(log_p)
    if p >= _LEAST_PERCENT:
        return percent(p)
    return f"1 in 10^{-log_p / math.log(10):.0f}"
