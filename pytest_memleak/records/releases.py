"""Comparison of a release with an earlier one: changes, and whether they are noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_memleak.records.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A measure of a pair in two releases.

    rounds:      n, of each release
    p:           one-sided p-value of no rise in the mean per round
    verdict:     FAIL if Holm's procedure over all comparisons rejects and the rise exceeds the
                 tolerance; INCONCLUSIVE if so few rounds can't reach a level that Holm may need
    low, high:   interval of the rise of `bmc`; None for other measures
    resolved:    the rise of `bmc` that these rounds could resolve in one test, else None; a rise
                 in rarely generated passages shows later
    approximate: whether blocks of rounds were permuted, since rounds aren't exchangeable
    """

    pair: str
    measure: str
    before: int | float
    after: int | float
    tolerance: int | float
    rounds: int
    p: int | float
    verdict: Verdict
    low: int | float | None
    high: int | float | None
    resolved: int | float | None
    approximate: bool

    @property
    def rise(self) -> float:
        """Rise of the value in the later release."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class ReleaseComparison:
    """Whether any named measure of any pair got worse in a release.

    baseline, sha256: name and digest of the earlier release's bundle
    tolerances: the tolerated rise of each named measure
    confidence: the probability of no false finding if nothing got worse
    verdict:    `comparison_verdict`
    changes:    of every comparable pair in each named measure
    obstacles:  by pair, why others aren't comparable
    left_out:   pairs that gate in the earlier release and weren't evaluated in the later
    """

    baseline: str
    sha256: str
    tolerances: Mapping[str, int | float]
    confidence: int | float
    verdict: Verdict
    changes: tuple[Change, ...]
    obstacles: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def comparisons(self) -> int:
        """Number of comparisons; Holm's procedure covers all of them."""
        return len(self.changes) + len(self.obstacles) * len(self.tolerances)

    def of(self, pair: str) -> Verdict | None:
        """Return the verdict on a pair; None if it wasn't to be compared."""
        verdicts = [change.verdict for change in self.changes if change.pair == pair]
        doubts = [Verdict.INCONCLUSIVE] if pair in self.obstacles else []
        return _worst_verdict(verdicts + doubts) if verdicts or doubts else None


def comparison_verdict(changes: Sequence[Change], obstacles: Mapping[str, str]) -> Verdict:
    """Return FAIL if anything got worse; PASS if nothing did and everything was comparable."""
    doubts = [Verdict.INCONCLUSIVE] if obstacles or not changes else []
    return _worst_verdict([*(change.verdict for change in changes), *doubts])


def _worst_verdict(verdicts: list[Verdict]) -> Verdict:
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS
