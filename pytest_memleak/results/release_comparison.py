"""This release against an earlier one's evidence bundle: what changed, and what got worse.

    Baseline(path).validate(pairs, ...)         before anything runs: what cannot be compared
    Baseline(path).change_lines(pair)           every measure of a pair, then and now, in words
    Baseline(path).compare(pairs, tolerances)   is any of the named measures worse, or is it noise?

Pairs are told as bundles tell them (`pair_evidence`). METRICS section 7.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError
from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, figure
from pytest_memleak.records.releases import ReleaseComparison
from pytest_memleak.results.build_result import pair_settings
from pytest_memleak.results.comparable import (
    INCOMPLETE,
    REBUILD,
    find_mismatch,
    find_obstacle,
    find_scan_mismatch,
)
from pytest_memleak.results.evidence_file import differences, digest_errors, read_evidence
from pytest_memleak.results.run_evidence import suite_evidence
from pytest_memleak.results.run_verdict import is_gating_pair, pair_verdict
from pytest_memleak.scoring.measure_table import OF_PASSAGES, why_unmeasured

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.scoring.release_test import PairRounds

    PairEvidence = Mapping[str, Any]


class Baseline:
    """The bundle in a file. Raises EvidenceError for one that cannot be read or was changed."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        bundle = read_unchanged_bundle(path)
        self.sha256: str = bundle["sha256"]
        self._pairs = [*label_pairs(bundle["pairs"]).values()]

    # --- before anything runs --------------------------------------------------------------

    def validate(
        self, pairs: Iterable[Pair], measures: Iterable[str], suites: Mapping[Path, Suite]
    ) -> None:
        """Raise EvidenceError for what is known before a call not to be comparable.

        Pairs that the baseline does not have, or the suites no more; that were measured otherwise
        there, or lack one of the `measures`; and so few rounds that no rise could be told from
        noise. suites: those of the pairs, by path.
        """
        from pytest_memleak.scoring.release_test import least_rounds

        pairs, names = list(pairs), list(measures)
        gated = [pair for pair in pairs if pair.gates]
        levels = {pair.confidence for pair in gated}
        if len(levels) > 1:
            raise EvidenceError(
                f"the suites of this run have different confidences: {_listed(levels)}",
                hint="a rise is told from noise at one: run them apart, or give them the same",
            )
        for pair in pairs:
            if why := self._obstacle(_planned_evidence(pair, suites[pair.suite]), names):
                raise EvidenceError(f"{pair.id}: {why[0]}", location=self.name, hint=why[1])
        self._validate_none_dropped(suites.values())
        if pairs and not gated:
            raise EvidenceError(
                "no pair of this run gates: all are controls, or expected to leak",
                hint="there is nothing that could get worse; leave --memleak-max-increase out",
            )
        for pair in gated:
            enough = least_rounds(len(gated) * len(names), confidence=pair.confidence)
            if pair.sampling.samples < enough:
                raise EvidenceError(
                    f"{pair.id}: {amount(pair.sampling.samples, 'round')} cannot tell a rise from "
                    f"noise in {amount(len(gated) * len(names), 'comparison')}",
                    hint=f"draw samples = {enough} or more, in both releases; or name fewer",
                )

    def _validate_none_dropped(self, suites: Iterable[Suite]) -> None:
        has: dict[str, set[str]] = {}
        for suite in suites:
            has.setdefault(suite.path.name, set()).update(pair.id for pair in suite.pairs)
        for pair in filter(is_gating_pair, self._pairs):
            if pair["pair"] not in has.get(pair["suite"]["name"], {pair["pair"]}):
                raise EvidenceError(
                    f"{pair['pair']}: the baseline gates it, and the suite no longer has it",
                    location=self.name,
                    hint="put it back; or leave it out of the baseline, too, made anew from that "
                    "release's ledger, which costs no call",
                )

    def _obstacle(self, now: PairEvidence, measures: Iterable[str]) -> tuple[str, str] | None:
        """Why a pair cannot be compared, by its settings, and what to do; None if it can.

        Of one that gates nothing, why it did and no longer does.
        """
        before = self._matching_pair(now)
        if not is_gating_pair(now):
            return find_mismatch(before, now) if before and is_gating_pair(before) else None
        if before is None:
            return self._absence(now)
        if otherwise := find_mismatch(before, now):
            return otherwise
        if not before.get("rounds"):
            windows = before["windows"] is not None
            if windows or before["completeness"]["issues"]:
                why = why_unmeasured("bmc", windows=windows) if windows else INCOMPLETE
                return f"no rounds of it to compare: {why}", "leave the pair out with -k"
            return "the bundle does not tell its rounds: a version made it that did not", REBUILD
        measured = before["rounds"]["measures"]
        missing = [name for name in measures if name not in measured]
        obstacle = (
            f"{_listed(missing)} is not told of its rounds",
            f"name one of {_listed(measured)}",
        )
        return obstacle if missing else find_scan_mismatch(before, now, measures)

    def missing_pairs(self, now: Iterable[PairEvidence]) -> list[str]:
        """The pairs that gate in the baseline and were not looked at in a later release."""
        there = {(pair["suite"]["name"], pair["pair"]) for pair in now}
        return [
            pair["pair"]
            for pair in filter(is_gating_pair, self._pairs)
            if (pair["suite"]["name"], pair["pair"]) not in there
        ]

    # --- afterwards ------------------------------------------------------------------------

    def change_lines(self, now: PairEvidence, *, but: Collection[str] = ()) -> tuple[str, ...]:
        """Every measure of a pair then and now, with its intervals; or why it cannot be told.

        but: those that need not be told.
        """
        before = self._matching_pair(now)
        if before is None:
            return (f"the baseline does not have this pair: {self._absence(now)[0]}",)
        if obstacle := find_obstacle(before, now):
            return (obstacle,)
        return tuple(
            _change_line(name, estimate, now["measures"][name])
            for name, estimate in before["measures"].items()
            if "low" in estimate and name in now["measures"] and name not in but
        )

    def compare(
        self,
        now: Mapping[str, PairEvidence],
        tolerances: Mapping[str, float],
        *,
        whole: bool = False,
    ) -> ReleaseComparison:
        """Whether any pair rose in a named measure by more than noise and its tolerance.

        now: pairs of the later release, by what they are called there; those that are expected
        to leak, and controls, gate nothing, and are left out, where they did so before.
        whole: whether the later release should have all that gate in the earlier one.

        Raises EvidenceError where confidences differ.
        """
        from pytest_memleak.scoring.release_test import Comparison, compare_releases

        gated = {name: pair for name, pair in sorted(now.items()) if is_gating_pair(pair)}
        levels = {pair["settings"]["confidence"] for pair in gated.values()}
        if len(levels) > 1:
            raise EvidenceError(f"pairs have different confidences: {_listed(levels)}")
        confidence = levels.pop() if levels else 0.95
        before: dict[str, PairRounds] = {}
        after: dict[str, PairRounds] = {}
        obstacles: dict[str, str] = {}
        for name, pair in now.items():
            if not is_gating_pair(pair) and (why := self._obstacle(pair, tolerances)):
                obstacles[name] = why[0]
        left_out = self.missing_pairs(now.values())
        if whole:
            obstacles |= dict.fromkeys(left_out, "only the earlier release was looked at")
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
            changes=changes,
            obstacles=obstacles,
            left_out=() if whole else tuple(left_out),
        )

    def _measured_obstacle(
        self, was: PairEvidence | None, now: PairEvidence, measures: Iterable[str]
    ) -> str:
        """Why a pair that was measured cannot be compared in these measures; "" if it can."""
        if was is not None and (obstacle := find_obstacle(was, now)):
            return obstacle
        if why := self._obstacle(now, measures):
            return why[0]
        for name in measures:
            if name not in now["rounds"]["measures"]:
                return f"{name} was not measured: {why_unmeasured(name, windows=False)}"
        sizes = [
            (pair["book"]["words"], len(pair["rounds"]["measures"]["bmc"]))
            for pair in (was, now)
            if pair is not None
        ]
        if sizes[0] != sizes[1]:
            (words, rounds), (words_now, rounds_now) = sizes
            return (
                f"the baseline has {words:,} words and {amount(rounds, 'round')} of it, this "
                f"release {words_now:,} and {rounds_now:,}"
            )
        return ""

    def _matching_pair(self, now: PairEvidence) -> PairEvidence | None:
        """The pair of that name in a suite of that name.

        Where there are several, the one of that path, and then of that endpoint.
        """
        alike = [
            pair
            for pair in self._pairs
            if (pair["suite"]["name"], pair["pair"]) == (now["suite"]["name"], now["pair"])
        ]
        for key, inner in (("suite", "path"), ("model", "endpoint")):
            if len(alike) > 1:
                alike = [pair for pair in alike if pair[key][inner] == now[key].get(inner)]
        return alike[0] if len(alike) == 1 else None

    def _absence(self, now: PairEvidence) -> tuple[str, str]:
        """Why no pair of the baseline is this one, and what to do."""
        name = now["suite"]["name"]
        suites = {pair["suite"]["name"] for pair in self._pairs if pair["pair"] == now["pair"]}
        if suites and name not in suites:
            reason = f"it is of the suite {name} now, and was of {_listed(sorted(suites))}"
            return reason, "give the suite file the name that it had"
        had = _listed(pair["pair"] for pair in self._pairs)
        return f"not one pair of this name is in it; it has {had}", (
            "leave the pair out with -k or --deselect, or make the baseline with it"
        )


def _planned_evidence(pair: Pair, suite: Suite) -> dict[str, Any]:
    """What a bundle will say of a pair, as far as it is known before anything is read."""
    tests = (book.id for book in suite.books if book.role == "test" and book.id != pair.book.id)
    return {
        "pair": pair.id,
        "suite": suite_evidence(pair.suite),
        "settings": pair_settings(pair),
        "model": {"options": pair.model.options},
        "expected": pair.expected,
        "control": pair.control,
        "scan_scope": {
            "books": dict.fromkeys(tests),
            "excused": dict.fromkeys(suite.excused(pair)),
        },
    }


def read_unchanged_bundle(path: Path) -> Mapping[str, Any]:
    """A bundle, signed or not, that nobody changed after it was made; EvidenceError for others."""
    bundle = read_evidence(path).bundle
    if wrong := digest_errors(bundle):
        raise EvidenceError(wrong[0], location=str(path), hint="it was changed after it was made")
    return bundle


def label_pairs(pairs: Iterable[PairEvidence]) -> dict[str, PairEvidence]:
    """The pairs that were run, by what to call them.

    By suite and endpoint, too, only where that tells them apart.
    """
    run = [pair for pair in pairs if pair_verdict(pair) is not Verdict.NOT_RUN]
    names = [str(pair["pair"]) for pair in run]
    for part, key in (("suite", "path"), ("model", "endpoint")):
        if len(set(names)) < len(names):
            names = [f"{pair[part][key]}::{name}" for pair, name in zip(run, names, strict=True)]
    return dict(zip(names, run, strict=True))


def comparison_differences(bundle: Mapping[str, Any], path: Path) -> list[str]:
    """Where what a bundle says of an earlier release differs from what it and that one's give.

    Raises EvidenceError for one that was compared with none.
    """
    claimed = bundle["compared"]
    if not claimed:
        raise EvidenceError("it was compared with no release", hint="leave --baseline out")
    compared = Baseline(path).compare(label_pairs(bundle["pairs"]), claimed["tolerances"])
    return differences(claimed, json.loads(json.dumps(compared.to_json())), "compared")


# --- numbers and words ---------------------------------------------------------------------


def _rounds(pair: PairEvidence) -> PairRounds:
    import numpy as np

    from pytest_memleak.scoring.release_test import PairRounds
    from pytest_memleak.scoring.sampling_error import Spread

    rounds = pair["rounds"]
    values = {name: pair["measures"][name]["value"] for name in rounds["measures"]}
    # The longest passage may lie outside the sampled rounds, which alone are compared.
    values |= {name: max(rounds["measures"][name]) for name in OF_PASSAGES if name in values}
    return PairRounds(
        words=pair["book"]["words"],
        values=values,
        per_round={name: np.array(values) for name, values in rounds["measures"].items()},
        spread=Spread(rounds["variance"], rounds["units"], rounds["typical"]),
        alike=rounds["alike"],
    )


def _change_line(name: str, before: Mapping[str, float], now: Mapping[str, float]) -> str:
    shown = [figure(before["value"]), figure(now["value"])]
    for place, estimate in enumerate((before, now)):
        if estimate["low"] < estimate["high"]:
            shown[place] += f" [{figure(estimate['low'])}, {figure(estimate['high'])}]"
    return f"{name} {shown[0]} -> {shown[1]} ({now['value'] - before['value']:+.4g})"


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
