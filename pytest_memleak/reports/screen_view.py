"""The first screen of every report, as data: terminal, HTML, and Markdown render it.

`first_screen` builds it. Renderers compute nothing of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.reports.pair_outcome import LOOKS, WORST_FIRST, OutcomeStyle

if TYPE_CHECKING:
    from pytest_memleak.records import Verdict

UNRUN = "unrun"
"""The kind of a pair that wasn't run, beside the kinds of `pair_outcome.LOOKS`."""
SCREEN_LOOKS = LOOKS | {UNRUN: OutcomeStyle("", "-", "➖")}
_UNDECIDED = WORST_FIRST.index("inconclusive") + 1
SCREEN_KINDS = (*WORST_FIRST[:_UNDECIDED], UNRUN, *WORST_FIRST[_UNDECIDED:])
"""The kinds of pairs, the worst first."""


@dataclass(frozen=True, slots=True)
class ScreenCell:
    """A pair in the map.

    kind:   of SCREEN_LOOKS
    text:   what decided, in a few letters: "564", "bmc .169", "refuses", or ""
    detail: the same in words, for who points at it
    heat:   of a FAIL, 1 to 4: over 1, 2, 4, or 8 times its limit; else 0
    number: its place among the run's results, from 1; 0 if it wasn't run
    """

    pair: str
    kind: str
    text: str
    detail: str
    heat: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class ScreenModel:
    """A model of a suite: its letter in the map, and its verdicts in words.

    kind: of its worst pair
    """

    letter: str
    name: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class ScreenRow:
    """A book of a suite. cells: for each model of the map; () without a pair."""

    book: str
    title: str
    cells: tuple[tuple[ScreenCell, ...], ...]


@dataclass(frozen=True, slots=True)
class ScreenMap:
    """The pairs of a suite, books x models.

    suite:  its name, or "" if the run has no other
    models: the worst first
    rows:   none where pairs fill less than half of the map
    folded: titles of the books that every model passes, left out of many rows
    """

    suite: str
    models: tuple[ScreenModel, ...]
    rows: tuple[ScreenRow, ...]
    folded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScreenCause:
    """Why pairs don't pass.

    kind:   of SCREEN_LOOKS
    text:   the limit, or why evidence is incomplete
    pairs:  how many pairs it is the cause of
    worst:  of a limit, the worst value; else ""
    where:  the worst pair or the first few
    more:   how many pairs `where` leaves out
    fix:    what to do; "" where the next command is all there is to do
    unexplained: issues that `text` doesn't explain
    """

    kind: str
    text: str
    pairs: int
    worst: str
    where: tuple[str, ...]
    more: int = 0
    fix: str = ""
    unexplained: tuple[str, ...] = ()

    @property
    def count(self) -> str:
        """How many pairs."""
        return "1 pair" if self.pairs == 1 else f"{self.pairs:,} pairs"

    @property
    def place(self) -> str:
        """The pairs that are named: "worst 564: tuned/dracula"."""
        names = ", ".join(self.where)
        if self.worst:
            return f"worst {self.worst}: {names}"
        return f"{names}, and {self.more:,} more" if self.more else names


@dataclass(frozen=True, slots=True)
class NextCommand:
    """The one command to type now, and what it does."""

    command: str
    why: str


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """What every report shows first, in this order.

    verdict:  the run's, as in the evidence bundle
    headline: its reason, and counts of pairs, models, and books
    maps:     of each suite; none for a single pair
    causes:   the worst first, at most five
    more_causes: how many causes that leaves out
    notes:    the detection limit, and what controls show
    """

    verdict: Verdict
    headline: str
    maps: tuple[ScreenMap, ...]
    causes: tuple[ScreenCause, ...]
    more_causes: int
    notes: tuple[str, ...]
    next: NextCommand
