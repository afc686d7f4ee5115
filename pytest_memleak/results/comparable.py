"""Comparability of a pair's evidence in two releases (docs/method.md).

    find_mismatch(before, now)               settings under which they aren't
    comparable, and a fix find_scan_mismatch(before, now, names)   differences in the
    books scanned for passages find_obstacle(before, now)               another book, or
    incomplete evidence parse_tolerances("bmc=0.01")             how much a measure may
    rise

Before a run, a pair is given as NOT RUN.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.records.pair_result import PairResult, ScanScope
from pytest_memleak.records.provenance import distribution
from pytest_memleak.scoring.measure_table import MEASURES, PASSAGES, nearest, with_needs
from pytest_memleak.scoring.words import installed_icu

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


# These change neither the sampling distribution, nor what a round measures, nor how
# strict it is.
_FREE_SETTINGS = ("seed", "max_age_days", "stop_on_fail", "detection_limit")
# 1: a larger value is more lenient; -1: a smaller one is. A release may be stricter.
_LENIENT_DIRECTION = {
    "confidence": 1,
    "max_short": 1,
    "max_unanswered": 1,
    "max_prompt_overlap": 1,
    "accept_refusals": 1,
    "min_length_ratio": -1,
}
# Options that may suppress a model's recall.
_SILENCING_OPTIONS = ("system", "safety_threshold")

_IDENTITY = operator.attrgetter("id", "sha256", "words", "excerpts")
INCOMPLETE = "one release has incomplete evidence"
_MEASURE_ALIKE = "measure both releases with the same settings, or rebuild the baseline"
REBUILD = (
    "rebuild it from that release's ledger and suite, without API calls: pytest "
    "--memleak-offline "
    "--memleak-evidence FILE"
)
_REBUILD_AS_NOW = (
    "rebuild the baseline with the current suite from that release's ledger, without "
    "API calls; or "
    "name other measures"
)


def find_mismatch(before: PairResult, now: PairResult) -> tuple[str, str] | None:
    """Return why the settings of two releases aren't comparable, and the fix; None if they are."""
    if before.gates and not now.gates:
        role = "a negative control" if now.control else "expected to leak"
        return f"it is gated in the baseline, but is {role} now", (
            "gate it again, or remove it from both releases"
        )
    for name, old, new in differing_settings(before, now):
        return (
            f"{name} is {old!r} in the baseline, but {new!r} in this release",
            _MEASURE_ALIKE,
        )
    theirs, ours = (distribution(pair.model.options, ()) for pair in (before, now))
    if theirs != ours:
        return (
            (
                f"the baseline was sampled from a different distribution: {theirs}; now "
                f"{ours}"
            ),
            _MEASURE_ALIKE,
        )
    return None


def differing_settings(
    before: PairResult, now: PairResult
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each setting that must agree but doesn't: its name, old value and new value."""
    was, current = before.settings, now.settings
    if "icu" in was and now.book.sha256 is None:  # not read yet
        current = {**current, "icu": installed_icu()}
    for name in sorted(was.keys() | current.keys()):
        old, new = was.get(name), current.get(name)
        if name in _FREE_SETTINGS or old == new:
            continue
        easier = _LENIENT_DIRECTION.get(name)
        if easier is None or old is None or new is None or (new - old) * easier > 0:
            yield name, old, new
    for name in _SILENCING_OPTIONS:
        old, new = (pair.model.options.get(name) for pair in (before, now))
        if old != new:
            yield f"options.{name}", old, new


def find_scan_mismatch(
    before: PairResult, now: PairResult, measures: Iterable[str]
) -> tuple[str, str] | None:
    """Return how the scanned books differ, and the fix, if a measure of passages is named.

    Of a pair that wasn't run, only the IDs of the books are known.
    """
    if not with_needs(measures, PASSAGES):
        return None
    if before.scan_scope is None:
        return "the bundle doesn't say which books were scanned for passages", REBUILD
    scope = now.scan_scope or ScanScope()
    for was, is_now, problem in (
        (before.scan_scope.books, scope.books, "the books scanned for passages differ"),
        (before.scan_scope.excused, scope.excused, "the excused books differ"),
    ):
        both = was.keys() & is_now.keys()
        differ = {
            "added": is_now.keys() - was.keys(),
            "removed": was.keys() - is_now.keys(),
            "changed": {
                book_id
                for book_id in both
                if is_now[book_id] not in (None, was[book_id])
            },
        }
        if any(differ.values()):
            changes = (
                f"{how} {', '.join(sorted(ids))}" for how, ids in differ.items() if ids
            )
            return f"{problem}: {'; '.join(changes)}", _REBUILD_AS_NOW
    if now.plain_verdict is not Verdict.NOT_RUN and before.catalog != now.catalog:
        return "the catalog differs", _REBUILD_AS_NOW
    return None


def find_obstacle(before: PairResult, now: PairResult) -> str:
    """Return why the measures of two releases can't be compared; "" if they can."""
    if _IDENTITY(before.book) != _IDENTITY(now.book):
        return "the baseline used a different book or different instructions"
    for name, old, new in differing_settings(before, now):
        if name not in _LENIENT_DIRECTION:
            return f"{name} is {old!r} in the baseline, but {new!r} in this release"
    theirs, ours = _pair_distribution(before), _pair_distribution(now)
    if theirs != ours:
        return f"the baseline was sampled from a different distribution: {theirs}; now {ours}"
    for pair in (before, now):
        if pair.completeness.issues or not pair.measures:
            return INCOMPLETE
    return ""


def _pair_distribution(pair: PairResult) -> str:
    return distribution(
        pair.model.options, pair.provenance.refused if pair.provenance else ()
    )


def parse_tolerances(value: str) -> dict[str, float]:
    """Parse how much each measure may rise. Raises SettingsError for anything else."""
    tolerances: dict[str, float] = {}
    for part in value.split(","):
        measure, _, by = part.partition("=")
        try:
            number = float(by)
        except ValueError:
            number = math.nan
        name = measure.strip()
        if not (name and 0 <= number < math.inf):
            raise SettingsError(
                f"expected MEASURE=NUMBER,... with numbers of 0 or more, got {part!r}"
            )
        if name in tolerances:
            raise SettingsError(f"{name} occurs twice")
        tolerances[name] = number
    return tolerances


def validate_tolerances(
    tolerances: Mapping[str, float], brought: Iterable[str] = ()
) -> None:
    """Raise SettingsError for tolerances that no rise could exceed.

    These are unknown measures, measures without a value in each round, and rises of a
    share by 1. brought: measures of extensions, which have no value in each round.
    """
    testable = [name for name, row in MEASURES.items() if row.by_round]
    names = [*MEASURES, *brought]
    for name, by in tolerances.items():
        if name not in names:
            raise SettingsError(f"unknown measure {name!r}; {nearest(name, names)}")
        if name not in testable:
            raise SettingsError(
                f"{name} has no per-round values, so a rise can't be tested against "
                "noise; "
                f"use {', '.join(testable)}"
            )
        if by >= 1 and MEASURES[name].kind == "share":
            raise SettingsError(
                f"{name}={by:g}: no share can rise by that much, so nothing could fail",
                hint=f"it is a share: for a rise of 1%, set {name}=0.01",
            )
