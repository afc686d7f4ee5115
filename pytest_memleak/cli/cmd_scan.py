"""`memleak scan`: passages of protected books in logs and training sets."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.scan_outputs import ScanOutputs, write_scan_reports
from pytest_memleak.cli.shared_options import WORD_MODE, add_command
from pytest_memleak.cli.terminal_output import print_sentence, print_table
from pytest_memleak.errors import RecordsError, SettingsError, escaped
from pytest_memleak.formats.log_files import kind_of_rows
from pytest_memleak.formats.log_paths import files_at
from pytest_memleak.formats.rows_as_records import RowPaths
from pytest_memleak.parallel import count_cores
from pytest_memleak.records import Scoring
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.measure_table import (
    LONGEST_PASSAGE,
    NV_LONGEST_PASSAGE,
    PASSAGE_LIMIT,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.library.library import Library
    from pytest_memleak.library.log_scan import ScanResult
    from pytest_memleak.library.scan_state import ScanState
    from pytest_memleak.library.sharded_scan import Engine, ScanPlan, ShardScan

Row = dict[str, Any]

UNREAD = 3
"""Exit code if something couldn't be read."""

_LISTED = 20
_SHARES = ("max_coverage", "max_rows")
_EXACT, _NEAR = LONGEST_PASSAGE.name, NV_LONGEST_PASSAGE.name
_OF_BOOKS = ("book", "rows", _EXACT, _NEAR, "coverage", "nv_coverage")
_WORDED = ("book", "near", "file", "quote")
_HEADS = {"near": "kind", "rows": "rows_with_passages", "start": "at_word"}
_OF_PASSAGES = ("words", "near", "book", "start", "file", "row", "quote")
_COUNTS = {
    "rows_with_passages": "with passages",
    "style_rows": "asking for an author's style from a summary",
}


def add_scan(commands: Commands) -> None:
    """Register `memleak scan`."""
    add_command(
        commands,
        "scan",
        _run_scan,
        "find passages of books in logs and training sets",
        "Find verbatim and near-verbatim passages of protected books in generations or "
        "training rows that exist already. Calls no model, and prints places and "
        "counts, no text. Exits with 1 if a limit is exceeded, and with 3 if a row or "
        "a file can't be read, whatever else is found.",
        arguments={
            "books "
            "BOOK+": "the protected books (.epub, .txt, ...), or catalog files of "
            "`memleak catalog build`",
            "--logs "
            "FILE+": "generations: batch output, chats, logs of evaluations, or the "
            "paper's format; .jsonl, .json, .eval, .csv, or .parquet, optionally "
            "compressed (.gz, .zst); a folder of these, or a quoted pattern",
            "--training "
            "FILE+": "training rows in these formats; their prompts are searched, too",
            "--common FILE+": "texts that anyone may quote",
            "--text "
            "PATH": "where each row's text is, in any format, as in /answer/text",
            "--prompt "
            "PATH": "with --text: the prompt of each row, whose words don't count",
            "--longest-passage "
            "N": "limit of a verbatim passage, in words (default: %(default)s)",
            "--nv-longest-passage N": "limit of a near-verbatim passage, in words "
            "(default: %(default)s)",
            "--max-coverage "
            "SHARE": "limit on the share of a book covered by verbatim, or by "
            "near-verbatim, passages",
            "--max-rows SHARE": "limit on the share of rows with a passage",
            "--state "
            "DIR": "keep the results of parts that were scanned in this folder; the "
            "same command goes on from there",
            "--jobs N": "the number of processes (default: one per core)",
            "--ray "
            "ADDRESS": "scan on the nodes of a Ray cluster, which share the files; "
            "auto: on the one of this machine, which is started if none runs",
            "--html "
            "FILE": "write a page: which books, how much of each, where, and when",
            "--sarif FILE": "write SARIF 2.1.0, for code scanning",
            "--customer "
            "NAME": "with --training: write the verdict on this customer's set to "
            "NAME.verdict.json, without names of books",
            "--quote": "print the passages themselves",
            "--json": "print JSON, with every passage, instead of a table",
            **WORD_MODE,
        },
        longest_passage={"default": PASSAGE_LIMIT},
        nv_longest_passage={"default": PASSAGE_LIMIT},
        max_coverage={"type": float},
        max_rows={"type": float},
        jobs={"default": 0},
    )


def _run_scan(parsed: argparse.Namespace) -> int:
    from pytest_memleak.library.library import Library
    from pytest_memleak.library.log_scan import LogScan
    from pytest_memleak.library.sharded_scan import ScanPlan, ShardScan
    from pytest_memleak.scoring.find_passages import LEAST_NEAR_VERBATIM_WORDS

    _validate_options(parsed)
    files = files_at([*parsed.logs, *parsed.training])
    outputs = ScanOutputs(parsed.html, parsed.sarif, parsed.customer)
    outputs.validate([*parsed.logs, *parsed.training], files)
    plan = ScanPlan.of(files)
    library = Library.of(
        parsed.books,
        Scoring(word_mode=parsed.word_mode),
        common=parsed.common,
    )
    # Passages that exceed no limit are listed from the length of near-verbatim ones.
    least = min(LEAST_NEAR_VERBATIM_WORDS, parsed.longest_passage + 1)
    near = max(parsed.nv_longest_passage, LEAST_NEAR_VERBATIM_WORDS - 1)
    library.validate_books_exceed(min(parsed.longest_passage, near))
    make = partial(
        LogScan,
        library,
        RowPaths(parsed.text, parsed.prompt),
        least=least,
        training=bool(parsed.training),
        quote=parsed.quote,
    )
    state = _scan_state_if_requested(parsed, least)
    result = _scan_files(parsed, plan, ShardScan(make, parsed.text), state)
    if not result.counts["texts"]:
        raise _no_text_error(plan, result)
    report = _scan_report(parsed, library, result)
    if parsed.json:
        print(json.dumps(report, indent=2))
    else:
        _print_report(report)
    code = int(bool(report["over"]))
    if report["unread_rows"] or report["unread_files"]:
        code = UNREAD
    write_scan_reports(outputs, report, code)
    return code


def _scan_state_if_requested(
    parsed: argparse.Namespace, least: int
) -> ScanState | None:
    from pytest_memleak.library.scan_state import ScanState, digest_of_settings

    if parsed.state is None:
        return None
    settings = digest_of_settings(
        parsed.books,
        parsed.common,
        word_mode=parsed.word_mode,
        text=parsed.text,
        prompt=parsed.prompt,
        least=least,
        training=bool(parsed.training),
        quote=parsed.quote,
    )
    return ScanState(parsed.state, settings)


def _scan_files(
    parsed: argparse.Namespace,
    plan: ScanPlan,
    work: ShardScan,
    state: ScanState | None,
) -> ScanResult:
    from rich.console import Console
    from rich.progress import Progress

    from pytest_memleak.library.ray_scan import scan_on_ray
    from pytest_memleak.library.sharded_scan import processes, scan_shards

    engine: Engine = processes(parsed.jobs or count_cores())
    if parsed.ray:
        engine = partial(scan_on_ray, address=parsed.ray)
    hidden = not sys.stderr.isatty()
    with Progress(
        console=Console(stderr=True),
        transient=True,
        disable=hidden,
    ) as bar:
        progress = partial(bar.advance, bar.add_task("Scanning", total=plan.size))
        return scan_shards(
            plan,
            work,
            engine=engine,
            state=state,
            progress=progress,
        )


def _no_text_error(plan: ScanPlan, result: ScanResult) -> RecordsError:
    """Return the error of a scan without a text: the first one, if there was any."""
    if result.unread:
        first = result.unread[0]
        return RecordsError(
            first["cause"], location=_file_and_row(first), hint=first["fix"]
        )
    files = dict.fromkeys(str(shard.path) for shard in plan.shards)
    return RecordsError(
        "no row has a text to search",
        location=", ".join(islice(files, _LISTED)),
        hint="name the place of the text in each row, as in --text /answer/text",
    )


def _file_and_row(unread: Row) -> str:
    """Return the file of what couldn't be read, and its row."""
    file = _shown(unread["file"])
    if unread["row"] is None:
        return file
    return f"{file}, {kind_of_rows(unread['file'])} {unread['row']}"


def _validate_options(parsed: argparse.Namespace) -> None:
    if parsed.customer is not None and not parsed.training:
        raise SettingsError(
            "--customer is for training sets",
            hint="name them with --training, or omit it",
        )
    either = "name either generations (--logs) or training rows"
    if parsed.logs and parsed.training:
        raise SettingsError(either, hint="omit one of them")
    if not (parsed.logs or parsed.training):
        raise SettingsError(either, hint="add --logs FILE or --training FILE")
    if parsed.ray and parsed.jobs:
        raise SettingsError(
            "--jobs is for this machine alone",
            hint="omit it with --ray: each core of the cluster gets a process",
        )
    if parsed.prompt is not None and parsed.text is None:
        raise SettingsError("--prompt needs --text", hint="add --text /path/in/row")
    for folder in (*parsed.logs, *parsed.training):
        if parsed.state and folder.resolve() in parsed.state.resolve().parents:
            raise SettingsError(
                "this folder of results is in a folder that is scanned",
                location=str(parsed.state),
                hint="name another folder with --state",
            )
    for name in ("jobs", _EXACT, _NEAR):
        _validate_range(parsed, name, "at least 0", math.inf)
    for name in _SHARES:
        _validate_range(parsed, name, "from 0 to 1", 1)


def _validate_range(
    parsed: argparse.Namespace,
    name: str,
    wanted: str,
    most: float,
) -> None:
    number = vars(parsed)[name]
    if number is not None and not 0 <= number <= most:
        option = f"--{name.replace('_', '-')}"
        raise SettingsError(f"{option} must be {wanted}, not {number}", hint="omit it")


def _scan_report(
    parsed: argparse.Namespace,
    library: Library,
    result: ScanResult,
) -> Row:
    """Return the result as plain values: books with passages, the longest first."""
    by_book: dict[str, list[Row]] = defaultdict(list)
    for passage in result.passages:
        by_book[passage["book"]].append(passage)
    books: list[Row] = []
    for book, passages in by_book.items():
        row = {
            "book": book,
            "words": library.sizes[book],
            "rows": _count_rows(passages),
            _EXACT: _words_of_longest(passages, near=False),
            _NEAR: _words_of_longest(passages, near=True),
            "coverage": result.coverage(library, book, near=False),
            "nv_coverage": result.coverage(library, book, near=True),
        }
        books.append(row)
    limits = {
        _EXACT: parsed.longest_passage,
        _NEAR: parsed.nv_longest_passage,
        "coverage": parsed.max_coverage,
        "nv_coverage": parsed.max_coverage,
        "rows": parsed.max_rows,
    }
    with_passages = _count_rows(result.passages)
    values = {}
    over = []
    for name, most in limits.items():
        if name == "rows":
            value = with_passages / result.counts["rows"]
        else:
            value = max((book[name] for book in books), default=0)
        values[name] = value
        if most is not None and value > most:
            over.append(name)
    longest_first = sorted(books, key=itemgetter(_EXACT, _NEAR), reverse=True)
    return {
        **result.counts,
        "rows_with_passages": with_passages,
        "values": values,
        "limits": limits,
        "over": over,
        "books": longest_first,
        "passages": result.passages,
        "unread_rows": result.counts["unread_rows"],
        "unread_files": _count_files(result.unread),
        "unread": result.unread,
    }


def _count_files(unread: Iterable[Row]) -> int:
    """Count the files that couldn't be read to their end."""
    return len({place["file"] for place in unread if place["row"] is None})


def _count_rows(passages: Iterable[Row]) -> int:
    rows = {(passage["file"], passage["row"]) for passage in passages}
    return len(rows)


def _words_of_longest(passages: Iterable[Row], *, near: bool) -> int:
    of_kind = [row for row in passages if bool(row["near"]) is near]
    return max((row["words"] for row in of_kind), default=0)


def _print_report(report: Row) -> None:
    """Print books, the longest passage of each text and book, and exceeded limits."""
    passages = sorted(report["passages"], key=itemgetter("words"), reverse=True)
    longest: dict[tuple[object, ...], Row] = {}
    for row in passages:
        text_and_book = (row["file"], row["row"], row["text"], row["book"])
        longest.setdefault(text_and_book, row)
    listed = list(longest.values())[:_LISTED]
    _print_rows(report["books"], _OF_BOOKS)
    _print_rows(listed, _OF_PASSAGES)
    further = len(longest) - _LISTED
    if further > 0:
        print(f"{amount(further, 'more text')} with passages: add --json\n")
    rows = amount(report["rows"], "row")
    for name, text in _COUNTS.items():
        if name in report:
            share = report[name] / report["rows"]
            print(f"{report[name]:,} of {rows} {text} ({share:.1%})")
    for name in report["over"]:
        value = _shown(report["values"][name])
        limit = _shown(report["limits"][name])
        print(f"{name} {value} exceeds the limit {limit}")
    if report["unread"]:
        _print_unread(report)
    elif not report["over"]:
        print("No limit is exceeded.")


def _print_unread(report: Row) -> None:
    """Print what couldn't be read, and that the result isn't clean."""
    print()
    unread = report["unread"]
    for place in unread[:_LISTED]:
        print_sentence(f"{_file_and_row(place)}: {place['cause']}", indent=2)
        if place["fix"]:
            print(f"  {place['fix']}")
    further = report["unread_rows"] + report["unread_files"] - _LISTED
    if further > 0:
        print(f"{amount(further, 'more place')} that can't be read: add --json")
    rows = amount(report["unread_rows"], "row")
    files = amount(report["unread_files"], "file")
    print(f"Incomplete: {rows} and {files} can't be read, so no result is clean.")


def _print_rows(rows: Sequence[Row], columns: Iterable[str]) -> None:
    if not rows:
        return
    shown = [name for name in columns if name in rows[0]]
    cells = [_cells_of_row(row, shown) for row in rows]
    heads = [_HEADS.get(name, name) for name in shown]
    right = [_HEADS.get(name, name) for name in shown if name not in _WORDED]
    print_table(heads, cells, right=right)
    print()


def _cells_of_row(row: Row, columns: Iterable[str]) -> list[str]:
    return [_shown(row[name]) for name in columns]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "near-verbatim" if value else "verbatim"
    if isinstance(value, float):
        return f"{value:.1%}"
    if isinstance(value, int):
        return f"{value:,}"
    return escaped(str(value)).replace("\n", "\\n")
