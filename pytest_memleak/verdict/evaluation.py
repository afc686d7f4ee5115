"""One pair, evaluated: the record that reports speak of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_memleak.records import (
        Book,
        Completeness,
        Generation,
        Judgement,
        Measurement,
        Pair,
    )
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.catalogue import Elsewhere
    from pytest_memleak.scoring.extraction import Extraction

__all__ = ["CountedDraws", "Evaluation"]


@dataclass(frozen=True, slots=True)
class CountedDraws:
    """Answers that a verdict rests on.

    purpose: own, greedy, null or baseline; pair: whose questions they answer
    endpoint: the ledger's name of who answered, None for a recording
    asked, got: generations; sha256: over excerpts, ordinals, finish reasons and texts
    """

    purpose: str
    pair: str
    endpoint: str | None
    asked: int
    got: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One pair, evaluated: everything that reports speak of.

    book, measurement and analysis are None where the evidence could not be had; with the probe
    "probability" there is an extraction in place of the last two.
    job: id of the fine-tune behind the endpoint; spared: what an early stop did not draw;
    elsewhere: what the generations give of books that nobody asked for; unread: those of them that
    could not be looked for, and why;
    draws: the answers that it rests on, counted: the pair's own first; generations: these
    answers themselves, fresh with each call.
    """

    suite: str
    suite_digest: str
    pair: Pair
    judgement: Judgement
    completeness: Completeness
    book: Book | None = None
    endpoint: str | None = None
    job: str | None = None
    measurement: Measurement | None = None
    analysis: Analysis | None = None
    extraction: Extraction | None = None
    spared: str | None = None
    draws: tuple[CountedDraws, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    unread: tuple[str, ...] = ()
    generations: Callable[[], Iterable[Generation]] = field(default=tuple, repr=False)

    def digest_of(self, purpose: str) -> str:
        """SHA-256 of the answers drawn for that purpose, "" where there are none."""
        return next((one.sha256 for one in self.draws if one.purpose == purpose), "")
