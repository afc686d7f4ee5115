"""What a reader of a pass doesn't see: how the model was prompted for the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records.pair_result import PairResult


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


def excerpts_line(result: PairResult) -> Iterator[str]:
    """State how many of a book's excerpts were prompted."""
    facts = result.prompts
    if facts is not None and facts.of_book and not facts.ready_made:
        of_book = amount(facts.of_book, "excerpt")
        yield f"Prompted for {facts.excerpts:,} of the book's {of_book}"
