"""The endpoint, weights, dates and sampling distribution behind a pair's generations."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WEIGHTS = re.compile(r"sha256:([0-9a-f]{64})")


def fingerprint_of_weights(digest: str) -> str:
    """How weights that are on this machine are told, by the SHA-256 (hexadecimal) of them."""
    return f"sha256:{digest}"


def weights_digest(fingerprint: str | None) -> str | None:
    """The digest in such a fingerprint; None in any other."""
    match = _WEIGHTS.fullmatch(fingerprint or "")
    return match and match[1]


def server_fingerprint(fingerprint: str | None) -> str | None:
    """A server's own word of itself, which never passes for a digest that was taken here."""
    return f"it says {fingerprint}" if weights_digest(fingerprint) else fingerprint


@dataclass(frozen=True, slots=True)
class ServedBy:
    """A name that a server gave, its fingerprint or version, and how many calls it answered."""

    model: str | None
    fingerprint: str | None
    calls: int


@dataclass(frozen=True, slots=True)
class Tried:
    """How often an endpoint was asked for a book before, up to these answers.

    number:       which attempt they are, the first being 1. Answers with another seed or
                  temperature, and those drawn anew since others had aged, are another attempt;
                  those at temperature 0 only where these are at 0 too, since greedy answers and
                  canaries are
    seeds, temperatures: how many different ones these and the earlier attempts had
    anew:         how often answers were drawn anew since others had aged
    runs, files:  how many runs drew them, and from how many files some were imported
    removed:      answers that came and are no longer in the ledger
    further:      answers at the same setting that are not among these: of more samples, to other
                  instructions or of another length, late ones, and what came unasked
    """

    number: int
    seeds: int = 1
    temperatures: int = 1
    anew: int = 0
    runs: int = 1
    files: int = 0
    removed: int = 0
    further: int = 0


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who gave the answers. Times are seconds since 1970.

    requested:          the name that the server was asked for, where there is one
    served:         what it said of itself
    first, last:    when the first and the last of the answers was drawn; None where all are from
                    files
    calls_this_run: calls behind them that this run made; calls: all
    imported:       how many of the answers came from files
    refused:        settings that the server would not take
    weights:        what names the weights: "release R", "fixed", or "a name" that others may have
    tried:          how often they were drawn before; None where nothing was drawn
    """

    requested: str | None = None
    served: tuple[ServedBy, ...] = ()
    first: float | None = None
    last: float | None = None
    calls_this_run: int = 0
    calls: int = 0
    imported: int = 0
    refused: tuple[str, ...] = ()
    weights: str = ""
    tried: Tried | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Provenance:
        """The inverse of `dataclasses.asdict`, also after a journey through JSON."""
        return cls(
            **{
                **data,
                "served": tuple(ServedBy(**server) for server in data["served"]),
                "refused": tuple(data["refused"]),
                "tried": data["tried"] and Tried(**data["tried"]),
            }
        )


@dataclass(frozen=True, slots=True)
class RecordedAs:
    """What a record of generations says of its excerpt's book; None where it says nothing."""

    excerpt_id: str
    book_name: str | None = None
    author_name: str | None = None
    excerpt_text: str | None = field(default=None, repr=False)


# Left out, a server's own values of these hold. A temperature that was refused is judged by itself.
_SHAPES = (
    *("top_p", "topP", "top_k", "topK", "min_p"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)


def distribution(options: Mapping[str, Any], refused: Iterable[str]) -> str:
    """In words; answers of two distributions cannot be compared (`options.sampling`).

    options: of the model; refused: settings that the server would not take
    """
    if options.get("sampling") == "server":
        return "the server's own"
    refused = set(refused)
    but = ", ".join(name for name in _SHAPES if name in refused)
    changes = [f"{but}, which the server refuses"] if but else []
    further = {**options.get("extra_body", {}), **options.get("generation_config", {})}
    changes += [f"{name} = {further[name]}" for name in _SHAPES if name in further]
    return f"the model's own, but for {'; '.join(changes)}" if changes else "the model's own"
