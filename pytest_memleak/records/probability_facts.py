"""How likely a model is to write windows of a book, in numbers without text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExtractableShare:
    """The windows that so many samples bring back with a chance of one half or more.

    share: of the measured windows, from 0 to 1
    """

    samples: int
    share: float


@dataclass(frozen=True, slots=True)
class LikelyWindow:
    """The place of a window, and how likely it is.

    start, end: its words in the book, half-open
    log_p: the natural logarithm of its probability at temperature 1
    """

    start: int
    end: int
    log_p: float


@dataclass(frozen=True, slots=True)
class ProbabilityFacts:
    """The probability of a book's windows; it is no part of any verdict.

    windows: how many were measured, of `planned`
    planned: None where the book's tokens aren't all known
    unreadable: windows whose log-probabilities can't be assigned to their text
    shares: for 1, 100, and 10,000 samples; empty without windows
    likeliest: the most probable windows, none of which overlap
    fault: why windows are missing; "" if none are
    """

    windows: int = 0
    planned: int | None = None
    unreadable: int = 0
    shares: tuple[ExtractableShare, ...] = ()
    likeliest: tuple[LikelyWindow, ...] = ()
    fault: str = ""
