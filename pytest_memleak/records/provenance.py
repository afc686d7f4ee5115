"""The endpoint, weights, dates and distribution behind a pair's generations."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pytest_memleak.records.number_format import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WEIGHTS = re.compile(r"sha256:([0-9a-f]{64})")


def fingerprint_of_weights(digest: str) -> str:
    """Format the fingerprint of weights on this machine, from their SHA-256."""
    return f"sha256:{digest}"


def weights_digest(fingerprint: str | None) -> str | None:
    """Return the digest in such a fingerprint; None for any other."""
    match = _WEIGHTS.fullmatch(fingerprint or "")
    return match and match[1]


def server_fingerprint(fingerprint: str | None) -> str | None:
    """Mark a server's own fingerprint if it looks like a digest computed here."""
    if weights_digest(fingerprint):
        return f"self-reported: {fingerprint}"
    return fingerprint


@dataclass(frozen=True, slots=True)
class ServedBy:
    """A name that a server gave, its fingerprint or version, and its answered calls."""

    model: str | None
    fingerprint: str | None
    calls: int


@dataclass(frozen=True, slots=True)
class OtherAttempt:
    """What one other attempt of the same model on the same book reproduced.

    number: of the attempt, from 1
    longest_passage, nv_longest_passage: words of its longest passages
    over_limit: whether they exceed a limit of this pair
    """

    number: int
    longest_passage: int
    nv_longest_passage: int
    over_limit: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """Attempts of a model on a book, up to these generations.

    number:       of this attempt, from 1. Other prompts, settings, or seeds, and
                  resampling of aged generations, are another attempt; temperature 0
                  counts only if these are at 0 too, since greedy generations and
                  canaries are. What another pair of the suite requests doesn't count
    seeds, temperatures: number of different ones in this and earlier attempts
    resampled:    how often aged generations were resampled
    runs:         number of runs that sampled them
    removed:      generations received but no longer in the ledger
    further:      generations for the same prompts that aren't among these: more
        samples, late and unrequested ones
    others:       other attempts whose texts count, in order
    """

    number: int
    seeds: int = 1
    temperatures: int = 1
    resampled: int = 0
    runs: int = 1
    removed: int = 0
    further: int = 0
    others: tuple[OtherAttempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Endpoint, weights, dates and calls behind generations.

    requested:   the requested model name, if any
    first, last: times of the first and last generation, in seconds since 1970; None if
        all are from files
    offline:     whether the run could make no calls, so no canaries were requested
        again
    refused:     settings that the server rejects
    weights:     identity of the weights: "release R", "fixed", or "a name", which can
    change
    tried:       earlier attempts; None if nothing was sampled
    """

    requested: str | None = None
    served: tuple[ServedBy, ...] = ()
    first: Annotated[float | None, DAY] = None
    last: Annotated[float | None, DAY] = None
    calls_this_run: int = 0
    calls: int = 0
    offline: bool = False
    refused: tuple[str, ...] = ()
    weights: str = ""
    tried: Tried | None = None


@dataclass(frozen=True, slots=True)
class RecordedAs:
    """Book data in a record of generations; None for what it lacks."""

    excerpt_id: str
    book_name: str | None = None
    author_name: str | None = None
    excerpt_text: str | None = field(default=None, repr=False)
    instruction: str | None = field(default=None, repr=False)


# Without these, a server's defaults apply. A rejected temperature has its own rule.
_SHAPES = (
    "top_p",
    "topP",
    "top_k",
    "topK",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)


def describe_distribution(options: Mapping[str, Any], refused: Iterable[str]) -> str:
    """Describe the sampling distribution; different ones can't be compared.

    options: of the model, `sampling` above all
    """
    if options.get("sampling") == "server":
        return "the server's defaults"
    refused = set(refused)
    but = ", ".join(name for name in _SHAPES if name in refused)
    changes = [f"{but}, which the server rejects"] if but else []
    further = {
        **options.get("extra_body", {}),
        **options.get("generation_config", {}),
    }
    changes += [f"{name} = {further[name]}" for name in _SHAPES if name in further]
    if not changes:
        return "the model's own"
    return f"the model's own, except {'; '.join(changes)}"
