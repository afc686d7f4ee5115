"""Who gave a pair's answers, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Answerer", "RecordedAs", "ServedBy"]


@dataclass(frozen=True, slots=True)
class ServedBy:
    """A name that a server gave, its fingerprint or version, and how many calls it answered."""

    model: str | None
    fingerprint: str | None
    calls: int


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who gave the answers. Times are seconds since 1970.

    asked:          the name that the server was asked for, where there is one
    served:         what it said of itself
    first, last:    when the first and the last of the answers was drawn; None where all are from
                    files
    calls_this_run: calls behind them that this run made; calls: all
    imported:       how many of the answers came from files
    refused:        settings that the server would not take
    weights:        what names the weights: "release R", "fixed", or "a name" that others may have
    """

    asked: str | None = None
    served: tuple[ServedBy, ...] = ()
    first: float | None = None
    last: float | None = None
    calls_this_run: int = 0
    calls: int = 0
    imported: int = 0
    refused: tuple[str, ...] = ()
    weights: str = ""


@dataclass(frozen=True, slots=True)
class RecordedAs:
    """What a record of generations says of its excerpt's book; None where it says nothing."""

    excerpt_id: str
    book_name: str | None = None
    author_name: str | None = None
    excerpt_text: str | None = field(default=None, repr=False)
