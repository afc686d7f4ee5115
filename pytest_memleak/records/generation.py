"""A model's answers, and why each ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "FinishReason",
    "Generation",
]


class FinishReason(StrEnum):
    """Why a completion ended; all but the first two were withheld by the provider."""

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    RECITATION = "recitation"
    REFUSAL = "refusal"
    EMPTY = "empty"

    @property
    def withheld(self) -> bool:
        """Whether the provider kept the text, or part of it, to itself."""
        return self not in {FinishReason.STOP, FinishReason.LENGTH}


@dataclass(frozen=True, slots=True)
class Generation:
    """One completion for one excerpt.

    ordinal: its round, from 0; finish_word: the server's own word for why it ended, if it is known
    """

    excerpt_id: str
    ordinal: int
    text: str = field(repr=False)
    finish_reason: FinishReason = FinishReason.STOP
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_word: str | None = None
