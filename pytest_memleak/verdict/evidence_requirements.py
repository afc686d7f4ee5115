"""What was asked of a model, and how much of it has to be answered (METRICS section 10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from pytest_memleak.records import AnswerLimits

if TYPE_CHECKING:
    from pytest_memleak.records import WordMode


@dataclass(frozen=True, slots=True)
class Asked:
    """How a pair's generations were asked for.

    samples:      generations for each excerpt, 0 where nobody asked
    temperature:  None where the server's own was left as it is
    trim:         m of the m-grams that an instruction gives away
    words:        the suite's word mode
    continuation: whether excerpts were to be continued; the book is then of their rests
    template:     of the instructions; its own words ask for nothing
    recorded:     whether the generations come from a file, so that nobody here draws them
    """

    samples: int
    temperature: float | None = 1.0
    trim: int = 5
    words: WordMode = "paper"
    continuation: bool = False
    template: str = ""
    recorded: bool = False
    limits: AnswerLimits = field(default_factory=AnswerLimits)

    def counts(self, ordinal: int) -> bool:
        """Whether a generation is of the rounds asked for; where nobody asked, all count."""
        return not self.samples or ordinal < self.samples


def exact(share: float) -> Fraction:
    """A share as it is written: 0.29 of 100 is 29."""
    return Fraction(repr(share))
