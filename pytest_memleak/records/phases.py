"""Phases of a pair's evaluation, and their progress.

    progress = Progress(show)
    progress(ProgressEvent(Phase.SAMPLING, "model/book", done=3, of=10))

Showing progress is decoration: it can't affect the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Phase(StrEnum):
    """Phase of a pair's evaluation."""

    READING = "reading"
    TUNING = "tuning"
    DEPLOYING = "deploying"
    WAITING = "waiting for a batch"
    SAMPLING = "sampling"
    ENDING = "waiting for the calls in flight"
    SCORING = "scoring"
    COMPARING = "comparing"


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """Progress of a phase.

    about:    its subject: a pair, a book's summaries, a provider's job
    done, of: received and requested generations; `of` is 0 if they aren't counted
    tokens:   input and output tokens in the ledger
    cost:     US$ at most, None without a price
    note:     what to know at once
    lost:     US$ of the cost that lost calls may have cost
    """

    phase: Phase
    about: str
    done: int = 0
    of: int = 0
    tokens: int = 0
    cost: float | None = None
    note: str = ""
    lost: float = 0.0


class Progress:
    """Reports progress to `show`, if given, from any thread.

    An exception in `show` only ends the reporting.
    """

    def __init__(self, show: Callable[[ProgressEvent], object] | None = None) -> None:
        self._show = show

    def __call__(self, event: ProgressEvent) -> None:
        """Report an event."""
        if self._show is not None:
            try:
                self._show(event)
            except Exception:  # noqa: BLE001 - no verdict may depend on it
                self._show = None
