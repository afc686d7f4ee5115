"""This release against an earlier one: what changed, and whether that is noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pytest_memleak.records.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A measure of a pair in two releases.

    rounds:      n, of each release
    p:           one-sided, of no rise in the mean per round
    verdict:     FAIL where Holm over all that is named rejects and the rise is over the tolerance;
                 INCONCLUSIVE where so few rounds can reach no level that Holm may ask for
    low, high:   interval of the rise of `bmc`; None for other measures
    resolved:    the rise of `bmc` that these rounds could resolve, in one test; else None. A rise
                 in rarely recited passages shows later
    approximate: whether blocks of rounds were permuted, since those of either were not alike
    """

    pair: str
    measure: str
    before: float
    after: float
    tolerance: float
    rounds: int
    p: float
    verdict: Verdict
    low: float | None
    high: float | None
    resolved: float | None
    approximate: bool

    @property
    def rise(self) -> float:
        """By how much the later release's value is higher."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class ReleaseComparison:
    """The one statement on a release: whether any of the named measures of any pair got worse.

    baseline, sha256: name and digest of the earlier release's bundle
    tolerances: per named measure, the rise that is tolerated
    confidence: the chance that none is called worse where none is
    changes:    of every pair that could be compared, in each named measure
    obstacles:  by pair, why others could not be
    left_out:   pairs that gate in the earlier release and were not looked at in the later
    """

    baseline: str
    sha256: str
    tolerances: Mapping[str, float]
    confidence: float
    changes: tuple[Change, ...]
    obstacles: Mapping[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """FAIL if anything got worse; PASS if nothing did and everything could be told."""
        return _worst_verdict([*(change.verdict for change in self.changes), *self._doubts()])

    @property
    def comparisons(self) -> int:
        """How many were named: Holm's procedure is over all of them."""
        return len(self.changes) + len(self.obstacles) * len(self.tolerances)

    def of(self, pair: str) -> Verdict | None:
        """What it says of a pair; None where that was not to be compared."""
        verdicts = [change.verdict for change in self.changes if change.pair == pair]
        doubts = [Verdict.INCONCLUSIVE] if pair in self.obstacles else []
        return _worst_verdict(verdicts + doubts) if verdicts or doubts else None

    def to_json(self) -> dict[str, Any]:
        """As plain lists and dicts."""
        return {
            "baseline": self.baseline,
            "sha256": self.sha256,
            "tolerances": dict(self.tolerances),
            "confidence": self.confidence,
            "verdict": self.verdict.value,
            "changes": [asdict(change) for change in self.changes],
            "obstacles": dict(self.obstacles),
            "left_out": list(self.left_out),
        }

    def _doubts(self) -> list[Verdict]:
        nothing = not self.changes
        return [Verdict.INCONCLUSIVE] if self.obstacles or nothing else []


def _worst_verdict(verdicts: list[Verdict]) -> Verdict:
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS
