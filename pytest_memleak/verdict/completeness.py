"""Whether a pair's evidence is complete: the model was asked, and it answered.

METRICS section 10, as a pure function of the book, a census of its generations, and what is known
of who answered. Each rule that is broken is a issue, with its cause and what to do about it; how
far the others are from being broken is in the margins.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_memleak.records import Completeness, Kind
from pytest_memleak.verdict.generation_kinds import KINDS
from pytest_memleak.verdict.rules import RuleContext, issues_and_margins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import Issue
    from pytest_memleak.verdict.answer_census import CensusResult
    from pytest_memleak.verdict.prompt_overlap import GivenAway

_INSTRUCTIONS = frozenset({"instructions", "aim", "given away"})
_APART = frozenset({"second opinion", "protected books", "catalog"})


def completeness(
    counted: CensusResult,
    given: GivenAway,
    *,
    over_limit: bool = False,
    issues: Iterable[Issue] = (),
    notes: Iterable[str] = (),
) -> Completeness:
    """Judge what a census counted.

    Where they say why nothing may be drawn, or why nothing was, what follows from that is left out.

    over_limit: whether the pair is over a limit anyway; then it is not asked whether it sampled.
    issues, notes: what else is known, of who answered (`identity`) and of records (`recorded`).
    """
    case = RuleContext(counted, given, over_limit=over_limit)
    found, margins, more = issues_and_margins(case)
    kinds = Counter({KINDS[place]: n for place, n in enumerate(case.counts)})
    return Completeness(
        requested=case.asked_for,
        received=len(counted.readings),
        surplus=counted.surplus,
        kinds={kind: kinds[kind] for kind in Kind},
        withheld=counted.withheld,
        median_length_ratio=None
        if case.median_length_ratio is None
        else float(case.median_length_ratio),
        prompt_overlap=None if given.share is None else float(given.share),
        accept_refusals=counted.asked.limits.accept_refusals,
        unanswered=tuple(counted.excerpts[number] for number in case.unanswered.tolist()),
        issues=_causes((*issues, *found), case),
        margins=margins,
        notes=(*more, *notes),
    )


def _causes(issues: Sequence[Issue], case: RuleContext) -> tuple[Issue, ...]:
    reasons = frozenset() if case.asked.continuation else _INSTRUCTIONS
    if not len(case.readings):
        reasons |= {"drawn"}
    causes = tuple(issue for issue in issues if issue.rule in reasons)
    if case.asked.recorded or not causes:
        return tuple(issues)
    return tuple(issue for issue in issues if issue.rule in reasons | _APART)
