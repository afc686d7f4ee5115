"""`memleak compare BEFORE.json AFTER.json`: two releases, by their evidence bundles."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_memleak.results.release_comparison import Baseline

WORSE = 1
_BUNDLE = re.compile(rb'\s*\{\s*"(schema|payload)')


def is_bundle(path: Path) -> bool:
    """Whether a file is an evidence bundle, signed or not, by how it begins."""
    with path.open("rb") as file:
        return _BUNDLE.match(file.read(200)) is not None


def compare_bundles(before: Path, after: Path, *, tolerances: str | None, as_json: bool) -> int:
    """Print what changed; with `tolerances`, whether anything got worse. Returns the exit code."""
    from pytest_memleak.errors import EvidenceError
    from pytest_memleak.results.comparable import parse_tolerances, validate_tolerances
    from pytest_memleak.results.release_comparison import (
        Baseline,
        label_pairs,
        read_unchanged_bundle,
    )

    named = {} if tolerances is None else parse_tolerances(tolerances)
    validate_tolerances(named)
    baseline = Baseline(before)
    made = read_unchanged_bundle(after)
    if named and made["sha256"] == baseline.sha256:
        raise EvidenceError(
            "the later bundle is the earlier one, so that nothing of a later release is in it",
            location=str(after),
            hint="give the bundle that the later release's run wrote",
        )
    now = label_pairs(made["pairs"])
    if named:
        return _gated(baseline, now, named, as_json)
    for pair in baseline.missing_pairs(now.values()):
        print(f"{pair}: only the earlier release was looked at", file=sys.stderr)
    return _told(baseline, now, as_json)


def _told(baseline: Baseline, now: Mapping[str, Any], as_json: bool) -> int:
    told = {name: baseline.change_lines(pair) for name, pair in now.items()}
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _print(f"{name}: {line}" for name, lines in told.items() for line in lines)
    return 0


def _gated(
    baseline: Baseline, now: Mapping[str, Any], tolerances: Mapping[str, float], as_json: bool
) -> int:
    from pytest_memleak.records import Verdict
    from pytest_memleak.reports.report_text import change_text, comparison_sentence

    compared = baseline.compare(now, tolerances, whole=True)
    if as_json:
        print(json.dumps(compared.to_json(), indent=2))
    else:
        _print(f"{one.pair}: {change_text(one)}" for one in compared.changes)
        _print(f"{pair}: INCONCLUSIVE: {why}" for pair, why in compared.obstacles.items())
        _print([comparison_sentence(compared)])
    return 0 if compared.verdict is Verdict.PASS else WORSE


def _print(lines: Any) -> None:
    from pytest_memleak.redaction.text import inert

    for line in lines:
        print(inert(line))
