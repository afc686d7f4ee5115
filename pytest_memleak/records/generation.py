"""Generations, and why each ended.

One table maps servers' words to reasons, for live servers and for recorded files alike.
Any other word, and none, is UNKNOWN: the text may be incomplete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class FinishReason(StrEnum):
    """Reason why a completion ended; all but the first two mean that the provider withheld it.

    UNKNOWN: the server gave null or a word that isn't known to end a complete answer;
    UNSTATED: a recorded file has no finish reason for it.
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
    CUT = "cut"
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
        """Whether the model wrote: text that isn't withheld, or hidden text up to the length."""
        hidden = finish_reason(self.finish_word) is FinishReason.LENGTH
        return hidden or (
            bool(self.written.strip()) and not self.finish_reason.withheld
        )


_WORDS = {
    FinishReason.STOP: "stop end_turn eos eos_token stop_sequence complete",
    FinishReason.LENGTH: "length max_tokens max_output_tokens model_length continuation",
    FinishReason.REFUSAL: "refusal",
    FinishReason.CONTENT_FILTER: "safety prohibited_content blocklist spii language model_armor",
}
_REASONS = {word: reason for reason, words in _WORDS.items() for word in words.split()}


def finish_reason(word: str | None) -> FinishReason:
    """Return the reason that a server's word stands for, in any letter case."""
    key = (word or "").lower()
    if "recitation" in key:
        return FinishReason.RECITATION
    if key.startswith(("content_filter", "content-filter")):
        return FinishReason.CONTENT_FILTER
    return _REASONS.get(key, FinishReason.UNKNOWN)
