"""`memleak compare` and `memleak trace`: what models memorized, and where it came from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.shared_options import add_scoring_options

if TYPE_CHECKING:
    import argparse

    from pytest_memleak.records import Book, Generation, Scoring

# --- memleak compare -----------------------------------------------------------------------


def add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak compare`."""
    compare = commands.add_parser(
        "compare",
        help="compare two releases, or what several models memorized of a book",
        description="Of two evidence bundles: what changed, and with --max-increase whether it is "
        "worse or noise. Exit code 0: no worse; 1: worse, or it cannot be told. Of a book and "
        "generations: Jaccard similarity of the memorized words, the value independence would "
        "give, and each model's agreement with itself.",
    )
    compare.add_argument(
        "book",
        metavar="BOOK.json",
        type=Path,
        help="excerpts of the book; or the bundle of the earlier release",
    )
    compare.add_argument(
        "generations",
        metavar="GENERATIONS.json",
        type=Path,
        nargs="+",
        help="one per model; or the bundle of the later release",
    )
    compare.add_argument(
        "--max-increase",
        metavar="MEASURE=BY,...",
        help="of bundles: fail where a measure rose by more than noise and than this, as in "
        "bmc=0.01,longest_span=10",
    )
    add_scoring_options(compare)
    compare.set_defaults(run=_compare)


def _compare(parsed: argparse.Namespace) -> int:
    from pytest_memleak.cli.compare_bundles import compare_bundles, is_bundle
    from pytest_memleak.errors import SettingsError

    if is_bundle(parsed.book):
        if len(parsed.generations) > 1:
            raise SettingsError("two releases are compared, an earlier and a later one")
        return compare_bundles(
            parsed.book,
            parsed.generations[0],
            tolerances=parsed.max_increase,
            as_json=parsed.json,
        )
    if parsed.max_increase is not None:
        raise SettingsError(f"--max-increase needs two evidence bundles, and {parsed.book} is none")
    return _compare_models(parsed)


def _compare_models(parsed: argparse.Namespace) -> int:
    from pytest_memleak.scoring.measures import compare, measure, self_agreement

    scoring = _scoring(parsed)
    measured, agreement = [], []
    for path in parsed.generations:
        book, generations = _load(parsed.book, path)
        measured.append(measure(book, generations, scoring))
        agreement.append(self_agreement(book, generations, scoring))
    names = [path.stem for path in parsed.generations]
    pairs = [
        {"a": names[i], "b": names[j], **dataclasses.asdict(compare(measured[i], measured[j]))}
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    models = [
        {"model": name, "bmc": one.bmc, "self_agreement": own}
        for name, one, own in zip(names, measured, agreement, strict=True)
    ]
    if parsed.json:
        print(json.dumps({"models": models, "pairs": pairs}, indent=2))
    else:
        _table(models)
        _table(pairs)
    return 0


# --- memleak trace -------------------------------------------------------------------------


def add_cross(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak trace`."""
    cross = commands.add_parser(
        "trace",
        help="show where recited spans came from",
        description="Spans of each excerpt by the excerpts whose generations recited them; with "
        "other books, what generations for this one recite of those.",
    )
    cross.add_argument("book", metavar="BOOK.json", type=Path, help="excerpts of the book")
    cross.add_argument("generations", metavar="GENERATIONS.json", type=Path, help="for that book")
    cross.add_argument(
        "others", metavar="OTHER_BOOK.json", type=Path, nargs="*", help="books nobody asked for"
    )
    add_scoring_options(cross)
    cross.set_defaults(run=_cross)


def _cross(parsed: argparse.Namespace) -> int:
    from pytest_memleak.records.paper_format import book_from_records, load_records
    from pytest_memleak.scoring.span_sources import cross_book, cross_excerpt

    scoring = _scoring(parsed)
    book, generations = _load(parsed.book, parsed.generations)
    within = cross_excerpt(book, generations, scoring)
    found: dict[str, Any] = {
        "spans": within.count,
        "cross": within.cross,
        "ratio": within.ratio,
        "cross_spans": [dataclasses.asdict(span) for span in within.spans if span.cross],
        "books": [],
    }
    for path in parsed.others:
        other = book_from_records(load_records(path), book_id=path.stem, place=str(path))
        spans = cross_book(other, {book.id: generations}, scoring)
        found["books"].append(
            {
                "book": path.stem,
                "spans": spans.count,
                "longest": spans.longest.words if spans.longest else 0,
                "over": spans.over(scoring.span_threshold),
            }
        )
    if parsed.json:
        print(json.dumps(found, indent=2))
    else:
        print(
            f"{within.count:,} spans, {within.cross:,} of them cross-excerpt ({within.ratio:.3f})"
        )
        _table(found["books"])
    return 0


# --- shared --------------------------------------------------------------------------------


def _scoring(parsed: argparse.Namespace) -> Scoring:
    from pytest_memleak.records import Scoring

    return Scoring(
        k=parsed.k,
        trim=parsed.trim,
        span_threshold=parsed.span_threshold,
        word_mode=parsed.word_mode,
    )


def _load(book_path: Path, path: Path) -> tuple[Book, list[Generation]]:
    from pytest_memleak.records.paper_format import (
        book_from_records,
        generations_from_records,
        load_records,
        with_instructions_asked,
    )

    book = book_from_records(load_records(book_path), book_id=book_path.stem, place=str(book_path))
    records = load_records(path)
    generations = generations_from_records(records, place=str(path))
    return with_instructions_asked(book, records), generations


def _table(rows: list[dict[str, Any]]) -> None:
    """Rows of equal keys."""
    from pytest_memleak.cli.columns import print_table

    if rows:
        print_table(list(rows[0]), [list(map(_cell, row.values())) for row in rows])


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
