"""`memleak score`: files of generations against their books, in the gate's own numbers."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.shared_options import add_scoring_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.scored_files import ScoredFile
    from pytest_memleak.records import Block, Scoring

Row = dict[str, Any]


def add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak score`."""
    score = commands.add_parser(
        "score",
        help="measure generations against their books",
        description="Measure generations against their books, as the gate does: each file of "
        "generations against the book before it, and passages of any of the books.",
    )
    score.add_argument(
        "book", metavar="BOOK", type=Path, help="the book (.epub, .txt, ...), or its excerpts"
    )
    score.add_argument(
        "generations", metavar="GENERATIONS.json", type=Path, help="generations (.json or .jsonl)"
    )
    score.add_argument(
        "further",
        metavar="BOOK GENERATIONS.json",
        type=Path,
        nargs="*",
        default=[],
        help="further books, each with its generations",
    )
    add_scoring_options(score)
    score.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    score.add_argument(
        "--near-verbatim",
        action="store_true",
        help="also nv_recall and nv_longest_span, which take far longer than the rest",
    )
    score.add_argument(
        "--spans",
        action="store_true",
        help="list the spans over T words in place of the measures",
    )
    score.set_defaults(run=_score)


def _score(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import SettingsError
    from pytest_memleak.pipeline.scored_files import score_files
    from pytest_memleak.records import Scoring

    if parsed.csv and parsed.json:
        raise SettingsError("--csv and --json are two forms", hint="leave one of them out")
    files = _in_twos([parsed.book, parsed.generations, *parsed.further])
    scoring = Scoring(
        k=parsed.k,
        trim=parsed.trim,
        span_threshold=parsed.span_threshold,
        word_mode=parsed.word_mode,
    )
    scored = list(score_files(files, scoring, near=parsed.near_verbatim))
    for one in scored:
        if one.analysis is None:
            _warn(f"{one.drawn}: there are no generations in it")
    names = _names(one.source for one in scored)
    if parsed.spans:
        rows = [row for one in scored for row in _spans(one, names)]
    else:
        rows = [_told(one, names, scoring) for one in scored]
    if parsed.json:
        print(json.dumps(rows, indent=2))
    elif parsed.csv:
        sys.stdout.write(_csv(rows, _SPAN if parsed.spans else ()))
    elif parsed.spans:
        _print_spans(rows)
    else:
        _print_measures(rows)
    return 0


def _in_twos(files: Sequence[Path]) -> list[tuple[Path, Path]]:
    from pytest_memleak.errors import SettingsError

    if len(files) % 2:
        raise SettingsError(
            f"{files[-1]} has no generations",
            hint="write each book and its generations in turn: "
            "memleak score A.epub A.json B.epub B.json",
        )
    return list(zip(files[::2], files[1::2], strict=True))


def _names(sources: Iterable[Path]) -> dict[Path, str]:
    """What each book is called: its file's name without the ending, where that is its alone."""
    paths = set(sources)
    stems = [path.stem for path in paths]
    return {path: path.stem if stems.count(path.stem) == 1 else str(path) for path in paths}


def _warn(text: str) -> None:
    from pytest_memleak.redaction.text import inert

    print(f"memleak score: warning: {inert(text)}", file=sys.stderr)


# --- what is told --------------------------------------------------------------------------


def _told(one: ScoredFile, names: dict[Path, str], scoring: Scoring) -> Row:
    """A book's measures as plain values; lengths with their places, those with none as 0."""
    from pytest_memleak.scoring.analysis import estimates

    measured, known = one.measurement, one.analysis
    row: Row = {
        "book": names[one.source],
        "generations": str(one.drawn),
        "words": measured.words,
        "rounds": known.error.rounds if known else 0,
        "k": scoring.k,
        "trim": scoring.trim,
        "span_threshold": scoring.span_threshold,
    }
    if known is None:
        return row | {
            "bmc": measured.bmc,
            "longest_block": {"words": 0, "start": None, "end": None},
            "longest_span": _place(measured.longest_span),
            "spans_over": 0,
        }
    places = {
        "longest_block": _place(measured.longest_block),
        "longest_span": _place(measured.longest_span),
    }
    if known.passages:
        places |= {name: _place(one, names) for name, one in known.passages.longest.items()}
    for name, estimate in estimates(known).items():
        row[name] = places.get(name, estimate.value)
        if estimate.low < estimate.high:
            row |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        if name in known.ranges:
            row[f"{name}_range_low"], row[f"{name}_range_high"] = known.ranges[name]
    return row


def _place(run: Block, names: dict[Path, str] | None = None) -> Row:
    """Where a run lies: in which book where that may be another, what was asked for."""
    told: Row = {"words": run.words}
    if names is not None:
        book = getattr(run, "book", None)
        told["book"] = names[Path(book)] if book else None
    for key in ("excerpt_id", "generation"):
        if hasattr(run, key):
            told[key] = getattr(run, key)
    return told | {"start": run.start, "end": run.end}


_SPAN = ("book", "generations", "words", "start", "end", "excerpt_id", "generation")


def _spans(one: ScoredFile, names: dict[Path, str]) -> Iterator[Row]:
    for span in one.measurement.spans:
        told = {"book": names[one.source], "generations": str(one.drawn), **_place(span)}
        yield {key: told[key] for key in _SPAN}


# --- how -----------------------------------------------------------------------------------


def _print_measures(rows: Sequence[Row]) -> None:
    """A row a measure, book by book; a book's name stands in its first row."""
    from pytest_memleak.cli.columns import print_table

    heads, numbers = ("measure", "value", "low", "high", "where"), ("value", "low", "high")
    if len(rows) == 1:
        print_table(
            heads, [_cells(rows[0], name, ()) for name in _measures(rows[0])], right=numbers
        )
        return
    books = [row["book"] for row in rows]
    lines: list[tuple[str, ...]] = []
    for row in rows:
        book = row["book"]
        of_several = f"{book} ({Path(row['generations']).stem})" if books.count(book) > 1 else book
        names = _measures(row)
        lines += [
            (("" if at else of_several), *_cells(row, name, books)) for at, name in enumerate(names)
        ]
    print_table(("book", *heads), lines, right=numbers)


_HEAD = ("book", "generations", "k", "trim", "span_threshold")


def _measures(row: Row) -> list[str]:
    return [name for name in row if name not in _HEAD and not name.endswith(("_low", "_high"))]


def _cells(row: Row, name: str, books: Sequence[str]) -> tuple[str, ...]:
    """The measure, its value and ends, and its place: with its book where there are several."""
    value = row[name]
    run = value if isinstance(value, dict) else {"words": value}
    ends = (row.get(f"{name}_range{end}", row.get(f"{name}{end}")) for end in ("_low", "_high"))
    book = run.get("book") if len({*books}) > 1 else None
    return name, _number(run["words"]), *map(_number, ends), _where(run | {"book": book})


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _where(run: Row) -> str:
    from pytest_memleak.redaction.text import inert

    if run.get("start") is None:
        return ""
    told = [f"words {run['start']:,}-{run['end']:,}"]
    if run.get("book"):
        told.insert(0, run["book"])
    if run.get("excerpt_id"):
        told.append(f"{inert(run['excerpt_id'])}, generation {run['generation']}")
    return ", ".join(told)


def _print_spans(rows: Sequence[Row]) -> None:
    from pytest_memleak.cli.columns import print_table

    heads = ("book", "words", "where")
    lines = [(row["book"], f"{row['words']:,}", _where(row | {"book": None})) for row in rows]
    print_table(heads, lines, right=("words",))


def _csv(rows: Sequence[Row], heads: Sequence[str]) -> str:
    from pytest_memleak.redaction.text import inert

    flat = [_flat(row) for row in rows]
    out = io.StringIO()
    columns = list(heads or dict.fromkeys(key for row in flat for key in row))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in flat:
        cells = (row.get(key) for key in columns)
        writer.writerow([inert(one) if isinstance(one, str) else one for one in cells])
    return out.getvalue()


def _flat(row: Row) -> Row:
    """Places as columns of their own: longest_span, longest_span_start, ..."""
    flat: Row = {}
    for name, value in row.items():
        if not isinstance(value, dict):
            flat[name] = value
            continue
        flat |= {name: value["words"]}
        flat |= {f"{name}_{key}": one for key, one in value.items() if key != "words"}
    return flat
