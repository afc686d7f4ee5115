"""Words that limits don't apply to, as text, with the numbers that count them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records.number_format import amount
from pytest_memleak.reports.measure_text import format_value
from pytest_memleak.scoring.measure_table import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records.pair_result import PairResult


def excused_word_lines(result: PairResult) -> Iterator[str]:
    """State how many words are excused, by which texts, and the measures with them."""
    excused = result.excused
    if excused is None:
        return
    if excused.words:
        words = amount(excused.words, "word")
        texts = ", ".join(excused.by_text)
        yield f"Excused: {words} of the book, which limits don't apply to: in {texts}"
    values = result.values
    whole = [
        f"{name} {format_value(MEASURES[name], value)}"
        for name, value in excused.measures.items()
        if values.get(name) != value
    ]
    if whole:
        yield f"With excused words: {', '.join(whole)}"
