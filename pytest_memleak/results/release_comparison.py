"""A release compared with an earlier one's evidence bundle: changes, regressions.

    BaselineBundle(path).validate(pairs, ...)  before the run: raise for obstacles
    BaselineBundle(path).change_lines(pair)    every measure of a pair, then and now
    BaselineBundle(path).compare(pairs, ...)   test whether a named measure got worse

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
    find_obstacle,
    find_scan_mismatch,
    find_settings_mismatch,
)
from pytest_memleak.results.evidence_file import json_differences, read_unchanged
from pytest_memleak.results.result_codec import encode, localize
from pytest_memleak.scoring.measure_table import BMC, OF_PASSAGES, why_unmeasured

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.verdicts import Change
    from pytest_memleak.results.comparable import ReasonAndFix
    from pytest_memleak.results.evidence_file import EvidenceFile
    from pytest_memleak.scoring.release_rise_test import PairRounds


class BaselineBundle:
    """A baseline bundle. Raises EvidenceError if its file can't be read or was changed.

    new_names: of models and suite files that the later release renamed, by the old ones
    """

    def __init__(self, path: Path, new_names: Mapping[str, str] | None = None) -> None:
        self.name = path.name
        bundle = read_unchanged(path).content
        self.sha256 = bundle.sha256
        pairs = label_pairs(bundle.pairs).values()
        models = {pair.model.id for pair in pairs}
        suites = {pair.suite.name for pair in pairs}
        names = models | suites
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
        from pytest_memleak.scoring.release_rise_test import least_rounds

        pairs = list(pairs)
        names = list(measures)
        gated = [pair for pair in pairs if pair.gates]
        levels = {pair.confidence for pair in gated}
        if len(levels) > 1:
            raise EvidenceError(
                f"the suites of this run differ in confidence: {_listed(levels)}",
                hint="set one confidence for all, or run them separately",
            )
        for pair in pairs:
            planned = _planned_result(pair, suites[pair.suite])
            obstacle = self._obstacle(planned, names)
            if obstacle:
                cause, fix = obstacle
                raise EvidenceError(f"{pair.id}: {cause}", location=self.name, hint=fix)
        self._validate_none_dropped(suites.values())
        if pairs and not gated:
            raise EvidenceError(
                "no pair of this run is gated: all are controls",
                hint="omit --memleak-max-increase: nothing could get worse",
            )
        comparisons = len(gated) * len(names)
        for pair in gated:
            enough = least_rounds(comparisons, confidence=pair.confidence)
            if pair.sampling.samples < enough:
                rounds = amount(pair.sampling.samples, "round")
                raise EvidenceError(
                    f"{pair.id}: {rounds} can't tell a rise from noise in "
                    f"{amount(comparisons, 'comparison')}",
                    hint=f"set samples = {enough} or more in both releases, or name "
                    "fewer measures",
                )

    def _validate_none_dropped(self, suites: Iterable[Suite]) -> None:
        pairs_of_suite: dict[str, set[str]] = {}
        for suite in suites:
            pairs = pairs_of_suite.setdefault(suite.path.name, set())
            pairs.update(pair.id for pair in suite.pairs)
        for pair in self._gated:
            suite_name = pair.suite.name
            if suite_name not in pairs_of_suite:
                continue
            if pair.pair not in pairs_of_suite[suite_name]:
                raise EvidenceError(
                    f"{pair.pair}: it is gated in the baseline, but is no longer in "
                    "the suite",
                    location=self.name,
                    hint="put it back, or rebuild the baseline without it from that "
                    "release's ledger, which makes no API calls",
                )

    def _obstacle(
        self,
        now: PairResult,
        measures: Iterable[str],
    ) -> ReasonAndFix | None:
        """Return why a pair can't be compared, by its settings, and the fix.

        None if it can.
        """
        before = self._matching_pair(now)
        if not now.gates:
            gated_before = before is not None and before.gates
            return (
                find_settings_mismatch(before, now) if before and gated_before else None
            )
        if before is None:
            return self._absence(now)
        mismatch = find_settings_mismatch(before, now)
        if mismatch:
            return mismatch
        if before.rounds is None:
            return (
                f"the baseline has no rounds for this pair: {INCOMPLETE}",
                "exclude the pair with -k",
            )
        measured = before.rounds.measures
        missing = [name for name in measures if name not in measured]
        if missing:
            return (
                f"the baseline has no {_listed(missing)} per round",
                f"name one of {_listed(measured)}",
            )
        return find_scan_mismatch(before, now, measures)

    def missing_pairs(self, now: Iterable[PairResult]) -> list[str]:
        """Return the pairs that gate in the baseline and weren't evaluated later."""
        later = {_full_name(pair) for pair in now}
        return [pair.pair for pair in self._gated if _full_name(pair) not in later]

    def validate_common(self, now: Iterable[PairResult]) -> None:
        """Raise EvidenceError unless a later release has a pair of this one by name."""
        later = {_full_name(pair) for pair in now}
        earlier = {_full_name(pair) for pair in self._pairs}
        if not later & earlier:
            raise EvidenceError(
                f"no pair is in both releases: the earlier has "
                f"{_listed(sorted(earlier))}, the later {_listed(sorted(later))}",
                location=self.name,
                hint="if a model or suite file was renamed, add --as OLD=NEW",
            )

    # --- afterwards

    def change_lines(
        self,
        now: PairResult,
        *,
        but: Collection[str] = (),
    ) -> tuple[str, ...]:
        """List a pair's measures then and now, or why they aren't comparable.

        but: measures to leave out
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
        """Test whether a named measure of any pair rose beyond noise and its tolerance.

        Raises EvidenceError if confidences differ.

        now: pairs of the later release by label; controls that were controls before are
            left out
        whole: whether the later release must have every pair that gates in the earlier
            one
        """
        from pytest_memleak.scoring.release_rise_test import (
            Comparison,
            compare_releases,
        )

        gated = {name: pair for name, pair in sorted(now.items()) if pair.gates}
        confidence = _common_confidence(gated.values())
        obstacles = self._obstacles_of_ungated(now, tolerances)
        left_out = self.missing_pairs(now.values())
        if whole:
            obstacles |= dict.fromkeys(left_out, "only the earlier release has results")
        before: dict[str, PairRounds] = {}
        after: dict[str, PairRounds] = {}
        comparisons: list[Comparison] = []
        for name, pair in gated.items():
            was = self._matching_pair(pair)
            obstacle = self._measured_obstacle(was, pair, tolerances)
            if was is None or obstacle:
                obstacles[name] = obstacle
                continue
            before[name] = _rounds(was)
            after[name] = _rounds(pair)
            for measure, tolerance in tolerances.items():
                comparisons.append(Comparison(name, measure, tolerance))
        changes = compare_releases(
            before,
            after,
            comparisons,
            untested=len(obstacles) * len(tolerances),
            confidence=confidence,
        )
        return ReleaseComparison(
            baseline=self.name,
            sha256=self.sha256,
            tolerances=dict(tolerances),
            confidence=confidence,
            verdict=_comparison_verdict(changes, obstacles),
            changes=changes,
            obstacles=obstacles,
            left_out=() if whole else tuple(left_out),
        )

    def _obstacles_of_ungated(
        self,
        now: Mapping[str, PairResult],
        measures: Iterable[str],
    ) -> dict[str, str]:
        """Return why pairs that gate no longer can't be compared, by their labels."""
        obstacles: dict[str, str] = {}
        for name, pair in now.items():
            obstacle = None if pair.gates else self._obstacle(pair, measures)
            if obstacle:
                obstacles[name] = obstacle[0]
        return obstacles

    def _measured_obstacle(
        self,
        was: PairResult | None,
        now: PairResult,
        measures: Iterable[str],
    ) -> str:
        """Return why a measured pair can't be compared in these measures.

        "" if it can.
        """
        if was is not None:
            obstacle_by_result = find_obstacle(was, now)
            if obstacle_by_result:
                return obstacle_by_result
        obstacle_by_settings = self._obstacle(now, measures)
        if obstacle_by_settings:
            return obstacle_by_settings[0]
        measured = now.rounds.measures if now.rounds else {}
        for name in measures:
            if name not in measured:
                return f"{name} wasn't measured: {why_unmeasured(name)}"
        assert was is not None  # noqa: S101 - `_obstacle`
        words, rounds = _words_and_rounds(was)
        words_now, rounds_now = _words_and_rounds(now)
        if (words, rounds) != (words_now, rounds_now):
            return (
                f"the baseline has {words:,} words and {amount(rounds, 'round')}, this "
                f"release {words_now:,} and {rounds_now:,}"
            )
        return ""

    def _matching_pair(self, now: PairResult) -> PairResult | None:
        """Return the pair of that name and suite; of several, by path and endpoint."""
        name = _full_name(now)
        alike = [pair for pair in self._pairs if _full_name(pair) == name]
        for key in _TELLS_APART:
            if len(alike) > 1:
                alike = [pair for pair in alike if key(pair) == key(now)]
        return alike[0] if len(alike) == 1 else None

    def _absence(self, now: PairResult) -> ReasonAndFix:
        """Return why the baseline lacks a pair, and the fix."""
        name = now.suite.name
        suites = {pair.suite.name for pair in self._pairs if pair.pair == now.pair}
        if suites and name not in suites:
            reason = f"its suite was {_listed(sorted(suites))}, and is now {name}"
            return reason, "restore the suite file's old name"
        names = _listed(pair.pair for pair in self._pairs)
        reason = f"the baseline has no pair of this name; it has {names}"
        return (
            reason,
            "exclude the pair with -k or --deselect, or rebuild the baseline with it",
        )


def _comparison_verdict(
    changes: Sequence[Change],
    obstacles: Mapping[str, str],
) -> Verdict:
    """Return FAIL for a rise, PASS if nothing rose and everything was comparable."""
    verdicts = [change.verdict for change in changes]
    if obstacles or not changes:
        verdicts.append(Verdict.INCONCLUSIVE)
    return worst_verdict(verdicts)


def _common_confidence(pairs: Iterable[PairResult]) -> float:
    """Return the confidence of all pairs. Raises EvidenceError if they differ in it."""
    levels = {pair.settings["confidence"] for pair in pairs}
    if len(levels) > 1:
        raise EvidenceError(
            f"pairs differ in confidence: {_listed(levels)}",
            hint="set one confidence for all, or write an evidence bundle for each",
        )
    confidence: float = levels.pop() if levels else 0.95
    return confidence


def _full_name(pair: PairResult) -> str:
    return f"{pair.suite.name}::{pair.pair}"


def _words_and_rounds(pair: PairResult) -> tuple[int, int]:
    """Return the words of a measured pair's book, and the number of its rounds."""
    rounds = pair.rounds.measures[BMC.name] if pair.rounds else ()
    return pair.book.words or 0, len(rounds)


def _planned_result(pair: Pair, suite: Suite) -> PairResult:
    """Return as much of a pair's result as is known before the run."""
    tests = [book.id for book in suite.books if book.role == "test"]
    others = [book_id for book_id in tests if book_id != pair.book.id]
    scope = ScanScope(
        dict.fromkeys(others), dict.fromkeys(suite.books_with_excused_passages(pair))
    )
    planned = build_unrun_result(pair, suite)
    return localize(dataclasses.replace(planned, scan_scope=scope))


def _renamed(pair: PairResult, new_names: Mapping[str, str]) -> PairResult:
    model = pair.model
    suite = pair.suite
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
    for key in _TELLS_APART:
        if len(set(names)) < len(names):
            names = [
                f"{key(pair)}::{name}" for pair, name in zip(run, names, strict=True)
            ]
    return dict(zip(names, run, strict=True))


def comparison_differences(evidence: EvidenceFile, path: Path) -> list[str]:
    """Recompute a bundle's comparison with an earlier release; list the differences.

    Raises EvidenceError if it has none.
    """
    claimed = evidence.content.compared
    if not claimed:
        raise EvidenceError(
            "the bundle has no comparison with a release",
            hint="omit --baseline",
        )
    compared = BaselineBundle(path).compare(
        label_pairs(evidence.content.pairs),
        claimed.tolerances,
    )
    return json_differences(evidence.bundle["compared"], encode(compared), "compared")


def _rounds(pair: PairResult) -> PairRounds:
    import numpy as np

    from pytest_memleak.scoring.bmc_interval import Spread
    from pytest_memleak.scoring.release_rise_test import PairRounds

    rounds = pair.rounds
    assert rounds is not None  # noqa: S101 - `_obstacle`
    values = {
        name: value for name, value in pair.values.items() if name in rounds.measures
    }
    for name in OF_PASSAGES:
        if name in values:
            # Only sampled rounds are compared; the longest passage may be elsewhere.
            values[name] = max(rounds.measures[name])
    return PairRounds(
        words=pair.book.words or 0,
        values=values,
        per_round={name: np.array(rounds.measures[name]) for name in values},
        spread=Spread(
            variance=rounds.variance,
            units=rounds.units,
            typical=rounds.typical,
        ),
        alike=rounds.alike,
    )


def _change_line(
    name: str,
    before: PairResult,
    now: PairResult,
) -> str:
    rise = now.values[name] - before.values[name]
    return (
        f"{name} {_value_text(name, before)} -> {_value_text(name, now)} ({rise:+.4g})"
    )


def _value_text(name: str, pair: PairResult) -> str:
    """Return a measure's value, with its interval if it has one."""
    text = figure(pair.values[name])
    if name not in pair.intervals:
        return text
    low, high = pair.intervals[name]
    return f"{text} [{figure(low)}, {figure(high)}]"


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
