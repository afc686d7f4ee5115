"""What a reader of a pass doesn't see: how the model was prompted for the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, percent, percent_at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.prompt_rates import PromptRate

_MOST_RATES = 5


def prompt_lines(result: PairResult) -> Iterator[str]:
    """State of a pass which prompts ask not to quote, and what wasn't prompted."""
    facts = result.prompts
    if facts is None or result.plain_verdict is not Verdict.PASS:
        return
    if facts.forbidding:
        yield (
            f"Asks not to quote: {' and '.join(facts.forbidding)}. This pass doesn't "
            "show what the model writes without that request."
        )
    if facts.ready_made:
        of_book = ""
        if facts.of_book > facts.excerpts:
            of_book = f" of at least {facts.of_book:,}"
        excerpts = amount(facts.excerpts, "excerpt")
        yield (
            f"Prompted for {excerpts}{of_book}, from ready-made records: text of the "
            "book that they leave out isn't tested."
        )


def extraction_lines(result: PairResult) -> Iterator[str]:
    """State how an extraction went, and why it ended."""
    facts = result.extraction
    if facts is None:
        return
    text = f"Extraction ({facts.manner}): {facts.openings} of {facts.all_openings} "
    text += "openings asked"
    if facts.opened_by is not None:
        turns = f"{facts.turns:,} of {amount(facts.most_turns, 'turn')}"
        text += f", opened by {facts.opened_by.replace('-', ' ')}; {turns}"
    yield f"{text}; ended: {facts.ended or 'not yet'}"


def named_prompt_rate_lines(result: PairResult) -> Iterator[str]:
    """State how often each named prompt brought a long passage, the worst first."""
    rates = sorted(result.prompt_rates, key=lambda rate: -rate.hits)
    leaking = [rate for rate in rates if rate.hits]
    for rate in leaking[:_MOST_RATES]:
        yield f"{rate.id}: {prompt_rate_text(rate)}"
    if len(leaking) > _MOST_RATES:
        more = amount(len(leaking) - _MOST_RATES, "more prompt")
        yield f"{more} brought a passage over the limit"
    silent = rates[len(leaking) :]
    for samples in sorted({rate.samples for rate in silent}):
        alike = [rate for rate in silent if rate.samples == samples]
        prompts = alike[0].id if len(alike) == 1 else f"{len(alike):,} prompts"
        yield f"{prompts}: {prompt_rate_text(alike[0])}"


def prompt_rate_text(rate: PromptRate) -> str:
    """State in how many samples a passage over the limit came, and how sure that is."""
    count = f"{rate.hits:,} of {amount(rate.samples, 'sample')}"
    if not rate.hits:
        return f"{count} over the limit, at most {percent_at_most(rate.high)}"
    return (
        f"{count} over the limit ({percent(rate.low)}–{percent(rate.high)}); the "
        f"longest passage has {rate.words:,} words ({rate.place})"
    )


def prompted_excerpt_lines(result: PairResult) -> Iterator[str]:
    """State how many of a book's excerpts were prompted."""
    facts = result.prompts
    if facts is not None and facts.of_book and not facts.ready_made:
        of_book = amount(facts.of_book, "excerpt")
        yield f"Prompted for {facts.excerpts:,} of the book's {of_book}"
