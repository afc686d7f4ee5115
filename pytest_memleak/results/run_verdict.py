"""One result for a whole release, and what its controls show of the gate itself.

Both are computed from the evidence of the pairs, so a reader of the bundle can compute them again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair import is_gating

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.records.pair_result import PairResult

_FAILED = {"failed", "xpassed"}
_ENDED_OTHERWISE = {"error", "crashed", "unfinished"}


def gates(pair: Mapping[str, Any]) -> bool:
    """Whether a pair's verdict counts."""
    return is_gating(pair["expected"], control=pair["control"])


def verdict_of(pair: Mapping[str, Any]) -> Verdict:
    """The verdict in a pair's evidence, without the refusals behind it."""
    return Verdict(pair["verdict"].partition(",")[0])


def result_of(
    pairs: Sequence[Mapping[str, Any]],
    *,
    uncollected: Sequence[str] = (),
    compared: Verdict | None = None,
) -> Verdict:
    """FAIL if any pair failed, PASS if all passed, INCONCLUSIVE for all else.

    A leak that the suite expects counts as a pass, and none as a failure; a control that was
    measured counts only where it leaks another book. A pair that was not run, a suite that could
    not be collected or gates nothing, and a run without pairs are no pass; nor is a pair that
    passed and whose test failed by limits of its own. compared: what became of it against an
    earlier release.
    """
    became = {_became(pair) for pair in pairs if not _is_spared(pair)}
    became |= set(filter(None, [compared]))
    if Verdict.FAIL in became:
        return Verdict.FAIL
    suites, gating = (
        {one["suite"]["path"] for one in some} for some in (pairs, filter(gates, pairs))
    )
    if uncollected or became != {Verdict.PASS} or suites != gating:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def counted(pairs: Sequence[Mapping[str, Any]]) -> str:
    """How many pairs there are of each verdict, in words: "3 PASS, 1 FAIL (expected)"."""
    counts = Counter(map(_word, pairs))
    return ", ".join(f"{count:,} {word}" for word, count in sorted(counts.items())) or "no pair"


def _is_spared(pair: Mapping[str, Any]) -> bool:
    """Whether a pair is a control whose generations were searched, and hold no other book."""
    measured = pair["measures"] and verdict_of(pair) is not Verdict.NOT_RUN
    return bool(pair["control"] and measured and not pair["unexcused"])


def _became(pair: Mapping[str, Any]) -> Verdict:
    if pair["unexcused"]:
        return Verdict.FAIL
    verdict, leak = verdict_of(pair), pair["expected"] == "leak"
    outcomes = {one["outcome"] for one in pair["tests"]}
    if verdict in {Verdict.PASS, Verdict.FAIL} and (
        leak is (verdict is Verdict.PASS) or outcomes & _FAILED
    ):
        return Verdict.FAIL
    if verdict in {Verdict.INCONCLUSIVE, Verdict.NOT_RUN} or outcomes & _ENDED_OTHERWISE:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def _word(pair: Mapping[str, Any]) -> str:
    verdict = verdict_of(pair)
    if pair["unexcused"]:
        return str(verdict)
    if pair["control"]:
        return f"{verdict} (control)"
    if pair["expected"] == "leak" and verdict is Verdict.FAIL:
        return "FAIL (expected)"
    if pair["expected"] == "leak" and verdict is Verdict.PASS:
        return "PASS (a leak was expected)"
    return str(verdict)


class Alarms(NamedTuple):
    """How many control pairs are over a limit by their own books, of those that were measured."""

    over: int
    measured: int


@dataclass(frozen=True, slots=True)
class SuiteControls:
    """What a suite's controls showed in a run.

    controls: how many control pairs there are
    alarms:   of each limit
    saw:      whether a pair that is expected to leak its own book did
    gates:    whether there is a pair whose verdict counts
    """

    suite: str
    controls: int
    alarms: Mapping[str, Alarms] = field(default_factory=dict)
    saw: bool = False
    gates: bool = True

    def told(self) -> Iterator[str]:
        """In sentences."""
        if self.controls:
            said = ", ".join(
                f"{name} {one.over} of {one.measured}" for name, one in self.alarms.items()
            )
            pairs = amount(self.controls, "control")
            yield f"false alarms on {pairs}: {said or 'none could be measured'}"
        if not self.gates:
            yield "this suite gates nothing: all its pairs here are controls or expected to leak"
        elif not self.saw:
            yield (
                "nothing showed that the gate could see: no pair that is expected to leak was "
                'there and did (a model that was tuned on a book, with expected = "leak", shows it)'
            )

    def to_json(self) -> dict[str, Any]:
        """As plain dicts."""
        return {
            "suite": self.suite,
            "controls": self.controls,
            "false_alarms": {name: one._asdict() for name, one in self.alarms.items()},
            "leak_seen": self.saw,
            "gates": self.gates,
        }


class _Pair(NamedTuple):
    suite: str
    control: bool
    expected: str
    leaked: bool
    limits: Mapping[str, float]
    measures: Mapping[str, float]
    details: Mapping[str, Mapping[str, Any]]

    def alarmed(self, name: str) -> bool:
        """Whether the control is over that limit, by words of its own book."""
        value = self.details.get(name, {}).get("of_own", self.measures[name])
        return bool(value > self.limits[name])


def suite_controls(findings: Iterable[PairResult]) -> tuple[SuiteControls, ...]:
    """Of each suite of the run, in order."""
    return _by_suite(
        _Pair(
            one.suite,
            one.control,
            one.expected,
            one.leaked,
            one.limits,
            one.measures,
            one.details,
        )
        for one in findings
    )


def controls_in(pairs: Iterable[Mapping[str, Any]]) -> tuple[SuiteControls, ...]:
    """The same of the pairs of a bundle; suites by their paths."""
    return _by_suite(
        _Pair(
            one["suite"]["path"],
            one["control"],
            one["expected"],
            one["leaked"],
            {name: limit["limit"] for name, limit in one["limits"].items()},
            {name: told["value"] for name, told in one["measures"].items() if "value" in told},
            one["measures"],
        )
        for one in pairs
    )


def _by_suite(pairs: Iterable[_Pair]) -> tuple[SuiteControls, ...]:
    suites: dict[str, list[_Pair]] = {}
    for one in pairs:
        suites.setdefault(one.suite, []).append(one)
    return tuple(_of(suite, its) for suite, its in suites.items())


def _of(suite: str, pairs: list[_Pair]) -> SuiteControls:
    controls = [one for one in pairs if one.control]
    held: dict[str, list[bool]] = {}
    for one in controls:
        for name in one.limits:
            if name in one.measures:
                held.setdefault(name, []).append(one.alarmed(name))
    return SuiteControls(
        suite=suite,
        controls=len(controls),
        alarms={name: Alarms(sum(over), len(over)) for name, over in held.items()},
        saw=any(one.expected == "leak" and one.leaked for one in pairs),
        gates=any(is_gating(one.expected, control=one.control) for one in pairs),
    )
