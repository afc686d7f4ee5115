"""What a pair requests of a model, and the fix for each broken requirement (METRICS section 10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from pytest_memleak.records import AnswerLimits, Kind
from pytest_memleak.records.book import WAYS_TO_ASK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_memleak.records import WordMode


@dataclass(frozen=True, slots=True)
class GenerationRequest:
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


DRAWN: Mapping[str, str] = {
    "asked": "give the book excerpts",
    "all there": "run again to draw the others, or lower samples",
    "no more": "raise samples to their number, so that all are judged; what a server sent over "
    "what it was asked for stays: see what it makes of n, and draw anew under another release",
    "short": "read some of them: ask more plainly for the length, or raise max_short if they are "
    "whole answers",
    "median yield": "ask more plainly for the length, or raise max_tokens",
    "excerpts without an answer": "look at their instructions and generations: what was asked may "
    "be what is refused",
    "recitation": "measure an endpoint without that filter; this is no evidence of a clean model",
    "sampled": "see what temperature it takes, and whether something caches its answers",
    "not asked": WAYS_TO_ASK,
    "vague": "write summaries that say what happens in the excerpt, or ask for the works of a "
    "collection by {title} and {author}",
    "aim": "write summaries that name who and what each excerpt is about, in the excerpts' order; "
    "refusals, or the summaries of another book, do not",
    "given away": "write summaries in words of their own",
    Kind.WITHHELD: "the provider keeps them back: measure an endpoint without its filters",
    Kind.EMPTY: "see what the server sends in place of text",
    Kind.REFUSAL: "set accept_refusals = true if refusing is what this model is there for",
    Kind.ECHO: "they repeat the instruction: reword it",
    Kind.CUT: "raise max_tokens: a model that thinks spends them before it writes",
    Kind.CANNED: "they are the same whatever is asked: see what stands between you and the model",
    Kind.UNREADABLE: "they are not prose like the book's: see what the server does to its text",
}

RECORDED: Mapping[str, str] = {
    "all there": "hand in the file with all of them, or lower samples",
    "no more": "raise samples to their number, so that all are judged",
    "short": "read some of them: raise max_short if they are whole answers, or hand in answers "
    "to instructions that ask more plainly for the length",
    "median yield": "hand in answers to instructions that ask more plainly for the length, or "
    "that had room for more tokens",
    "recitation": "hand in answers of an endpoint without that filter; these are no evidence of a "
    "clean model",
    "sampled": "see at what temperature they were sampled, and whether something cached them",
    Kind.WITHHELD: "the provider kept them back: hand in answers of an endpoint without filters",
    Kind.EMPTY: "see how the file was written: it has no text for them",
    Kind.ECHO: "they repeat the instruction: hand in answers to another",
    Kind.CUT: "hand in answers that had room for more tokens: a model that thinks spends them "
    "before it writes",
    Kind.CANNED: "they are the same whatever was asked: see what stood between file and model",
    Kind.UNREADABLE: "they are not prose like the book's: see what was done to them on their way "
    "into the file",
}


def fix(rule: str, *, recorded: bool) -> str:
    """What to do where `rule`, or too many of a kind, break the evidence."""
    return RECORDED.get(rule, DRAWN[rule]) if recorded else DRAWN[rule]
