"""`memleak compare`: two releases' evidence bundles, or several models on one book."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.generations_of_book import load_generations
from pytest_memleak.cli.shared_options import (
    REPEATED,
    SCORING,
    add_command,
    scoring_from_options,
)
from pytest_memleak.cli.terminal_output import print_records
from pytest_memleak.errors import EvidenceError, SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.results.release_comparison import BaselineBundle

WORSE = 1
_BUNDLE = re.compile(rb'\s*\{\s*"(schema|payload)')


def add_compare(commands: Commands) -> None:
    """Register `memleak compare`."""
    add_command(
        commands,
        "compare",
        _run_compare,
        "compare two evidence bundles, or several models on one book",
        "Compare two evidence bundles: print what changed and, with --max-increase, "
        "test whether a measure rose by more than noise (exit code 1 if it did or if "
        "the test is inconclusive). Or compare several models on one book: print the "
        "Jaccard similarity of their memorized words, its expected value for "
        "independent models, and each model's agreement with itself.",
        arguments={
            "book BOOK.json": "the book's excerpts, or the earlier release's bundle",
            "generations GENERATIONS.json": "one file of generations per model, or the "
            "later release's bundle",
            "--max-increase MEASURE=BY,...": "with bundles: fail if MEASURE rose by "
            "more than BY and the rise exceeds noise, as in bmc=0.01,longest_span=10",
            "--as OLD=NEW": "with bundles: a model or suite file that the later "
            "release renamed; repeatable",
            **SCORING,
        },
        generations={"nargs": "+"},
        **{"as": {"dest": "new_names", "type": _parsed_rename, **REPEATED}},
    )


def _parsed_rename(value: str) -> tuple[str, str]:
    old, equals, new = value.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got {value[:80]!r}")
    return old, new


def _run_compare(parsed: argparse.Namespace) -> int:
    if is_bundle(parsed.book):
        if len(parsed.generations) > 1:
            raise SettingsError("expected two bundles: an earlier and a later release")
        return _compare_bundles(parsed)
    bundle_options = {"--max-increase": parsed.max_increase, "--as": parsed.new_names}
    for option, value in bundle_options.items():
        if value:
            raise SettingsError(
                f"{option} needs evidence bundles; {parsed.book} isn't one",
            )
    return _compare_models(parsed)


def is_bundle(path: Path) -> bool:
    """Tell whether a file begins as an evidence bundle does, signed or not."""
    with path.open("rb") as file:
        return _BUNDLE.match(file.read(200)) is not None


# --- several models on one book


def _compare_models(parsed: argparse.Namespace) -> int:
    from pytest_memleak.scoring.coverage_similarity import compare, self_agreement
    from pytest_memleak.scoring.four_measures import measure
    from pytest_memleak.scoring.measure_table import BMC

    scoring = scoring_from_options(parsed)
    models = []
    measured = []
    for path in parsed.generations:
        book, generations = load_generations(parsed.book, path)
        measurement = measure(book, generations, scoring)
        measured.append((path.stem, measurement))
        models.append(
            {
                "model": path.stem,
                BMC.name: measurement.bmc,
                "self_agreement": self_agreement(book, generations, scoring),
            },
        )
    pairs = []
    for (name, first), (other_name, second) in itertools.combinations(measured, 2):
        comparison = dataclasses.asdict(compare(first, second))
        pairs.append({"a": name, "b": other_name, **comparison})
    if parsed.json:
        print(json.dumps({"models": models, "pairs": pairs}, indent=2))
    else:
        print_records(models)
        print_records(pairs)
    return 0


# --- two releases


def _compare_bundles(parsed: argparse.Namespace) -> int:
    """Print what changed and, with tolerances, what got worse; return the exit code."""
    from pytest_memleak.results.comparable import parse_tolerances, validate_tolerances
    from pytest_memleak.results.evidence_file import read_unchanged
    from pytest_memleak.results.release_comparison import BaselineBundle, label_pairs

    after = parsed.generations[0]
    tolerances: Mapping[str, float] = {}
    if parsed.max_increase is not None:
        tolerances = parse_tolerances(parsed.max_increase)
    validate_tolerances(tolerances)
    baseline = BaselineBundle(parsed.book, dict(parsed.new_names))
    bundle = read_unchanged(after).content
    if tolerances and bundle.sha256 == baseline.sha256:
        raise EvidenceError(
            "both bundles are the same, so there is no later release to compare",
            location=str(after),
            hint="name the bundle of the later release",
        )
    later = label_pairs(bundle.pairs)
    baseline.validate_common(later.values())
    if tolerances:
        return _print_tolerance_tests(baseline, later, tolerances, parsed.json)
    for pair in baseline.missing_pairs(later.values()):
        print(f"{pair}: only in the earlier release", file=sys.stderr)
    return _print_changes(baseline, later, parsed.json)


def _print_changes(
    baseline: BaselineBundle,
    later: Mapping[str, PairResult],
    as_json: bool,
) -> int:
    changes = {name: baseline.change_lines(pair) for name, pair in later.items()}
    if as_json:
        print(json.dumps(changes, indent=2))
        return 0
    for name, lines in changes.items():
        for line in lines:
            print(inert(f"{name}: {line}"))
    return 0


def _print_tolerance_tests(
    baseline: BaselineBundle,
    later: Mapping[str, PairResult],
    tolerances: Mapping[str, float],
    as_json: bool,
) -> int:
    from pytest_memleak.reports.release_text import change_text, comparison_sentence
    from pytest_memleak.results.result_codec import encode

    comparison = baseline.compare(later, tolerances, whole=True)
    if as_json:
        print(json.dumps(encode(comparison), indent=2))
    else:
        for change in comparison.changes:
            print(inert(f"{change.pair}: {change_text(change)}"))
        for pair, why in comparison.obstacles.items():
            print(inert(f"{pair}: INCONCLUSIVE: {why}"))
        print(inert(comparison_sentence(comparison)))
    return 0 if comparison.verdict is Verdict.PASS else WORSE
