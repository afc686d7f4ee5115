"""Whether a pair's evidence is complete: the model was asked, and it answered.

METRICS section 10, as a pure function of the book, a census of its generations, and what is known
of who answered. Each rule that is broken is a gap, with its cause and what to do about it; how far
the others are from being broken is in the margins.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_memleak.verdict.asked import Kind
from pytest_memleak.verdict.kinds import KINDS
from pytest_memleak.verdict.rules import Case, gaps_and_margins

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_memleak.records import Verdict
    from pytest_memleak.verdict.answers import Counted
    from pytest_memleak.verdict.given_away import GivenAway
    from pytest_memleak.verdict.rules import Gap, Margin

__all__ = ["Completeness", "completeness", "verdict_words"]


@dataclass(frozen=True, slots=True)
class Completeness:
    """How complete a pair's evidence is, and what it consists of.

    asked, got, surplus: generations: asked for, there, and there without being asked for
    kinds:        how many of those there are of each kind
    withheld:     those that were withheld, by the server's own word
    median_yield: own words as a share of the excerpt's, over all that count; None without any
    given_away:   the share of the measured words that instructions tell; None for trim = 0
    accept_refusals: whether refusals count as answers
    gaps:         what is missing, in the order of METRICS section 10; empty if it is complete
    margins:      each rule that was judged, its value and its threshold
    notes:        what could not be judged and is no gap
    """

    asked: int
    got: int
    surplus: int
    kinds: Mapping[Kind, int]
    withheld: Mapping[str, int]
    median_yield: float | None
    given_away: float | None
    accept_refusals: bool
    gaps: tuple[Gap, ...] = ()
    margins: tuple[Margin, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether a pass may rest on it."""
        return not self.gaps

    @property
    def refused(self) -> float:
        """The share of refusals."""
        return self.kinds[Kind.REFUSAL] / max(self.got, 1)


def completeness(
    counted: Counted,
    given: GivenAway,
    *,
    over_limit: bool = False,
    gaps: Iterable[Gap] = (),
    notes: Iterable[str] = (),
) -> Completeness:
    """Judge what a census counted.

    over_limit: whether the pair is over a limit anyway; then it is not asked whether it sampled.
    gaps, notes: what else is known, of who answered (`identity`) and of records (`recorded`).
    """
    case = Case(counted, given, over_limit=over_limit)
    found, margins, more = gaps_and_margins(case)
    kinds = Counter({KINDS[place]: n for place, n in enumerate(case.counts)})
    return Completeness(
        asked=case.asked_for,
        got=len(counted.readings),
        surplus=counted.surplus,
        kinds={kind: kinds[kind] for kind in Kind},
        withheld=counted.withheld,
        median_yield=None if case.median_yield is None else float(case.median_yield),
        given_away=None if given.share is None else float(given.share),
        accept_refusals=counted.asked.limits.accept_refusals,
        gaps=(*found, *gaps),
        margins=margins,
        notes=(*more, *notes),
    )


def verdict_words(verdict: Verdict, evidence: Completeness) -> str:
    """The verdict as it stands everywhere: "PASS, 97 % refused" where refusals were accepted."""
    refusals = evidence.kinds[Kind.REFUSAL]
    if not evidence.accept_refusals or not refusals:
        return verdict.value
    percent = 100 * refusals // evidence.got
    return f"{verdict.value}, {percent or 'under 1'} % refused"
