"""Generations, and why each ended.

One table maps servers' words to reasons, for live servers and for recorded files alike. Any other
word, and none, is UNKNOWN: the text may be incomplete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class FinishReason(StrEnum):
    """Why a completion ended; all but the first two were withheld by the provider.

    UNKNOWN: the server said null or a word that is not known to end a whole answer;
    UNTOLD: a recorded file has no finish reason for it.
    """

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    RECITATION = "recitation"
    REFUSAL = "refusal"
    EMPTY = "empty"
    UNKNOWN = "unknown"
    UNTOLD = "untold"

    @property
    def withheld(self) -> bool:
        """Whether the provider kept the text, or part of it, to itself."""
        return self not in {FinishReason.STOP, FinishReason.LENGTH}


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


class Origin(IntEnum):
    """Why a model wrote a generation, in the order in which passages of one length rank."""

    SAMPLED = 0
    GREEDY = 1
    CANARY = 2
    UNREQUESTED = 3

    @property
    def label(self) -> str:
        """The word that evidence and reports use."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Generation:
    """One completion for one excerpt. `ordinal` is its round, from 0.

    finish_word: the server's own word for why it ended; "null" where it gave null.
    reasoning: what a model that thinks wrote before it, where the server shows it.
    origin: rounds are the sampled ones alone; only passages count in the others.
    """

    excerpt_id: str
    ordinal: int
    text: str = field(repr=False)
    finish_reason: FinishReason = FinishReason.STOP
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_word: str | None = None
    reasoning: str = field(default="", repr=False)
    origin: Origin = Origin.SAMPLED

    @property
    def written(self) -> str:
        """All that the model wrote, to be searched for passages: thoughts, then the answer."""
        return f"{self.reasoning}\n\n{self.text}" if self.reasoning else self.text


_REASONS = {
    "stop": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "complete": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "max_output_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "continuation": FinishReason.LENGTH,
    "refusal": FinishReason.REFUSAL,
    "safety": FinishReason.CONTENT_FILTER,
    "prohibited_content": FinishReason.CONTENT_FILTER,
    "blocklist": FinishReason.CONTENT_FILTER,
    "spii": FinishReason.CONTENT_FILTER,
    "language": FinishReason.CONTENT_FILTER,
    "model_armor": FinishReason.CONTENT_FILTER,
}


def finish_reason(word: str | None) -> FinishReason:
    """Return the reason that a server's word stands for, in any letter case."""
    key = (word or "").lower()
    if "recitation" in key:
        return FinishReason.RECITATION
    if key.startswith(("content_filter", "content-filter")):
        return FinishReason.CONTENT_FILTER
    return _REASONS.get(key, FinishReason.UNKNOWN)
