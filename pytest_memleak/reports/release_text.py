"""How every report says what became of a release against an earlier one (METRICS section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records.releases import Change, ReleaseComparison


def release_words(told: ReleaseComparison) -> str:
    """The statement on the whole, in a sentence."""
    if not told.changes:
        said = "nothing could be compared"
    else:
        worse = sum(one.verdict is Verdict.FAIL for one in told.changes)
        said = f"worse in {worse:,} of {amount(told.comparisons, 'comparison')}"
        open_ = told.comparisons - sum(
            one.verdict is not Verdict.INCONCLUSIVE for one in told.changes
        )
        said += f", {open_:,} of them open" if open_ else ""
    if told.left_out:
        said += f", {amount(len(told.left_out), 'pair')} of the baseline not looked at"
    held = (
        f"that any is called worse by chance has a probability of at most {1 - told.confidence:.2g}"
        if told.confidence
        else "point value: every rise over its tolerance counts"
    )
    return f"release against {told.baseline}: {told.verdict.value}: {said} ({held})"


def release_details(told: ReleaseComparison) -> Iterator[str]:
    """What is worse or cannot be told, a line each, the worst first."""
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        for one in told.changes:
            if one.verdict is verdict:
                yield f"{one.pair}: {change_words(one)}"
    for pair, why in told.obstacles.items():
        yield f"{pair}: INCONCLUSIVE: {why}"


def change_words(one: Change) -> str:
    """A measure then and now, what of it may be noise, and what that means."""
    said = f"{one.measure} {figure(one.before)} -> {figure(one.after)} ({one.rise:+.4g}"
    if one.low is not None and one.high is not None:
        said += f", interval {one.low:+.4g} to {one.high:+.4g}"
    said += f"), p = {one.p:.2g}, tolerance {one.tolerance:g}"
    if one.resolved is not None:
        said += f", {amount(one.rounds, 'round')} resolve a rise of {one.resolved:.2g}"
    if one.approximate:
        said += ", approximate since rounds were not alike"
    if one.verdict is Verdict.INCONCLUSIVE:
        said += f", {amount(one.rounds, 'round')} cannot tell a rise from noise"
    return f"{said}: {one.verdict.value}"
