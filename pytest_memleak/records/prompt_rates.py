"""How often each named prompt brought a long passage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PromptRate:
    """How often a prompt's samples held a passage over the limit (docs/method.md).

    id:      of the prompt
    hits, samples: samples with such a passage, of those received
    low, high: the exact ends of the rate, each one-sided at the pair's confidence
    words:   of the longest passage, verbatim or near-verbatim; 0 without one
    place:   of its words: book, if another, and excerpt; "" without one
    claimed_words: of the longest passage in the answer that was claimed; None if none
        was
    claimed_place: of its words
    """

    id: str
    hits: int
    samples: int
    low: float
    high: float
    words: int
    place: str
    claimed_words: int | None = None
    claimed_place: str = ""
