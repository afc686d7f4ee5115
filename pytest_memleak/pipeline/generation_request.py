"""How samples are requested, for judging them, and what is wrong with instructions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.prepared_books import validated_template
from pytest_memleak.pipeline.required_samples import Purpose, RequiredSamples
from pytest_memleak.records.measurement import BY_EXCERPT
from pytest_memleak.verdict.evidence_requirements import GenerationRequest
from pytest_memleak.verdict.prompt_overlap import instruction_issues

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records import Book, Issue


def unusable_instruction_issues(required: RequiredSamples, book: Book) -> list[Issue]:
    """Return why answers to the book's instructions would be no evidence."""
    if required.pair.probe.kind != "instruction":
        return []
    return instruction_issues(book, generation_request(required))


def generation_request(
    required: RequiredSamples,
    prompts: Sequence[str] = (),
) -> GenerationRequest:
    """Return how samples are requested, for judging them: a baseline may refuse.

    prompts: the ids of those that were sent, where they request no excerpt
    """
    pair = required.pair
    limits = pair.answers
    if required.purpose is Purpose.BASELINE:
        limits = replace(limits, accept_refusals=True)
    return GenerationRequest(
        samples=pair.sampling.samples,
        temperature=pair.sampling.temperature,
        trim=pair.scoring.trim,
        words=pair.scoring.word_mode,
        continuation=pair.probe.kind == "continuation",
        template=validated_template(pair.book),
        named=None if pair.probe.kind in BY_EXCERPT else tuple(prompts),
        limits=limits,
    )
