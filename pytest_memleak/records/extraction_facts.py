"""What an extraction tried, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExtractionFacts:
    """An extraction, in numbers.

    openings: how many openings were asked, of all_openings that were planned
    opened_by: the opening whose answer began like the book: "plain", "rewording-3";
        None if none did
    turns: answers after the opening, of most_turns
    ended: why it ended; "" if it didn't
    manner: how the prompts were sent: "chat", "single prompts", or "plain text"
    """

    openings: int
    all_openings: int
    opened_by: str | None
    turns: int
    most_turns: int
    ended: str
    manner: str
