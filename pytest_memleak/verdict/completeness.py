"""Whether a pair's evidence is complete: the model got its prompts, and answered.

docs/method.md, as a pure function of the book, a census of its generations, and their
provenance. Each broken rule of `completeness_rules` is an issue with its cause and fix;
margins hold every rule's value beside its threshold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Completeness, Issue, RuleCheck
from pytest_memleak.verdict.completeness_rules import (
    RULES,
    RULES_ON_NAMED_PROMPTS,
    RuleContext,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

    from pytest_memleak.verdict.generation_kinds import CensusResult
    from pytest_memleak.verdict.prompt_overlap import PromptOverlap

# Rules that explain why nothing was sampled.
_OF_INSTRUCTIONS = frozenset({"instructions", "instruction match", "prompt overlap"})
# Rules that hold whatever was sampled.
_INDEPENDENT = frozenset({"second opinion", "protected books", "catalog"})


def completeness(
    counted: CensusResult,
    overlap: PromptOverlap,
    *,
    over_limit: bool = False,
    issues: Iterable[Issue] = (),
    notes: Iterable[str] = (),
) -> Completeness:
    """Judge what a census counted.

    Where an issue explains why nothing was sampled, issues that follow from it are left
    out.

    over_limit: whether the pair exceeds a limit anyway; then its answers needn't differ
    issues, notes: what else is known, from provenance and records (`provenance_issues`)
    """
    context = RuleContext(counted, overlap, over_limit=over_limit)
    all_issues = [*issues]
    margins: list[RuleCheck] = []
    all_notes: list[str] = []
    is_named = counted.request.named is not None
    for rule in RULES_ON_NAMED_PROMPTS if is_named else RULES:
        for outcome in rule(context):
            if isinstance(outcome, Issue):
                all_issues.append(outcome)
            elif isinstance(outcome, RuleCheck):
                margins.append(outcome)
            else:
                all_notes.append(outcome)
    return Completeness(
        requested=context.requested,
        received=len(counted.readings),
        surplus=counted.surplus,
        kinds=context.counts,
        withheld=counted.withheld,
        median_length_ratio=_float(context.median_length_ratio),
        prompt_overlap=_float(overlap.share),
        accept_refusals=counted.request.limits.accept_refusals,
        unanswered=() if is_named else tuple(context.excerpt_ids(context.unanswered)),
        issues=_only_root_causes(all_issues, context),
        margins=tuple(margins),
        notes=(*all_notes, *notes),
    )


def _float(share: Fraction | None) -> float | None:
    return None if share is None else float(share)


def _only_root_causes(
    issues: Sequence[Issue], context: RuleContext
) -> tuple[Issue, ...]:
    """Return all issues, or those alone that explain why nothing was sampled."""
    explaining = set[str]()
    if not context.request.continuation:
        explaining |= _OF_INSTRUCTIONS
    if not len(context.readings):
        explaining.add("sampled")
    explained = any(issue.rule in explaining for issue in issues)
    if context.request.recorded or not explained:
        return tuple(issues)
    left = explaining | _INDEPENDENT
    return tuple(issue for issue in issues if issue.rule in left)
