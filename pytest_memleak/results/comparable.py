"""Comparability of a pair's evidence in two releases (docs/method.md).

    find_settings_mismatch(before, now)              other settings, and the fix
    find_scan_mismatch(before, now, names)  other books scanned for passages
    find_obstacle(before, now)              another book, or incomplete evidence
    parse_tolerances("bmc=0.01")            how much a measure may rise

Before a run, a pair is given as NOT RUN.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.records.pair_result import PairResult, ScanScope
from pytest_memleak.records.provenance import describe_distribution
from pytest_memleak.scoring.measure_table import (
    MEASURES,
    PASSAGES,
    unknown_name_hint,
    with_needs,
)
from pytest_memleak.scoring.words import installed_icu

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


# These change no distribution, nothing that a round measures, and no strictness.
ReasonAndFix = tuple[str, str]
NameOldAndNew = tuple[str, Any, Any]

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
    "rebuild it from that release's ledger and suite, without API calls: "
    "pytest --memleak-offline --memleak-evidence FILE"
)
_REBUILD_AS_NOW = (
    "rebuild the baseline with the current suite from that release's ledger, "
    "without API calls; or name other measures"
)


def find_settings_mismatch(before: PairResult, now: PairResult) -> ReasonAndFix | None:
    """Return why the settings of two releases aren't comparable, and the fix.

    None if they are.
    """
    if before.gates and not now.gates:
        role = "a negative control" if now.control else "expected to leak"
        return (
            f"it is gated in the baseline, but is {role} now",
            "gate it again, or remove it from both releases",
        )
    for setting in differing_settings(before, now):
        return _setting_difference(*setting), _MEASURE_ALIKE
    was = describe_distribution(before.model.options, ())
    current = describe_distribution(now.model.options, ())
    if was != current:
        return _distribution_difference(was, current), _MEASURE_ALIKE
    return None


def _setting_difference(
    name: str,
    was: object,
    current: object,
) -> str:
    return f"{name} is {was!r} in the baseline, but {current!r} in this release"


def _distribution_difference(was: str, current: str) -> str:
    return (
        f"the baseline was sampled from a different distribution: {was}; now {current}"
    )


def differing_settings(
    before: PairResult,
    now: PairResult,
) -> Iterator[NameOldAndNew]:
    """Yield each setting that must agree but doesn't: name, old and new value."""
    was = before.settings
    current = now.settings
    if "icu" in was and now.book.sha256 is None:  # not read yet
        current = {**current, "icu": installed_icu()}
    for name in sorted(was.keys() | current.keys()):
        old = was.get(name)
        new = current.get(name)
        if name in _FREE_SETTINGS or old == new:
            continue
        lenient = _LENIENT_DIRECTION.get(name)
        if lenient is None or old is None or new is None or (new - old) * lenient > 0:
            yield name, old, new
    for name in _SILENCING_OPTIONS:
        old = before.model.options.get(name)
        new = now.model.options.get(name)
        if old != new:
            yield f"options.{name}", old, new


def find_scan_mismatch(
    before: PairResult,
    now: PairResult,
    measures: Iterable[str],
) -> ReasonAndFix | None:
    """Return how the scanned books differ, and the fix, for a measure of passages.

    Of a pair that wasn't run, only the IDs of the books are known.
    """
    if not with_needs(measures, PASSAGES):
        return None
    if before.scan_scope is None:
        return "the bundle doesn't say which books were scanned for passages", REBUILD
    was = before.scan_scope
    current = now.scan_scope or ScanScope()
    if changes := _book_changes(was.books, current.books):
        return f"the books scanned for passages differ: {changes}", _REBUILD_AS_NOW
    if changes := _book_changes(was.excused, current.excused):
        return f"the excused books differ: {changes}", _REBUILD_AS_NOW
    if now.plain_verdict is not Verdict.NOT_RUN and before.catalog != now.catalog:
        return "the catalog differs", _REBUILD_AS_NOW
    return None


def _book_changes(
    was: Mapping[str, str | None],
    current: Mapping[str, str | None],
) -> str:
    """List the books that were added, removed, or changed; "" for none.

    A book without a digest isn't known to be changed.
    """
    in_both = was.keys() & current.keys()
    changes = {
        "added": current.keys() - was.keys(),
        "removed": was.keys() - current.keys(),
        "changed": {book for book in in_both if current[book] not in (None, was[book])},
    }
    texts = [f"{how} {', '.join(sorted(ids))}" for how, ids in changes.items() if ids]
    return "; ".join(texts)


def find_obstacle(before: PairResult, now: PairResult) -> str:
    """Return why the measures of two releases can't be compared; "" if they can."""
    if _IDENTITY(before.book) != _IDENTITY(now.book):
        return "the baseline used a different book or different instructions"
    for name, old, new in differing_settings(before, now):
        if name not in _LENIENT_DIRECTION:
            return _setting_difference(name, old, new)
    was = _pair_distribution(before)
    current = _pair_distribution(now)
    if was != current:
        return _distribution_difference(was, current)
    for pair in (before, now):
        if pair.completeness.issues or not pair.measures:
            return INCOMPLETE
    return ""


def _pair_distribution(pair: PairResult) -> str:
    refused = pair.provenance.refused if pair.provenance else ()
    return describe_distribution(pair.model.options, refused)


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
                f"expected MEASURE=NUMBER,... with numbers of 0 or more, got {part!r}",
            )
        if name in tolerances:
            raise SettingsError(f"{name} occurs twice")
        tolerances[name] = number
    return tolerances


def validate_tolerances(
    tolerances: Mapping[str, float],
    brought: Iterable[str] = (),
) -> None:
    """Raise SettingsError for tolerances that no rise could exceed.

    These are unknown measures, measures without a value in each round, and rises of a
    share by 1. brought: measures of extensions, which have no value in each round.
    """
    testable = [name for name, row in MEASURES.items() if row.by_round]
    names = [*MEASURES, *brought]
    for name, by in tolerances.items():
        if name not in names:
            raise SettingsError(
                f"unknown measure {name!r}; {unknown_name_hint(name, names)}"
            )
        if name not in testable:
            raise SettingsError(
                f"{name} has no per-round values, so a rise can't be tested against "
                f"noise; use {', '.join(testable)}",
            )
        if by >= 1 and MEASURES[name].kind == "share":
            raise SettingsError(
                f"{name}={by:g}: no share can rise by that much, so nothing could fail",
                hint=f"it is a share: for a rise of 1%, set {name}=0.01",
            )
