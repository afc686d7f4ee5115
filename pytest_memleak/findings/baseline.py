"""This release against an earlier one's evidence bundle: what changed, and what got worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError
from pytest_memleak.findings.bundle import check_digest, read_evidence
from pytest_memleak.findings.from_evaluation import facts
from pytest_memleak.findings.pair_evidence import pair_evidence
from pytest_memleak.records.amounts import figure
from pytest_memleak.records.distribution import distribution
from pytest_memleak.scoring.measure_table import why_unmeasured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = ["Baseline", "Change", "Comparison"]


@dataclass(frozen=True, slots=True)
class Change:
    """One measure, then and now, with both intervals."""

    measure: str
    before: float
    now: float
    before_interval: tuple[float, float]
    interval: tuple[float, float]

    @property
    def by(self) -> float:
        """How much it rose."""
        return self.now - self.before

    def __str__(self) -> str:
        shown = [figure(self.before), figure(self.now)]
        for place, (low, high) in enumerate((self.before_interval, self.interval)):
            if low < high:
                shown[place] += f" [{figure(low)}, {figure(high)}]"
        return f"{self.measure} {shown[0]} -> {shown[1]} ({self.by:+.4g})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A pair against the baseline; `obstacle` says why it cannot be compared, if it cannot.

    now:     the measures that this release has of it
    windows: whether its probe is "probability"
    """

    changes: tuple[Change, ...] = ()
    obstacle: str | None = None
    now: frozenset[str] = frozenset()
    windows: bool = False

    def uncompared(self, tolerances: Mapping[str, float]) -> tuple[str, ...]:
        """Why measures that have a tolerance cannot be held against it; empty if all can."""
        if self.obstacle:
            return (self.obstacle,)
        compared = {change.measure for change in self.changes}
        return tuple(
            f"{name} cannot be compared with the baseline, which does not have it"
            if name in self.now
            else f"{name} cannot be compared with the baseline, since it could not be measured: "
            f"{why_unmeasured(name, windows=self.windows)}"
            for name in tolerances
            if name not in compared
        )

    def worse(self, tolerances: Mapping[str, float]) -> list[Change]:
        """The changes that are larger than tolerated."""
        return [
            change
            for change in self.changes
            if change.measure in tolerances and change.by > tolerances[change.measure]
        ]


class Baseline:
    """The bundle in a file. Raises EvidenceError for one that cannot be read or was changed."""

    def __init__(self, path: Path) -> None:
        made = read_evidence(path).made
        wrong = check_digest(made)
        if wrong:
            raise EvidenceError(wrong[0], place=str(path), hint="it was changed after it was made")
        self._pairs: list[dict[str, Any]] = made["pairs"]

    def compare(self, evaluation: Evaluation) -> Comparison:
        """What changed of a pair."""
        now = pair_evidence(facts(evaluation))
        before = self._of(now)
        if before is None:
            return Comparison(obstacle="the baseline does not have this pair")
        for what in ("book", "settings"):
            if before[what] != now[what]:
                return Comparison(obstacle=f"the baseline was made with another {what}")
        theirs, ours = _drawn_from(before), _drawn_from(now)
        if theirs != ours:
            return Comparison(
                obstacle=f"the baseline was drawn from another distribution: {theirs}; now {ours}"
            )
        if (
            before["verdict"].startswith("INCONCLUSIVE")
            or not before["measures"]
            or not now["measures"]
        ):
            return Comparison(obstacle="one side has no complete evidence")
        names = [
            name
            for name, one in before["measures"].items()
            if "low" in one and name in now["measures"] and "value" in one
        ]
        return Comparison(
            tuple(_change(name, before, now) for name in names),
            now=frozenset(now["measures"]),
            windows=now["windows"] is not None,
        )

    def _of(self, now: dict[str, Any]) -> dict[str, Any] | None:
        """The pair of that name in a suite of that name, and of that path if there are several."""
        alike = [
            one
            for one in self._pairs
            if (one["suite"]["name"], one["pair"]) == (now["suite"]["name"], now["pair"])
        ]
        at_its_path = [one for one in alike if one["suite"]["path"] == now["suite"]["path"]]
        return next(iter(at_its_path if len(alike) > 1 else alike), None)


def _drawn_from(pair: dict[str, Any]) -> str:
    """The distribution of a pair's evidence."""
    answerer = pair["answerer"] or {}
    return distribution(pair["model"]["options"], answerer.get("refused", ()))


def _change(name: str, before: dict[str, Any], now: dict[str, Any]) -> Change:
    was, is_ = before["measures"][name], now["measures"][name]
    return Change(
        name, was["value"], is_["value"], (was["low"], was["high"]), (is_["low"], is_["high"])
    )
