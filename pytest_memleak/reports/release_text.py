"""How every report says what became of a release against an earlier one (METRICS section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records.releases import Change, ReleaseComparison


def comparison_sentence(comparison: ReleaseComparison) -> str:
    """The statement on the whole, in a sentence."""
    if not comparison.changes:
        text = "nothing could be compared"
    else:
        worse = sum(change.verdict is Verdict.FAIL for change in comparison.changes)
        text = f"worse in {worse:,} of {amount(comparison.comparisons, 'comparison')}"
        undecided = comparison.comparisons - sum(
            change.verdict is not Verdict.INCONCLUSIVE for change in comparison.changes
        )
        text += f", {undecided:,} of them open" if undecided else ""
    if comparison.left_out:
        text += f", {amount(len(comparison.left_out), 'pair')} of the baseline not looked at"
    certainty = (
        "that any is called worse by chance has a probability of at most "
        f"{1 - comparison.confidence:.2g}"
        if comparison.confidence
        else "point value: every rise over its tolerance counts"
    )
    return (
        f"release against {comparison.baseline}: {comparison.verdict.value}: {text} ({certainty})"
    )


def comparison_lines(comparison: ReleaseComparison) -> Iterator[str]:
    """What is worse or cannot be told, a line each, the worst first."""
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        for change in comparison.changes:
            if change.verdict is verdict:
                yield f"{change.pair}: {change_text(change)}"
    for pair, reason in comparison.obstacles.items():
        yield f"{pair}: INCONCLUSIVE: {reason}"


def change_text(change: Change) -> str:
    """A measure then and now, what of it may be noise, and what that means."""
    text = f"{change.measure} {figure(change.before)} -> {figure(change.after)} ({change.rise:+.4g}"
    if change.low is not None and change.high is not None:
        text += f", interval {change.low:+.4g} to {change.high:+.4g}"
    text += f"), p = {change.p:.2g}, tolerance {change.tolerance:g}"
    if change.resolved is not None:
        text += f", {amount(change.rounds, 'round')} resolve a rise of {change.resolved:.2g}"
    if change.approximate:
        text += ", approximate since rounds were not alike"
    if change.verdict is Verdict.INCONCLUSIVE:
        text += f", {amount(change.rounds, 'round')} cannot tell a rise from noise"
    return f"{text}: {change.verdict.value}"
