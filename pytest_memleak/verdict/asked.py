"""What was asked of a model, and how much of it has to be answered (METRICS section 10)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_memleak.records import WordMode

__all__ = ["AnswerLimits", "Asked", "Kind", "exact"]


class Kind(StrEnum):
    """What one generation is; the first that applies."""

    WITHHELD = "withheld"
    EMPTY = "empty"
    REFUSAL = "refusal"
    ECHO = "echo"
    CUT = "cut"
    SHORT = "short"
    CANNED = "canned"
    UNREADABLE = "unreadable"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """How complete answers have to be; keys of the suite, and of a model.

    min_answer:     own words, as a share of the excerpt's, under which an answer is short
    max_short:      the share of generations that may be short
    max_unanswered: the share that may be neither short nor an answer
    accept_refusals: whether a refusal counts as an answer
    max_given_away: the share of the measured words that instructions may tell
    """

    min_answer: float = 0.2
    max_short: float = 0.25
    max_unanswered: float = 0.05
    accept_refusals: bool = False
    max_given_away: float = 0.1


@dataclass(frozen=True, slots=True)
class Asked:
    """How a pair's generations were asked for.

    samples:      generations for each excerpt
    temperature:  None where the server's own was left as it is
    trim:         m of the m-grams that an instruction gives away
    words:        the suite's word mode
    continuation: whether excerpts were to be continued; the book is then of their rests
    """

    samples: int
    temperature: float | None = 1.0
    trim: int = 5
    words: WordMode = "paper"
    continuation: bool = False
    limits: AnswerLimits = AnswerLimits()


def exact(share: float) -> Fraction:
    """A share as it is written: 0.29 of 100 is 29."""
    return Fraction(repr(share))
