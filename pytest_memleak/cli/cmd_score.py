"""`memleak score`: the gate's measures of files of generations."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.shared_options import SCORING, add_command, scoring_from_options
from pytest_memleak.cli.terminal_output import print_table
from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Scoring
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.pipeline.score_files import ScoredFile
    from pytest_memleak.records import Block

Row = dict[str, Any]

_HEAD = ("book", "generations", "k", "trim", "span_threshold")
_SPAN = ("book", "generations", "words", "start", "end", "excerpt_id", "generation")


def add_score(commands: Commands) -> None:
    """Register `memleak score`."""
    add_command(
        commands,
        "score",
        _run_score,
        "measure generations against their books",
        "Compute the gate's measures of each file of generations for the book named "
        "before it, and scan it for passages of all these books.",
        arguments={
            "book BOOK": "the book (.epub, .txt, ...) or its excerpts",
            "generations GENERATIONS.json": "its generations (.json or .jsonl)",
            "further BOOK "
            "GENERATIONS.json": "more books, each followed by its generations",
            **SCORING,
            "--csv": "print CSV instead of a table",
            "--near-verbatim": "also compute nv_recall and nv_longest_span, which "
            "takes far longer",
            "--spans": "list the spans over --span-threshold words instead of the "
            "measures",
        },
        further={"nargs": "*"},
    )


def _run_score(parsed: argparse.Namespace) -> int:
    from pytest_memleak.pipeline.score_files import score_files

    if parsed.csv and parsed.json:
        raise SettingsError(
            "--csv and --json can't be combined",
            hint="omit one of them",
        )
    files = _books_and_generations([parsed.book, parsed.generations, *parsed.further])
    scoring = scoring_from_options(parsed)
    scored_files = list(score_files(files, scoring, near=parsed.near_verbatim))
    for scored_file in scored_files:
        if scored_file.analysis is None:
            text = (
                f"{inert(str(scored_file.generations_file))}: contains no generations"
            )
            print(f"memleak score: warning: {text}", file=sys.stderr)
    names = _short_name_of_each_book(scored_file.source for scored_file in scored_files)
    rows: list[Row] = []
    for scored_file in scored_files:
        if parsed.spans:
            rows += _span_rows(scored_file, names)
        else:
            rows.append(_measures_row(scored_file, names, scoring))
    if parsed.json:
        print(json.dumps(rows, indent=2))
    elif parsed.csv:
        from pytest_memleak.reports.evidence_table import write_rows

        heads = _SPAN if parsed.spans else ()
        write_rows(
            [_with_positions_as_columns(row) for row in rows], sys.stdout, heads=heads
        )
    elif parsed.spans:
        _print_spans(rows)
    else:
        _print_row_per_measure(rows)
    return 0


def _books_and_generations(files: Sequence[Path]) -> list[tuple[Path, Path]]:
    if len(files) % 2:
        raise SettingsError(
            f"{files[-1]} isn't followed by its generations",
            hint="name each book followed by its generations: memleak score A.epub "
            "A.json B.epub B.json",
        )
    books = files[::2]
    generations = files[1::2]
    return list(zip(books, generations, strict=True))


def _short_name_of_each_book(sources: Iterable[Path]) -> dict[Path, str]:
    """Name each book by its file's stem, or its path where two files share a stem."""
    paths = set(sources)
    stems = [path.stem for path in paths]
    names = {}
    for path in paths:
        is_shared = stems.count(path.stem) > 1
        names[path] = str(path) if is_shared else path.stem
    return names


def _measures_row(
    scored_file: ScoredFile,
    names: dict[Path, str],
    scoring: Scoring,
) -> Row:
    """Return a book's measures as plain values, lengths with their positions."""
    from pytest_memleak.records import Block
    from pytest_memleak.scoring.analysis import estimates
    from pytest_memleak.scoring.measure_table import GENERATIONS, MEASURES, with_needs

    measurement = scored_file.measurement
    analysis = scored_file.analysis
    row: Row = {
        "book": names[scored_file.source],
        "generations": str(scored_file.generations_file),
        "words": measurement.words,
        "rounds": analysis.error.rounds if analysis else 0,
        "k": scoring.k,
        "trim": scoring.trim,
        "span_threshold": scoring.span_threshold,
    }
    if analysis is None:
        for name in with_needs(MEASURES, GENERATIONS):
            value = getattr(measurement, name, 0)
            row[name] = (
                _length_position_and_book(value, names)
                if isinstance(value, Block)
                else value
            )
        return row
    for name, estimate in estimates(analysis).items():
        run = MEASURES[name].value(analysis)
        row[name] = estimate.value
        if isinstance(run, Block):
            row[name] = _length_position_and_book(run, names)
        if estimate.low < estimate.high:
            row |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        likely = analysis.ranges.get(name)
        if likely is not None:
            row[f"{name}_range_low"] = likely.low
            row[f"{name}_range_high"] = likely.high
    return row


def _length_position_and_book(run: Block, names: dict[Path, str]) -> Row:
    """Return a run's length and position, and a passage's book."""
    row: Row = {"words": run.words}
    if hasattr(run, "book"):
        row["book"] = names[Path(run.book)] if run.book else None
    for key in ("excerpt_id", "generation"):
        if hasattr(run, key):
            row[key] = getattr(run, key)
    return row | {"start": run.start, "end": run.end}


def _span_rows(scored_file: ScoredFile, names: dict[Path, str]) -> Iterator[Row]:
    for span in scored_file.measurement.spans:
        row = {
            "book": names[scored_file.source],
            "generations": str(scored_file.generations_file),
        }
        row |= _length_position_and_book(span, names)
        yield {key: row[key] for key in _SPAN}


def _print_spans(rows: Sequence[Row]) -> None:
    lines = []
    for row in rows:
        where = _position_text(row | {"book": None})
        lines.append((row["book"], row["words"], where))
    print_table(("book", "words", "where"), lines, right=("words",))


def _print_row_per_measure(rows: Sequence[Row]) -> None:
    """Print a row per measure, book by book."""
    books = [row["book"] for row in rows]
    lines: list[tuple[object, ...]] = []
    for row in rows:
        title = row["book"]
        if books.count(title) > 1:
            title += f" ({Path(row['generations']).stem})"
        for name in row:
            is_end_of_interval = name.endswith(("_low", "_high"))
            if name in _HEAD or is_end_of_interval:
                continue
            lines.append((title, *_name_value_interval_position(row, name, books)))
            title = ""  # named once
    numbers = ("value", "low", "high")
    heads = ("measure", *numbers, "where")
    if len(rows) == 1:  # the command line names the book
        print_table(heads, [line[1:] for line in lines], right=numbers)
    else:
        print_table(("book", *heads), lines, right=numbers)


def _name_value_interval_position(
    row: Row,
    name: str,
    books: Sequence[str],
) -> tuple[object, ...]:
    """Return a measure's name, value, interval, and position."""
    run = _value_and_position(row[name])
    low = row.get(f"{name}_range_low", row.get(f"{name}_low"))
    high = row.get(f"{name}_range_high", row.get(f"{name}_high"))
    if len(set(books)) == 1:
        run = run | {"book": None}
    return name, run["words"], low, high, _position_text(run)


def _position_text(run: Row) -> str:
    if run.get("start") is None:
        return ""
    parts = [f"words {run['start']:,}-{run['end']:,}"]
    if run.get("book"):
        parts.insert(0, run["book"])
    if run.get("excerpt_id"):
        parts.append(f"{inert(run['excerpt_id'])}, generation {run['generation']}")
    return ", ".join(parts)


def _with_positions_as_columns(row: Row) -> Row:
    """Flatten positions into columns: longest_span, longest_span_start, ..."""
    flat: Row = {}
    for name, value in row.items():
        for key, part in _value_and_position(value).items():
            column = name if key == "words" else f"{name}_{key}"
            flat[column] = part
    return flat


def _value_and_position(value: object) -> Row:
    """Return a measure as a row of its value and, where it is a run, its position."""
    return value if isinstance(value, dict) else {"words": value}
