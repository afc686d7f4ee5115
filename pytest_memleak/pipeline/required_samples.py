"""All samples that a pair's verdict requires, as one list, and the prompts that request them.

    required_samples(pair, suite) -> the pair's own, greedy ones, those of nulls and the baseline
    all_generations(samples)      -> every generation with its origin, to be searched for passages

Planning, pricing, sampling, counting, hashing, and scoring walk this list. Passages
count in the pair's own, greedy, canary (`pipeline.canaries`), and unrequested
generations (`pipeline.sampled_generations`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pytest_memleak.books.instructions import (
    BARE_PREFIX,
    CONTINUE_INSTRUCTION,
    beginnings,
)
from pytest_memleak.interfaces.abilities import abilities_of, baseline_of
from pytest_memleak.ledger.prompts import PairPrompts, build_prompts
from pytest_memleak.records import Book, Generation, Origin, Pair, Suite
from pytest_memleak.scoring.measure_table import CHANCE, with_needs
from pytest_memleak.scoring.words import count_for_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint


class Purpose(StrEnum):
    """The purpose of samples."""

    OWN = "own"
    GREEDY = "greedy"
    CANARY = "canary"
    UNREQUESTED = "unrequested"
    NULL = "null"
    BASELINE = "baseline"


_ORIGINS = {
    Purpose.OWN: Origin.SAMPLED,
    Purpose.GREEDY: Origin.GREEDY,
    Purpose.CANARY: Origin.CANARY,
    Purpose.UNREQUESTED: Origin.UNREQUESTED,
}


@dataclass(frozen=True, slots=True)
class RequiredSamples:
    """Samples that a verdict requires.

    pair: model, book, settings, and probe: the pair itself, or another one
    endpoint: replaces the suite's own, where a test brought one
    missing: why they can't be sampled, where that is known in advance
    """

    purpose: Purpose
    pair: Pair
    endpoint: Endpoint | None = None
    missing: str | None = None

    def describe(self, issue: str) -> str:
        """Return the issue with the purpose of these samples."""
        if self.purpose is Purpose.NULL:
            return f"null book {self.pair.book.id!r}: {issue}"
        if self.purpose is Purpose.BASELINE:
            return f"baseline {self.pair.model.id!r}: {issue}"
        return f"greedy: {issue}" if self.purpose is Purpose.GREEDY else issue


class Samples(Protocol):
    """The samples for a requirement (`pipeline.sampled_generations`)."""

    @property
    def required(self) -> RequiredSamples:
        """The requirement that they meet."""

    def generations(self) -> Iterator[Generation]:
        """Return the requested ones."""


def required_samples(
    pair: Pair, suite: Suite, endpoint: Endpoint | None = None
) -> tuple[RequiredSamples, ...]:
    """Return what the pair requires, in the order of sampling: the pair's own come first."""
    return tuple(_wanted(pair, suite, endpoint))


def _wanted(
    pair: Pair, suite: Suite, endpoint: Endpoint | None
) -> Iterator[RequiredSamples]:
    yield RequiredSamples(Purpose.OWN, pair, endpoint)
    if pair.probe.kind == "continuation":
        # Twice at temperature 0, since servers vary.
        greedy = dataclasses.replace(pair.sampling, samples=2, temperature=0.0)
        yield RequiredSamples(
            Purpose.GREEDY, dataclasses.replace(pair, sampling=greedy), endpoint
        )
    if with_needs(pair.limits, CHANCE):
        for other in _nulls_of(pair, suite):
            yield RequiredSamples(Purpose.NULL, other, endpoint)
    if pair.model.baseline_model is not None:
        yield _of_baseline(pair, suite, endpoint)


def _nulls_of(pair: Pair, suite: Suite) -> list[Pair]:
    """Return the pairs that give the chance level, only controls if the suite has any.

    They prompt the same model for other books in the same way (docs/method.md).
    """
    key = pair.model.id, pair.probe.kind
    others = [
        other
        for other in suite.pairs
        if (other.model.id, other.probe.kind) == key and other.book.id != pair.book.id
    ]
    return [other for other in others if other.control] or others


def _of_baseline(
    pair: Pair, suite: Suite, endpoint: Endpoint | None
) -> RequiredSamples:
    model = next(
        model for model in suite.models if model.id == pair.model.baseline_model
    )
    theirs = dataclasses.replace(pair, model=model)
    if endpoint is None:
        return RequiredSamples(Purpose.BASELINE, theirs)
    if (baseline := baseline_of(endpoint)) is not None:
        return RequiredSamples(Purpose.BASELINE, theirs, baseline)
    # The suite's baseline belongs to another model than a test's own endpoint.
    missing = "your own endpoint needs an attribute `baseline`: the endpoint to compare it with"
    return RequiredSamples(Purpose.BASELINE, theirs, endpoint, missing)


def all_generations(parts: Iterable[Samples]) -> Iterator[Generation]:
    """Yield every generation with its origin, and with all that the model wrote for it."""
    for part in parts:
        origin = _ORIGINS[part.required.purpose]
        for number, generation in enumerate(part.generations()):
            if origin is Origin.SAMPLED:
                yield generation
            else:
                ordinal = number if origin is Origin.CANARY else generation.ordinal
                yield dataclasses.replace(generation, origin=origin, ordinal=ordinal)


def probed_book(pair: Pair, book: Book, endpoint: Endpoint | None) -> Book:
    """Return the book as `endpoint` is prompted for it and as it is measured."""
    if pair.probe.kind == "instruction":
        return book
    default = (
        BARE_PREFIX if continuation_endpoint(pair, endpoint) else CONTINUE_INSTRUCTION
    )
    return beginnings(
        book,
        prefix_words=pair.probe.prefix_words,
        template=pair.probe.continuation_template or default,
        mode=pair.scoring.word_mode,
    )


def continuation_endpoint(pair: Pair, endpoint: Endpoint | None) -> Endpoint | None:
    """Return the endpoint that continues the pair's prompts as text; None for instructions.

    Prompts are instructions if the endpoint can't continue a text, or if the suite's
    template adds to the prefix.
    """
    if pair.probe.kind == "instruction" or (
        pair.probe.continuation_template not in (None, BARE_PREFIX)
    ):
        return None
    continuing = abilities_of(endpoint).continuing
    return continuing() if continuing is not None else None


def pair_prompts(pair: Pair, book: Book) -> PairPrompts:
    """Return the pair's prompts; `book` as it is prompted for."""
    count = partial(count_for_tokens, mode=pair.scoring.word_mode)
    return build_prompts(pair.id, book, pair.sampling, words=count)
