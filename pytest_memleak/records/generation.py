"""A model's answers, and why each ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "FinishReason",
    "Generation",
]


class FinishReason(StrEnum):
    """Why a completion ended; all but the first two were withheld by the provider.

    WITHHELD is for every reason that is not known to end a whole answer, and for none at all.
    """

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    RECITATION = "recitation"
    REFUSAL = "refusal"
    EMPTY = "empty"
    WITHHELD = "withheld"

    @property
    def withheld(self) -> bool:
        """Whether the provider kept the text, or part of it, to itself."""
        return self not in {FinishReason.STOP, FinishReason.LENGTH}


@dataclass(frozen=True, slots=True)
class Generation:
    """One completion for one excerpt. `ordinal` is its round, from 0."""

    excerpt_id: str
    ordinal: int
    text: str = field(repr=False)
    finish_reason: FinishReason = FinishReason.STOP
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
