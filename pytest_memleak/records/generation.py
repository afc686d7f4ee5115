"""Generations, and why each ended.

One table maps servers' words to reasons, for live servers and for recorded files alike.
Any other word, and none, is UNKNOWN: the text may be incomplete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class FinishReason(StrEnum):
    """Reason why a completion ended; all but the first two mean that it was withheld.

    UNKNOWN:  the server gave null or a word that isn't known to end a complete answer
    UNSTATED: a recorded file has no finish reason for it
    """

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    RECITATION = "recitation"
    REFUSAL = "refusal"
    EMPTY = "empty"
    UNKNOWN = "unknown"
    UNSTATED = "unstated"

    @property
    def withheld(self) -> bool:
        """Whether the provider withheld the text, or part of it."""
        return self not in {FinishReason.STOP, FinishReason.LENGTH}


class Kind(StrEnum):
    """Kind of a generation; the first that applies."""

    WITHHELD = "withheld"
    EMPTY = "empty"
    REFUSAL = "refusal"
    ECHO = "echo"
    CUT_EARLY = "cut"
    SHORT = "short"
    CANNED = "canned"
    UNREADABLE = "unreadable"
    ANSWER = "answer"


class Origin(IntEnum):
    """Purpose of a generation, in the order in which passages of one length rank."""

    SAMPLED = 0
    GREEDY = 1
    CANARY = 2
    UNREQUESTED = 3
    ATTEMPT = 4

    @property
    def label(self) -> str:
        """Its name in evidence and reports."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Generation:
    """A completion for an excerpt. `ordinal` is its round, from 0.

    finish_word: the server's own finish reason; "null" if it gave null.
    origin: only sampled generations form rounds; of the others, only passages count.
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
        """All text to search for passages: the reasoning, then the completion."""
        return f"{self.reasoning}\n\n{self.text}" if self.reasoning else self.text

    @property
    def answered(self) -> bool:
        """Whether the model wrote: text that isn't withheld, or hidden text."""
        if finish_reason_from_word(self.finish_word) is FinishReason.LENGTH:
            return True  # hidden text has the length
        return bool(self.written.strip()) and not self.finish_reason.withheld


_REASONS = {
    "stop": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "complete": FinishReason.STOP,
    "completed": FinishReason.STOP,
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


def finish_reason_from_word(word: str | None) -> FinishReason:
    """Return the reason that a server's word stands for, in any letter case."""
    key = (word or "").lower()
    if "recitation" in key:
        return FinishReason.RECITATION
    if key.startswith(("content_filter", "content-filter")):
        return FinishReason.CONTENT_FILTER
    return _REASONS.get(key, FinishReason.UNKNOWN)
