"""`memleak compare` and `memleak trace`: two releases or several models, and sources of spans."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.columns import print_table
from pytest_memleak.cli.shared_options import REPEATED, SCORING, add_command, scoring_of
from pytest_memleak.errors import EvidenceError, SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.records import Book, Generation
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.results.release_comparison import Baseline

WORSE = 1
_BUNDLE = re.compile(rb'\s*\{\s*"(schema|payload)')

# --- memleak compare
# -----------------------------------------------------------------------


def add_compare(commands: Commands) -> None:
    """Register `memleak compare`."""
    add_command(
        commands,
        "compare",
        _compare,
        "compare two evidence bundles, or several models on one book",
        "Compare two evidence bundles: print what changed and, with --max-increase, "
        "test whether "
        "a measure rose by more than noise (exit code 1 if it did or if the test is "
        "inconclusive). Or compare several models on one book: print the Jaccard "
        "similarity of "
        "their memorized words, its expected value for independent models, and each "
        "model's "
        "agreement with itself.",
        arguments={
            "book BOOK.json": "the book's excerpts, or the earlier release's bundle",
            "generations GENERATIONS.json": "one file of generations per model, or the later "
            "release's bundle",
            "--max-increase MEASURE=BY,...": "with bundles: fail if MEASURE rose by more than BY "
            "and the rise exceeds noise, as in bmc=0.01,longest_span=10",
            "--as OLD=NEW": "with bundles: a model or suite file that the later release renamed; "
            "repeatable",
            **SCORING,
        },
        generations={"nargs": "+"},
        **{"as": {"dest": "new_names", "type": _new_name, **REPEATED}},
    )


def _new_name(value: str) -> tuple[str, str]:
    old, equals, new = value.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got {value[:80]!r}")
    return old, new


def _compare(parsed: argparse.Namespace) -> int:
    if is_bundle(parsed.book):
        if len(parsed.generations) > 1:
            raise SettingsError("expected two bundles: an earlier and a later release")
        return _compare_bundles(parsed)
    for option, value in (
        ("--max-increase", parsed.max_increase),
        ("--as", parsed.new_names),
    ):
        if value:
            raise SettingsError(
                f"{option} needs evidence bundles; {parsed.book} isn't one"
            )
    return _compare_models(parsed)


def _compare_models(parsed: argparse.Namespace) -> int:
    from pytest_memleak.scoring.coverage_similarity import compare, self_agreement
    from pytest_memleak.scoring.measure_table import BMC
    from pytest_memleak.scoring.measures import measure

    scoring = scoring_of(parsed)
    measurements, agreements = [], []
    for path in parsed.generations:
        book, generations = _load(parsed.book, path)
        measurements.append(measure(book, generations, scoring))
        agreements.append(self_agreement(book, generations, scoring))
    names = [path.stem for path in parsed.generations]
    pairs = [
        {"a": a, "b": b, **dataclasses.asdict(compare(first, second))}
        for (a, first), (b, second) in itertools.combinations(
            zip(names, measurements, strict=True), 2
        )
    ]
    models = [
        {"model": name, BMC.name: measurement.bmc, "self_agreement": agreement}
        for name, measurement, agreement in zip(
            names, measurements, agreements, strict=True
        )
    ]
    if parsed.json:
        print(json.dumps({"models": models, "pairs": pairs}, indent=2))
    else:
        _table(models)
        _table(pairs)
    return 0


def is_bundle(path: Path) -> bool:
    """Tell whether a file begins as an evidence bundle does, signed or not."""
    with path.open("rb") as file:
        return _BUNDLE.match(file.read(200)) is not None


def _compare_bundles(parsed: argparse.Namespace) -> int:
    """Print what changed and, with tolerances, what got worse; return the exit code."""
    from pytest_memleak.results.comparable import parse_tolerances, validate_tolerances
    from pytest_memleak.results.evidence_file import read_unchanged
    from pytest_memleak.results.release_comparison import Baseline, label_pairs

    after = parsed.generations[0]
    limits = (
        {} if parsed.max_increase is None else parse_tolerances(parsed.max_increase)
    )
    validate_tolerances(limits)
    baseline = Baseline(parsed.book, dict(parsed.new_names))
    bundle = read_unchanged(after).content
    if limits and bundle.sha256 == baseline.sha256:
        raise EvidenceError(
            "both bundles are the same, so there is no later release to compare",
            location=str(after),
            hint="name the bundle of the later release",
        )
    later = label_pairs(bundle.pairs)
    baseline.validate_common(later.values())
    if limits:
        return _print_tests(baseline, later, limits, parsed.json)
    for pair in baseline.missing_pairs(later.values()):
        print(f"{pair}: only in the earlier release", file=sys.stderr)
    return _print_changes(baseline, later, parsed.json)


def _print_changes(
    baseline: Baseline, later: Mapping[str, PairResult], as_json: bool
) -> int:
    changes = {name: baseline.change_lines(pair) for name, pair in later.items()}
    if as_json:
        print(json.dumps(changes, indent=2))
    else:
        _print(f"{name}: {line}" for name, lines in changes.items() for line in lines)
    return 0


def _print_tests(
    baseline: Baseline,
    later: Mapping[str, PairResult],
    tolerances: Mapping[str, float],
    as_json: bool,
) -> int:
    from pytest_memleak.reports.report_text import change_text, comparison_sentence
    from pytest_memleak.results.result_codec import encode

    comparison = baseline.compare(later, tolerances, whole=True)
    if as_json:
        print(json.dumps(encode(comparison), indent=2))
    else:
        _print(f"{change.pair}: {change_text(change)}" for change in comparison.changes)
        _print(
            f"{pair}: INCONCLUSIVE: {why}" for pair, why in comparison.obstacles.items()
        )
        _print([comparison_sentence(comparison)])
    return 0 if comparison.verdict is Verdict.PASS else WORSE


def _print(lines: Any) -> None:
    for line in lines:
        print(inert(line))


# --- memleak trace
# -------------------------------------------------------------------------


def add_trace(commands: Commands) -> None:
    """Register `memleak trace`."""
    add_command(
        commands,
        "trace",
        _trace,
        "show which prompts produced the spans of a book",
        "Count the spans of a book and, among them, those that the prompt of another "
        "excerpt "
        "produced. With other books, also count their spans in the same generations.",
        arguments={
            "book BOOK.json": "the book's excerpts",
            "generations GENERATIONS.json": "its generations",
            "others OTHER_BOOK.json": "excerpts of other books",
            **SCORING,
        },
        others={"nargs": "*"},
    )


def _trace(parsed: argparse.Namespace) -> int:
    from pytest_memleak.formats.paper_format import book_from_records, load_records
    from pytest_memleak.scoring.span_sources import cross_book, cross_excerpt

    scoring = scoring_of(parsed)
    book, generations = _load(parsed.book, parsed.generations)
    within = cross_excerpt(book, generations, scoring)
    result: dict[str, Any] = {
        "spans": within.count,
        "cross": within.cross,
        "ratio": within.ratio,
        "cross_spans": [span._asdict() for span in within.spans if span.cross],
        "books": [],
    }
    for path in parsed.others:
        other = book_from_records(
            load_records(path), book_id=path.stem, place=str(path)
        )
        texts = (
            []
            if other.id == book.id
            else [generation.text for generation in generations]
        )
        lengths = cross_book(other, texts, scoring)
        result["books"].append(
            {
                "book": path.stem,
                "spans": len(lengths),
                "longest": max(lengths, default=0),
                "over": sum(words > scoring.effective_threshold for words in lengths),
            }
        )
    if parsed.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{amount(within.count, 'span')}, {within.cross:,} of them cross-excerpt "
            f"({within.ratio:.3f})"
        )
        _table(result["books"])
    return 0


# --- shared
# --------------------------------------------------------------------------------


def _load(book_path: Path, path: Path) -> tuple[Book, list[Generation]]:
    from pytest_memleak.formats.paper_format import (
        book_from_records,
        generations_from_records,
        load_records,
        with_recorded_instructions,
    )

    book = book_from_records(
        load_records(book_path), book_id=book_path.stem, place=str(book_path)
    )
    records = load_records(path)
    generations = generations_from_records(records, place=str(path))
    return with_recorded_instructions(book, records), generations


def _table(rows: list[dict[str, Any]]) -> None:
    """Print rows that have the same keys."""
    if rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
