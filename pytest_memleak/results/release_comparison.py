"""A release compared with an earlier one's evidence bundle: what changed, what got worse.

    Baseline(path).validate(pairs, ...)         before the run: raise for what can't be
    compared Baseline(path).change_lines(pair)           every measure of a pair, then
    and now Baseline(path).compare(pairs, tolerances)   test whether a named measure got
    worse

Pairs have the paths that bundles have (`localize`). docs/method.md.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import TYPE_CHECKING

from pytest_memleak.errors import EvidenceError
from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, figure
from pytest_memleak.records.pair_result import ScanScope
from pytest_memleak.records.verdicts import ReleaseComparison, worst_verdict
from pytest_memleak.results.build_result import build_unrun_result
from pytest_memleak.results.comparable import (
    INCOMPLETE,
    find_mismatch,
    find_obstacle,
    find_scan_mismatch,
)
from pytest_memleak.results.evidence_file import differences, read_unchanged
from pytest_memleak.results.result_codec import encode, localize
from pytest_memleak.scoring.measure_table import BMC, OF_PASSAGES, why_unmeasured

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.results.evidence_file import EvidenceFile
    from pytest_memleak.scoring.release_test import PairRounds


class Baseline:
    """A baseline bundle. Raises EvidenceError if its file can't be read or was changed.

    new_names: of models and suite files that the later release renamed, by the old ones
    """

    def __init__(self, path: Path, new_names: Mapping[str, str] | None = None) -> None:
        self.name = path.name
        bundle = read_unchanged(path).content
        self.sha256 = bundle.sha256
        pairs = label_pairs(bundle.pairs).values()
        names = {name for pair in pairs for name in (pair.model.id, pair.suite.name)}
        for old in new_names or ():
            if old not in names:
                raise EvidenceError(
                    f"no model or suite is named {old!r}; the names are "
                    f"{_listed(sorted(names))}",
                    location=str(path),
                )
        self._pairs = [_renamed(pair, new_names or {}) for pair in pairs]
        self._gated = [pair for pair in self._pairs if pair.gates]

    # --- before anything runs
    # --------------------------------------------------------------

    def validate(
        self,
        pairs: Iterable[Pair],
        measures: Iterable[str],
        suites: Mapping[Path, Suite],
    ) -> None:
        """Raise EvidenceError for what the run can't compare.

        These are pairs missing from the baseline or dropped from the suites, pairs
        measured with other settings or without one of the `measures`, and too few
        rounds to tell a rise from noise. suites: those of the pairs, by path.
        """
        from pytest_memleak.scoring.release_test import least_rounds

        pairs, names = list(pairs), list(measures)
        gated = [pair for pair in pairs if pair.gates]
        levels = {pair.confidence for pair in gated}
        if len(levels) > 1:
            raise EvidenceError(
                f"the suites of this run differ in confidence: {_listed(levels)}",
                hint="set one confidence for all, or run them separately",
            )
        for pair in pairs:
            if why := self._obstacle(_planned_result(pair, suites[pair.suite]), names):
                raise EvidenceError(
                    f"{pair.id}: {why[0]}", location=self.name, hint=why[1]
                )
        self._validate_none_dropped(suites.values())
        if pairs and not gated:
            raise EvidenceError(
                "no pair of this run is gated: all are controls",
                hint="omit --memleak-max-increase: nothing could get worse",
            )
        for pair in gated:
            enough = least_rounds(len(gated) * len(names), confidence=pair.confidence)
            if pair.sampling.samples < enough:
                raise EvidenceError(
                    f"{pair.id}: {amount(pair.sampling.samples, 'round')} can't tell a "
                    "rise "
                    f"from noise in {amount(len(gated) * len(names), 'comparison')}",
                    hint=f"set samples = {enough} or more in both releases, or name fewer measures",
                )

    def _validate_none_dropped(self, suites: Iterable[Suite]) -> None:
        has: dict[str, set[str]] = {}
        for suite in suites:
            has.setdefault(suite.path.name, set()).update(
                pair.id for pair in suite.pairs
            )
        for pair in self._gated:
            if pair.pair not in has.get(pair.suite.name, {pair.pair}):
                raise EvidenceError(
                    f"{pair.pair}: it is gated in the baseline, but is no longer in "
                    "the suite",
                    location=self.name,
                    hint="put it back, or rebuild the baseline without it from that release's "
                    "ledger, which makes no API calls",
                )

    def _obstacle(
        self, now: PairResult, measures: Iterable[str]
    ) -> tuple[str, str] | None:
        """Return why a pair can't be compared, by its settings, and the fix; None if it can."""
        before = self._matching_pair(now)
        if not now.gates:
            return find_mismatch(before, now) if before and before.gates else None
        if before is None:
            return self._absence(now)
        if otherwise := find_mismatch(before, now):
            return otherwise
        if before.rounds is None:
            return (
                f"the baseline has no rounds for this pair: {INCOMPLETE}",
                "exclude the pair with -k",
            )
        measured = before.rounds.measures
        missing = [name for name in measures if name not in measured]
        obstacle = (
            f"the baseline has no {_listed(missing)} per round",
            f"name one of {_listed(measured)}",
        )
        return obstacle if missing else find_scan_mismatch(before, now, measures)

    def missing_pairs(self, now: Iterable[PairResult]) -> list[str]:
        """Return the pairs that gate in the baseline and weren't evaluated in a later release."""
        there = {(pair.suite.name, pair.pair) for pair in now}
        return [
            pair.pair
            for pair in self._gated
            if (pair.suite.name, pair.pair) not in there
        ]

    def validate_common(self, now: Iterable[PairResult]) -> None:
        """Raise EvidenceError unless a later release has a pair of this one, by its name."""
        later = {(pair.suite.name, pair.pair) for pair in now}
        earlier = {(pair.suite.name, pair.pair) for pair in self._pairs}
        if not later & earlier:
            sides = [
                _listed(sorted("::".join(names) for names in side))
                for side in (earlier, later)
            ]
            raise EvidenceError(
                f"no pair is in both releases: the earlier has {sides[0]}, the later "
                f"{sides[1]}",
                location=self.name,
                hint="if a model or suite file was renamed, add --as OLD=NEW",
            )

    # --- afterwards
    # ------------------------------------------------------------------------

    def change_lines(
        self, now: PairResult, *, but: Collection[str] = ()
    ) -> tuple[str, ...]:
        """List a pair's measures then and now, with intervals, or why they aren't comparable.

        but: measures to leave out.
        """
        before = self._matching_pair(now)
        if before is None:
            return (f"the baseline lacks this pair: {self._absence(now)[0]}",)
        if obstacle := find_obstacle(before, now):
            return (obstacle,)
        return tuple(
            _change_line(name, before, now)
            for name in before.values
            if name in now.values and name not in but
        )

    def compare(
        self,
        now: Mapping[str, PairResult],
        tolerances: Mapping[str, float],
        *,
        whole: bool = False,
    ) -> ReleaseComparison:
        """Test whether a named measure of any pair rose by more than noise and its tolerance.

        now: pairs of the later release by label; controls that were controls before are
        left out.
        whole: whether the later release must have every pair that gates in the earlier
        one.

        Raises EvidenceError if confidences differ.
        """
        from pytest_memleak.scoring.release_test import Comparison, compare_releases

        gated = {name: pair for name, pair in sorted(now.items()) if pair.gates}
        levels = {pair.settings["confidence"] for pair in gated.values()}
        if len(levels) > 1:
            raise EvidenceError(
                f"pairs differ in confidence: {_listed(levels)}",
                hint="set one confidence for all, or write an evidence bundle for each",
            )
        confidence = levels.pop() if levels else 0.95
        before: dict[str, PairRounds] = {}
        after: dict[str, PairRounds] = {}
        obstacles: dict[str, str] = {}
        for name, pair in now.items():
            if not pair.gates and (why := self._obstacle(pair, tolerances)):
                obstacles[name] = why[0]
        left_out = self.missing_pairs(now.values())
        if whole:
            obstacles |= dict.fromkeys(left_out, "only the earlier release has results")
        for name, pair in gated.items():
            was = self._matching_pair(pair)
            obstacle = self._measured_obstacle(was, pair, tolerances)
            if was is None or obstacle:
                obstacles[name] = obstacle
            else:
                before[name], after[name] = _rounds(was), _rounds(pair)
        changes = compare_releases(
            before,
            after,
            [
                Comparison(name, measure, tolerance)
                for name in after
                for measure, tolerance in tolerances.items()
            ],
            further=len(obstacles) * len(tolerances),
            confidence=confidence,
        )
        return ReleaseComparison(
            baseline=self.name,
            sha256=self.sha256,
            tolerances=dict(tolerances),
            confidence=confidence,
            verdict=comparison_verdict(changes, obstacles),
            changes=changes,
            obstacles=obstacles,
            left_out=() if whole else tuple(left_out),
        )

    def _measured_obstacle(
        self, was: PairResult | None, now: PairResult, measures: Iterable[str]
    ) -> str:
        """Return why a measured pair can't be compared in these measures; "" if it can."""
        if was is not None and (obstacle := find_obstacle(was, now)):
            return obstacle
        if why := self._obstacle(now, measures):
            return why[0]
        measured = now.rounds.measures if now.rounds else {}
        for name in measures:
            if name not in measured:
                return f"{name} wasn't measured: {why_unmeasured(name)}"
        sizes = [
            (pair.book.words or 0, len(pair.rounds.measures[BMC.name]))
            for pair in (was, now)
            if pair is not None and pair.rounds is not None
        ]
        if sizes[0] != sizes[1]:
            (words, rounds), (words_now, rounds_now) = sizes
            return (
                f"the baseline has {words:,} words and {amount(rounds, 'round')}, this "
                f"release {words_now:,} and {rounds_now:,}"
            )
        return ""

    def _matching_pair(self, now: PairResult) -> PairResult | None:
        """Return the pair of that name and suite; of several, by path and endpoint."""
        alike = [
            pair
            for pair in self._pairs
            if (pair.suite.name, pair.pair) == (now.suite.name, now.pair)
        ]
        for name in _TELLS_APART:
            if len(alike) > 1:
                alike = [pair for pair in alike if name(pair) == name(now)]
        return alike[0] if len(alike) == 1 else None

    def _absence(self, now: PairResult) -> tuple[str, str]:
        """Return why the baseline lacks a pair, and the fix."""
        name = now.suite.name
        suites = {pair.suite.name for pair in self._pairs if pair.pair == now.pair}
        if suites and name not in suites:
            reason = f"its suite was {_listed(sorted(suites))}, and is now {name}"
            return reason, "restore the suite file's old name"
        names = _listed(pair.pair for pair in self._pairs)
        return f"the baseline has no pair of this name; it has {names}", (
            "exclude the pair with -k or --deselect, or rebuild the baseline with it"
        )


def _planned_result(pair: Pair, suite: Suite) -> PairResult:
    """Return as much of a pair's result as is known before the run."""
    tests = (
        book.id
        for book in suite.books
        if book.role == "test" and book.id != pair.book.id
    )
    scope = ScanScope(dict.fromkeys(tests), dict.fromkeys(suite.excused(pair)))
    return localize(
        dataclasses.replace(build_unrun_result(pair, suite), scan_scope=scope)
    )


def _renamed(pair: PairResult, new_names: Mapping[str, str]) -> PairResult:
    model, suite = pair.model, pair.suite
    name = new_names.get(model.id, model.id)
    return dataclasses.replace(
        pair,
        pair=name + pair.pair.removeprefix(model.id),
        model=dataclasses.replace(model, id=name),
        suite=dataclasses.replace(suite, name=new_names.get(suite.name, suite.name)),
    )


_TELLS_APART = (
    operator.attrgetter("suite.path"),
    operator.attrgetter("model.endpoint"),
)


def label_pairs(pairs: Iterable[PairResult]) -> dict[str, PairResult]:
    """Key the pairs that were run by name, with suite and endpoint if names repeat."""
    run = [pair for pair in pairs if pair.plain_verdict is not Verdict.NOT_RUN]
    names = [pair.pair for pair in run]
    for part in _TELLS_APART:
        if len(set(names)) < len(names):
            names = [
                f"{part(pair)}::{name}" for pair, name in zip(run, names, strict=True)
            ]
    return dict(zip(names, run, strict=True))


def comparison_differences(evidence: EvidenceFile, path: Path) -> list[str]:
    """Recompute a bundle's comparison with an earlier release, and list the differences.

    Raises EvidenceError if it has none.
    """
    claimed = evidence.content.compared
    if not claimed:
        raise EvidenceError(
            "the bundle has no comparison with a release", hint="omit --baseline"
        )
    compared = Baseline(path).compare(
        label_pairs(evidence.content.pairs), claimed.tolerances
    )
    return differences(evidence.bundle["compared"], encode(compared), "compared")


def _rounds(pair: PairResult) -> PairRounds:
    import numpy as np

    from pytest_memleak.scoring.release_test import PairRounds
    from pytest_memleak.scoring.sampling_error import Spread

    rounds = pair.rounds
    assert rounds is not None  # noqa: S101 - `_obstacle`
    values = {name: pair.values[name] for name in rounds.measures}
    # Only sampled rounds are compared; the longest passage may be elsewhere.
    values |= {
        name: max(rounds.measures[name]) for name in OF_PASSAGES if name in values
    }
    return PairRounds(
        words=pair.book.words or 0,
        values=values,
        per_round={name: np.array(values) for name, values in rounds.measures.items()},
        spread=Spread(rounds.variance, rounds.units, rounds.typical),
        alike=rounds.alike,
    )


def _change_line(name: str, before: PairResult, now: PairResult) -> str:
    shown = []
    for pair in (before, now):
        text = figure(pair.values[name])
        if name in pair.intervals:
            low, high = pair.intervals[name]
            text += f" [{figure(low)}, {figure(high)}]"
        shown.append(text)
    return f"{name} {shown[0]} -> {shown[1]} ({now.values[name] - before.values[name]:+.4g})"


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
