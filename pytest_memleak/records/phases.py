"""What a pair is at, and the one way to tell of it.

    progress = Progress(show)
    progress(ProgressEvent(Phase.SAMPLING, "model/book", done=3, of=10))

Whoever works tells; who looks on is a decoration, and can do the work no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Phase(StrEnum):
    """What is being done for a pair."""

    READING = "reading"
    TUNING = "tuning"
    DEPLOYING = "deploying"
    WAITING = "waiting for a batch"
    SAMPLING = "sampling"
    SCORING = "scoring"
    COMPARING = "comparing"


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """How far a phase is.

    about:    whose phase it is: a pair, a book's summaries, a job at the provider
    done, of: generations that are there, and those asked for; `of` is 0 where nothing is counted
    tokens:   tokens in the ledger, of prompts and answers; cost: US$, None without a price
    """

    phase: Phase
    about: str
    done: int = 0
    of: int = 0
    tokens: int = 0
    cost: float | None = None


class Progress:
    """Tells `show` how far the work is, from any thread; without one, nobody.

    What `show` raises ends the telling, and nothing else.
    """

    def __init__(self, show: Callable[[ProgressEvent], object] | None = None) -> None:
        self._show = show

    def __call__(self, standing: ProgressEvent) -> None:
        """Tell of it."""
        if self._show is not None:
            try:
                self._show(standing)
            except Exception:  # noqa: BLE001 - whatever it is, no verdict may rest on it
                self._show = None
