"""All samples that a pair's verdict requires, as one list.

    required_samples(pair, suite) -> the pair's own, greedy, null books', the baseline's
    all_generations(samples)      -> every generation with its origin, to be scanned

`pipeline.sampling_plan` turns each into steps. Passages count in the pair's own,
greedy, canary (`pipeline.canaries`), and unrequested generations, and in those of other
attempts (`pipeline.other_attempts`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from pytest_memleak.interfaces.abilities import baseline_of
from pytest_memleak.records import Generation, Issue, Origin, Pair, Suite
from pytest_memleak.records.measurement import BY_EXCERPT
from pytest_memleak.scoring.measure_table import CHANCE, with_needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint


class Purpose(StrEnum):
    """The purpose of samples."""

    OWN = "own"
    GREEDY = "greedy"
    CANARY = "canary"
    UNREQUESTED = "unrequested"
    ATTEMPT = "attempt"
    NULL = "null"
    BASELINE = "baseline"
    CONTROL = "control"
    PROBABILITY = "probability"


_ORIGINS = {
    Purpose.OWN: Origin.SAMPLED,
    Purpose.GREEDY: Origin.GREEDY,
    Purpose.CANARY: Origin.CANARY,
    Purpose.UNREQUESTED: Origin.UNREQUESTED,
    Purpose.ATTEMPT: Origin.ATTEMPT,
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

    @property
    def label(self) -> str:
        """What these samples are for, as issues name it; "" for the pair's own."""
        match self.purpose:
            case Purpose.NULL:
                return f"null book {self.pair.book.id!r}"
            case Purpose.BASELINE:
                return f"baseline {self.pair.model.id!r}"
            case Purpose.GREEDY | Purpose.PROBABILITY:
                return str(self.purpose)
            case _:
                return ""

    def with_label(self, issue: Issue) -> Issue:
        """Return an issue of these samples, with their label before its place."""
        return issue.placed_in(self.label)


class Samples(Protocol):
    """The samples for a requirement (`pipeline.sample_pair`)."""

    @property
    def required(self) -> RequiredSamples:
        """The requirement that they meet."""

    def generations(self) -> Iterator[Generation]:
        """Return the requested ones."""


def required_samples(
    pair: Pair,
    suite: Suite,
    endpoint: Endpoint | None = None,
) -> tuple[RequiredSamples, ...]:
    """Return what the pair requires, its own samples first."""
    return tuple(_own_and_reference_samples(pair, suite, endpoint))


def _own_and_reference_samples(
    pair: Pair,
    suite: Suite,
    endpoint: Endpoint | None,
) -> Iterator[RequiredSamples]:
    yield RequiredSamples(Purpose.OWN, pair, endpoint)
    if suite.probability:
        yield RequiredSamples(Purpose.PROBABILITY, pair, endpoint)
    if pair.probe.kind not in BY_EXCERPT:
        return
    if pair.probe.kind == "continuation":
        # Twice at temperature 0, since servers vary.
        greedy = dataclasses.replace(pair.sampling, samples=2, temperature=0.0)
        yield RequiredSamples(
            Purpose.GREEDY,
            dataclasses.replace(pair, sampling=greedy),
            endpoint,
        )
    if with_needs(pair.limits, CHANCE):
        for other in _chance_level_pairs(pair, suite):
            yield RequiredSamples(Purpose.NULL, other, endpoint)
    if pair.model.baseline_model is not None:
        yield _baseline_samples(pair, suite, endpoint)


def _chance_level_pairs(pair: Pair, suite: Suite) -> list[Pair]:
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


def _baseline_samples(
    pair: Pair,
    suite: Suite,
    endpoint: Endpoint | None,
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
    return RequiredSamples(
        Purpose.BASELINE,
        theirs,
        endpoint,
        missing="your own endpoint needs an attribute `baseline`: the endpoint to "
        "compare it with",
    )


def all_generations(parts: Iterable[Samples]) -> Iterator[Generation]:
    """Yield every generation with its origin, and with all that was written for it."""
    for part in parts:
        origin = _ORIGINS[part.required.purpose]
        for number, generation in enumerate(part.generations()):
            if origin is Origin.SAMPLED:
                yield generation
            else:
                ordinal = number if origin is Origin.CANARY else generation.ordinal
                yield dataclasses.replace(generation, origin=origin, ordinal=ordinal)
