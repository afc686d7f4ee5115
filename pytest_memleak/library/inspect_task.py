"""inspect_ai: a task that asks for a book's excerpts, and a scorer of passages.

    inspect eval pytest_memleak/recall -T book=novel.epub --model openai/NAME

Prompts are the excerpts' instructions, where the book was prepared with summaries; else
each excerpt's beginning, to be continued.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import (
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    mean,
    metric,
    scorer,
)
from inspect_ai.solver import TaskState, generate

from pytest_memleak.books.instructions import beginnings
from pytest_memleak.formats.reasoning_and_tool_calls import texts_in
from pytest_memleak.library.book_files import read_book
from pytest_memleak.library.library import Library
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, PASSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX_WORDS = 50


@task
def recall(
    book: str,
    protected: str | Sequence[str] = (),
    limit: int = PASSAGE_LIMIT,
) -> Task:
    """Ask for each excerpt of a book; score passages of it and of `protected` books."""
    asked = read_book(Path(book))
    if not all(excerpt.instruction for excerpt in asked.excerpts):
        asked = beginnings(asked, prefix_words=_PREFIX_WORDS)
    samples = [
        Sample(id=excerpt.id, input=excerpt.instruction or "")
        for excerpt in asked.excerpts
    ]
    others = [protected] if isinstance(protected, str) else protected
    scorer = passages([book, *others], limit)
    return Task(
        dataset=samples,
        solver=generate(),
        scorer=scorer,
    )


@metric
def longest() -> Metric:
    """Return the most words of all samples."""

    def most(scores: list[SampleScore]) -> float:
        return max((score.score.as_float() for score in scores), default=0.0)

    return most


@scorer(metrics={LONGEST_PASSAGE.name: [longest(), mean()], "over_limit": [mean()]})
def passages(books: str | Sequence[str], limit: int = PASSAGE_LIMIT) -> Scorer:
    """Score the words of a model's longest passage, and whether it's over `limit`.

    The metadata names the passages' places. Words that the sample's input contains
    don't count.
    """
    library = Library.of([books] if isinstance(books, str) else books)

    async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001 - a scorer has both
        written: list[Any] = [
            message.model_dump()
            for message in state.messages
            if message.role == "assistant"
        ]
        texts = texts_in(written)
        in_texts = library.find(texts, [state.input_text] * len(texts))
        words = max((passage.words for passage in in_texts), default=0)
        places = [passage._asdict() for passage in in_texts]
        value = {LONGEST_PASSAGE.name: words, "over_limit": int(words > limit)}
        return Score(value=value, metadata={"passages": places})

    return score
