"""What bundles allow to be compared of a pair in two releases (METRICS section 7).

    unlike(before, now)                      how they were measured otherwise, and a fix
    passages_elsewhere(before, now, names)   whether passages were looked for in other books
    other_answers(before, now)               whether they are of another book, or not complete

Pairs are told as bundles tell them (`pair_evidence`); before anything runs, as far as is known.
`parsed_tolerances` reads how much worse a release may be: `bmc=0.01,longest_span=10`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import SettingsError
from pytest_memleak.records.provenance import distribution
from pytest_memleak.results.run_verdict import is_gating_pair
from pytest_memleak.scoring.measure_table import MEASURES, asks_for, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    PairEvidence = Mapping[str, Any]
    from collections.abc import Mapping

# Settings that change neither the distribution of answers nor what a round is measured to show,
# nor how much is asked of them.
_FREE_SETTINGS = ("seed", "max_age_days", "stop_on_fail", "detection_limit")
# Where more of it asks for less (1), or less of it does (-1); a release may ask for more.
_LENIENT_DIRECTION = {
    "confidence": 1,
    "max_short": 1,
    "max_unanswered": 1,
    "max_prompt_overlap": 1,
    "accept_refusals": 1,
    "min_length_ratio": -1,
}
# Options of a model that keep it silent.
_SILENCING_OPTIONS = ("system", "safety_threshold")

INCOMPLETE = "one side has no complete evidence"
_MEASURE_ALIKE = "measure both releases alike, or make the baseline anew"
REBUILD = (
    "make it anew from that release's ledger, which costs no call: pytest --memleak-offline "
    "--memleak-evidence FILE with the suite as it was"
)
_REBUILD_AS_NOW = (
    "make the baseline anew from that release's ledger, which costs no call, with the suite as it "
    "is now; or name other measures"
)


def find_mismatch(before: PairEvidence, now: PairEvidence) -> tuple[str, str] | None:
    """How a pair was measured otherwise, or more easily, and what to do; None if it was not."""
    if is_gating_pair(before) and not is_gating_pair(now):
        became = "a control" if now["control"] else "expected to leak"
        return f"the baseline gates it, and now it is {became}", (
            "let it gate as it did, or leave it out of both releases"
        )
    for what, was, wanted in differing_settings(before, now):
        return f"made with {what} {was!r}, not {wanted!r}", _MEASURE_ALIKE
    theirs, ours = (distribution(pair["model"]["options"], ()) for pair in (before, now))
    if theirs != ours:
        return f"drawn from another distribution: {theirs}; now {ours}", _MEASURE_ALIKE
    return None


def differing_settings(before: PairEvidence, now: PairEvidence) -> Iterator[tuple[str, Any, Any]]:
    """What has to be the same for rounds to be comparable and is not: its name, then and now."""
    was, wanted = before["settings"], now["settings"]
    for name in sorted(was.keys() | wanted.keys()):
        old, new = was.get(name), wanted.get(name)
        if name in _FREE_SETTINGS or old == new:
            continue
        easier = _LENIENT_DIRECTION.get(name)
        if easier is None or None in (old, new) or (new - old) * easier > 0:
            yield name, old, new
    for name in _SILENCING_OPTIONS:
        old, new = (pair["model"]["options"].get(name) for pair in (before, now))
        if old != new:
            yield f"options.{name}", old, new


def find_scan_mismatch(
    before: PairEvidence, now: PairEvidence, measures: Iterable[str]
) -> tuple[str, str] | None:
    """Whether passages were looked for in other books, where a measure of them is named.

    Of now, before anything is read, the books' ids may be all that is known.
    """
    if not asks_for(measures, "passages"):
        return None
    if before.get("scan_scope") is None:
        return "the bundle does not tell what books passages are looked for in", REBUILD
    for kind, problem in (
        ("books", "passages are looked for in other books"),
        ("excused", "passages of other books are excused"),
    ):
        was, is_now = before["scan_scope"][kind], now["scan_scope"][kind]
        both = was.keys() & is_now.keys()
        differ = {
            "newly in": is_now.keys() - was.keys(),
            "no more in": was.keys() - is_now.keys(),
            "in another text of": {
                book_id for book_id in both if is_now[book_id] not in (None, was[book_id])
            },
        }
        if any(differ.values()):
            changes = (f"{how} {', '.join(sorted(ids))}" for how, ids in differ.items() if ids)
            return f"{problem}: {'; '.join(changes)}", _REBUILD_AS_NOW
    # Before anything is read, nobody knows what a catalog holds.
    if "catalog" in now and before["catalog"] != now["catalog"]:
        return "passages are looked for in another catalog", _REBUILD_AS_NOW
    return None


def find_obstacle(before: PairEvidence, now: PairEvidence) -> str:
    """Why the measures of a pair cannot be set beside one another; "" if they can."""
    keys = ("id", "sha256", "words", "excerpts")
    if any(before["book"][key] != now["book"][key] for key in keys):
        return "the baseline was made with another book, or with other instructions for it"
    for what, was, wanted in differing_settings(before, now):
        if what not in _LENIENT_DIRECTION:
            return f"the baseline was made with {what} {was!r}, not {wanted!r}"
    theirs, ours = _pair_distribution(before), _pair_distribution(now)
    if theirs != ours:
        return f"the baseline was drawn from another distribution: {theirs}; now {ours}"
    for pair in (before, now):
        if pair["completeness"]["issues"] or not pair["measures"]:
            return INCOMPLETE
    return ""


def _pair_distribution(pair: PairEvidence) -> str:
    """The distribution of a pair's evidence."""
    answerer = pair["provenance"] or {}
    return distribution(pair["model"]["options"], answerer.get("refused", ()))


def parse_tolerances(value: str) -> dict[str, float]:
    """Per measure, by how much it may rise. Raises SettingsError for anything else."""
    tolerances: dict[str, float] = {}
    for part in value.split(","):
        measure, _, by = part.partition("=")
        try:
            number = float(by)
        except ValueError:
            number = math.nan
        name = measure.strip()
        if not (name and 0 <= number < math.inf):
            raise SettingsError(f"expected MEASURE=NUMBER,... from 0 on, got {part!r}")
        if name in tolerances:
            raise SettingsError(f"{name} stands there twice")
        tolerances[name] = number
    return tolerances


def validate_tolerances(tolerances: Mapping[str, float], brought: Iterable[str] = ()) -> None:
    """Raise SettingsError for tolerances by which nothing could be called worse.

    A name that is no measure, or one that no round tells of; a share that may rise by all of it.
    brought: the measures of extensions, which are known, and of which no round tells.
    """
    testable = [name for name, row in MEASURES.items() if row.by_round]
    names = [*MEASURES, *brought]
    for name, by in tolerances.items():
        if name not in names:
            raise SettingsError(f"there is no measure {name!r}; {nearest(name, names)}")
        if name not in testable:
            raise SettingsError(
                f"{name} has no value in each round, so that a rise cannot be told from noise; "
                f"name {', '.join(testable)}"
            )
        if by >= 1 and MEASURES[name].kind == "share":
            raise SettingsError(
                f"{name}={by:g}: no share rises by that much, so that nothing could fail",
                hint=f"it is a share: a rise by 1 % is {name}=0.01",
            )
