"""Null books that come back: negative controls that give no chance level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.records import Issue
from pytest_memleak.verdict.recited_controls import (
    own_book_passage_measures,
    recited_control_issues,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.pipeline.counted_generations import CountedGenerations
    from pytest_memleak.scoring.generation_tally import Count


def recited_null_book_issues(null: CountedGenerations, count: Count) -> Iterator[Issue]:
    """Yield an issue if a null book is a negative control that the model recites.

    count: matches and counts its generations, read again
    """
    pair = null.required.pair
    if not pair.control:
        return
    try:
        tally = count(null.book, pair.scoring, null.sampled.generations())
    except MemleakError as error:
        yield null.required.with_label(Issue.of_error("null", error))
        return
    passages = tally.passages()
    if passages:
        values = own_book_passage_measures(passages)
        yield from recited_control_issues(pair.book.id, values, pair.limits)
