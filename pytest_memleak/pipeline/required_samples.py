"""Everything that a pair's verdict rests on, as one list.

    draws_of(pair, suite) -> the pair's own, greedy ones, those of the null and of the baseline
    all_texts(written)    -> every generation with its origin, to be searched for passages

What is planned, priced, drawn, counted, hashed and scored walks this list. Canaries go with the
pair's own answers (`pipeline.canaries`), and windows of a text take their place
(`pipeline.probability`).
Passages count in the pair's own, greedy, canary and unrequested generations
(`pipeline.sampled_generations`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from pytest_memleak.interfaces.protocols import BaselinedEndpoint
from pytest_memleak.pipeline.probes import as_greedy
from pytest_memleak.records import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint, Recording
    from pytest_memleak.records import Generation, Pair, Suite


class Purpose(StrEnum):
    """What answers are drawn for."""

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
    """Answers that are wanted.

    pair:     model, book, settings and probe of what is asked: the pair itself, or another one
    endpoint: takes the place of the suite's own, where a test brought one
    missing:  why they cannot be drawn, where that is known before anything is opened
    """

    purpose: Purpose
    pair: Pair
    endpoint: Endpoint | Recording | None = None
    missing: str | None = None

    def told(self, issue: str) -> str:
        """A issue in these answers, with what they are for."""
        if self.purpose is Purpose.NULL:
            return f"null from {self.pair.book.id!r}: {issue}"
        if self.purpose is Purpose.BASELINE:
            return f"baseline {self.pair.model.id!r}: {issue}"
        return f"greedy: {issue}" if self.purpose is Purpose.GREEDY else issue


class Answers(Protocol):
    """What there is of required samples (`pipeline.sampled_generations`)."""

    @property
    def draws(self) -> RequiredSamples:
        """What they were wanted for."""

    def generations(self) -> Iterator[Generation]:
        """Those that were asked for."""


def draws_of(
    pair: Pair, suite: Suite, endpoint: Endpoint | Recording | None = None
) -> tuple[RequiredSamples, ...]:
    """What the pair needs, in the order in which it is drawn: the pair's own are the first."""
    return tuple(_wanted(pair, suite, endpoint))


def _wanted(
    pair: Pair, suite: Suite, endpoint: Endpoint | Recording | None
) -> Iterator[RequiredSamples]:
    yield RequiredSamples(Purpose.OWN, pair, endpoint)
    if pair.probe.kind == "continuation":
        likeliest = dataclasses.replace(pair, sampling=as_greedy(pair.sampling))
        yield RequiredSamples(Purpose.GREEDY, likeliest, endpoint)
    if "bmc_excess" in pair.limits:
        for other in _nulls_of(pair, suite):
            yield RequiredSamples(Purpose.NULL, other, endpoint)
    if pair.model.baseline_model is not None:
        yield _of_baseline(pair, suite, endpoint)


def _nulls_of(pair: Pair, suite: Suite) -> list[Pair]:
    """The pairs whose answers are the measure of chance: of controls where the suite has any."""
    others = [other for other in suite.pairs if _is_null_of(other, pair)]
    return [other for other in others if other.control] or others


def _is_null_of(other: Pair, pair: Pair) -> bool:
    """Whether the same model is asked for another book in the same way (METRICS section 7)."""
    asked_alike = other.model.id == pair.model.id and other.probe.kind == pair.probe.kind
    return asked_alike and other.book.id != pair.book.id


def _of_baseline(
    pair: Pair, suite: Suite, endpoint: Endpoint | Recording | None
) -> RequiredSamples:
    model = next(one for one in suite.models if one.id == pair.model.baseline_model)
    theirs = dataclasses.replace(pair, model=model)
    if endpoint is None:
        return RequiredSamples(Purpose.BASELINE, theirs)
    if isinstance(endpoint, BaselinedEndpoint):
        return RequiredSamples(Purpose.BASELINE, theirs, endpoint.baseline)
    # The suite's own baseline is of another model than an endpoint of one's own.
    missing = (
        "the endpoint of your own has no attribute `baseline`, the endpoint it is to be "
        "compared with"
    )
    return RequiredSamples(Purpose.BASELINE, theirs, endpoint, missing)


def all_texts(written: Iterable[Answers]) -> Iterator[Generation]:
    """Every generation with its origin, and with all that the model wrote for it."""
    for part in written:
        origin = _ORIGINS[part.draws.purpose]
        for number, generation in enumerate(part.generations()):
            if origin is Origin.SAMPLED:
                yield generation
            else:
                ordinal = number if origin is Origin.CANARY else generation.ordinal
                yield dataclasses.replace(generation, origin=origin, ordinal=ordinal)
