"""The comparison with a baseline release as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records.verdicts import Change, ReleaseComparison


def comparison_sentence(comparison: ReleaseComparison) -> str:
    """State the comparison's verdict in a sentence (docs/method.md)."""
    text = _counts_text(comparison)
    if comparison.left_out:
        text += f", {amount(len(comparison.left_out), 'baseline pair')} not compared"
    if comparison.confidence:
        error = 1 - comparison.confidence
        certainty = f"probability of any false alarm at most {error:.2g}"
    else:
        certainty = (
            "without a significance test: any increase beyond the tolerance fails"
        )
    return (
        f"Compared with {comparison.baseline}: {comparison.verdict.value}: {text} "
        f"({certainty})"
    )


def _counts_text(comparison: ReleaseComparison) -> str:
    """Count the comparisons that are worse, and those without a verdict."""
    if not comparison.changes:
        return "nothing to compare"
    verdicts = [change.verdict for change in comparison.changes]
    worse = verdicts.count(Verdict.FAIL)
    decided = len(verdicts) - verdicts.count(Verdict.INCONCLUSIVE)
    undecided = comparison.comparisons - decided
    text = f"worse in {worse:,} of {amount(comparison.comparisons, 'comparison')}"
    if undecided:
        text += f", {undecided:,} undecided"
    return text


def comparison_lines(comparison: ReleaseComparison) -> Iterator[str]:
    """List what is worse or undecided, a line each, the worst first."""
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        for change in comparison.changes:
            if change.verdict is verdict:
                yield f"{change.pair}: {change_text(change)}"
    for pair, reason in comparison.obstacles.items():
        yield f"{pair}: INCONCLUSIVE: {reason}"


def change_text(change: Change) -> str:
    """State a measure before and after, its uncertainty, and the verdict."""
    text = (
        f"{change.measure} {figure(change.before)} -> {figure(change.after)} "
        f"({change.rise:+.4g}"
    )
    if change.low is not None and change.high is not None:
        text += f", interval {change.low:+.4g} to {change.high:+.4g}"
    text += f"), p = {change.p:.2g}, tolerance {change.tolerance:g}"
    rounds = amount(change.rounds, "round")
    if change.resolved is not None:
        text += f", {rounds} can detect an increase of {change.resolved:.2g}"
    if change.approximate:
        text += ", approximate because rounds aren't exchangeable"
    if change.verdict is Verdict.INCONCLUSIVE:
        text += f", {rounds} can't tell an increase from noise"
    return f"{text}: {change.verdict.value}"
