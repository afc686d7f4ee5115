"""`memleak scan`: passages of protected books in logs and training sets."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.columns import print_table
from pytest_memleak.cli.shared_options import WORD_MODE, add_command
from pytest_memleak.errors import RecordsError, SettingsError
from pytest_memleak.parallel import count_cores
from pytest_memleak.records import Scoring
from pytest_memleak.records.log_files import RowPaths, reader_of
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE, PASSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.library.library import Library
    from pytest_memleak.library.log_scan import LoggedPassage, ScanResult

Row = dict[str, Any]

_LISTED = 20


def add_scan(commands: Commands) -> None:
    """Register `memleak scan`."""
    add_command(
        commands,
        "scan",
        _scan,
        "find passages of books in logs and training sets",
        "Find verbatim and near-verbatim passages of protected books in generations or training "
        "rows that exist already. Calls no model, and prints places and counts, no text. Exits "
        "with 1 if a limit is exceeded.",
        arguments={
            "books BOOK": "the protected books (.epub, .txt, ...), or catalog files of `memleak "
            "catalog build`",
            "--logs FILE": "generations: OpenAI or Vertex AI batch output, chats (messages or "
            "contents), logs of inspect_ai, samples of lm-eval, results of promptfoo, or the "
            "paper's format; .jsonl, .json, .eval, .csv, or .parquet, perhaps with .gz or .zst",
            "--training FILE": "training rows in the same formats; their prompts are searched, too",
            "--common FILE": "texts that anyone may quote",
            "--text PATH": "read this text of each row, in any format: /answer/text",
            "--prompt PATH": "with --text: the prompt of each row, whose words don't count",
            "--longest-passage N": "limit of a verbatim passage, in words (default: %(default)s)",
            "--nv-longest-passage N": "limit of a near-verbatim passage, in words "
            "(default: %(default)s)",
            "--max-coverage SHARE": "limit of the share of a book that passages of one kind cover",
            "--max-rows SHARE": "limit of the share of rows with a passage",
            "--jobs N": "the number of processes (default: one per core)",
            "--quote": "print the passages themselves",
            "--json": "print JSON, with every passage, instead of a table",
            **WORD_MODE,
        },
        books={"nargs": "+"},
        logs={"nargs": "+", "default": []},
        training={"nargs": "+", "default": []},
        common={"nargs": "+", "default": []},
        text={"type": str},
        prompt={"type": str},
        longest_passage={"default": PASSAGE_LIMIT},
        nv_longest_passage={"default": PASSAGE_LIMIT},
        max_coverage={"type": _parse_share},
        max_rows={"type": _parse_share},
    )


def _scan(parsed: argparse.Namespace) -> int:
    from pytest_memleak.library.library import Library
    from pytest_memleak.library.log_scan import scan_logs
    from pytest_memleak.scoring.text_passages import NEAR_PASSAGE

    _validate(parsed)
    paths = [*parsed.logs, *parsed.training]
    library = Library.of(parsed.books, Scoring(word_mode=parsed.word_mode), common=parsed.common)
    with _progress(sum(path.stat().st_size for path in paths)) as progress:
        result = scan_logs(
            library,
            paths,
            RowPaths(parsed.text, parsed.prompt),
            jobs=parsed.jobs or count_cores(),
            progress=progress,
            # Passages that exceed no limit are listed from the length of near-verbatim ones.
            least=min(NEAR_PASSAGE, parsed.longest_passage + 1),
            training=bool(parsed.training),
            quote=parsed.quote,
        )
    if not result.texts:
        raise RecordsError(
            "no row has a text to search",
            location=", ".join(map(str, paths)),
            hint="name the place of the text in each row, as in --text /answer/text",
        )
    report = _report(parsed, library, result)
    if parsed.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return int(bool(report["over"]))


def _validate(parsed: argparse.Namespace) -> None:
    if bool(parsed.logs) == bool(parsed.training):
        hint = "omit one of them" if parsed.logs else "add --logs FILE or --training FILE"
        raise SettingsError("name either generations (--logs) or training rows", hint=hint)
    if parsed.prompt is not None and parsed.text is None:
        raise SettingsError("--prompt needs --text", hint="add --text /path/in/row")
    if parsed.jobs is not None and parsed.jobs < 1:
        raise SettingsError(f"--jobs must be at least 1, not {parsed.jobs}", hint="omit --jobs")
    for limit in (parsed.longest_passage, parsed.nv_longest_passage):
        if limit < 0:
            raise SettingsError(f"a limit must be at least 0, not {limit}", hint="omit it")
    _validate_files([*parsed.logs, *parsed.training])


def _validate_files(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            raise RecordsError("is a folder", location=str(path), hint="name its files")
        reader_of(path)
        if not path.is_file():
            raise RecordsError(os.strerror(errno.ENOENT), location=str(path))
    for path, times in Counter(map(Path.resolve, paths)).items():
        if times > 1:
            raise SettingsError(
                "named twice, so its rows would count twice",
                location=str(path),
                hint="name each file once",
            )


def _parse_share(value: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(value) <= 1:
            return float(value)
    raise argparse.ArgumentTypeError(f"expected a share such as 0.05, not {value!r}")


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal; it gets the number of bytes read each time."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Scanning", total=total)
        yield lambda read: bar.advance(task, read)


def _report(parsed: argparse.Namespace, library: Library, result: ScanResult) -> Row:
    """Return the result as plain values: books with passages, the longest first."""
    exact, near = LONGEST_PASSAGE.name, NV_LONGEST_PASSAGE.name
    passages = list(map(_passage_row, result.passages))
    by_book: dict[str, list[Row]] = defaultdict(list)
    for passage in passages:
        by_book[passage["book"]].append(passage)
    books: list[Row] = [
        {
            "book": book,
            "words": library.sizes[book],
            "rows": _rows(rows),
            exact: max((row["words"] for row in rows if not row["near"]), default=0),
            near: max((row["words"] for row in rows if row["near"]), default=0),
            "coverage": result.coverage(library, book, near=False),
            "nv_coverage": result.coverage(library, book, near=True),
        }
        for book, rows in by_book.items()
    ]
    books.sort(key=lambda book: (-book[exact], -book[near]))
    limits = {
        exact: parsed.longest_passage,
        near: parsed.nv_longest_passage,
        "coverage": parsed.max_coverage,
        "nv_coverage": parsed.max_coverage,
        "rows": parsed.max_rows,
    }
    values = {name: max((book[name] for book in books), default=0) for name in limits}
    values["rows"] = _rows(passages) / result.rows
    over = [name for name, limit in limits.items() if limit is not None and values[name] > limit]
    report: Row = {
        "rows": result.rows,
        "texts": result.texts,
        "rows_with_passages": _rows(passages),
    }
    report |= {"style_rows": result.style_rows} if parsed.training else {}
    report |= {"values": values, "limits": limits, "over": over}
    return report | {"books": books, "passages": passages}


def _passage_row(logged: LoggedPassage) -> Row:
    row = dataclasses.asdict(logged.passage)
    row |= {"file": logged.file, "row": logged.row, "text": logged.text}
    return row if logged.quote is None else row | {"quote": logged.quote}


def _rows(passages: Iterable[Row]) -> int:
    return len({(passage["file"], passage["row"]) for passage in passages})


def _print(report: Row) -> None:
    """Print the books, the longest passages, and which limits are exceeded."""
    if report["books"]:
        head = [name for name in report["books"][0] if name != "words"]
        cells = [
            [book["book"], *(_shown(book[name]) for name in head[1:])] for book in report["books"]
        ]
        print_table(head, cells, right=head[1:])
        print()
        longest = _longest_of_texts(report["passages"])
        head = ["words", "match", "book", "at word", "file", "row"]
        head += ["quote"] * ("quote" in longest[0])
        print_table(head, map(_line, longest[:_LISTED]), right=("words", "at word", "row"))
        if len(longest) > _LISTED:
            print(f"{amount(len(longest) - _LISTED, 'more text')} with passages: add --json")
        print()
    rows = report["rows"]
    counts = [("rows_with_passages", "with passages")]
    counts += [("style_rows", "asking for an author's style from a summary")]
    for name, kind in counts:
        if name in report:
            share = report[name] / rows
            print(f"{report[name]:,} of {amount(rows, 'row')} {kind} ({share:.1%})")
    for name in report["over"]:
        value, limit = (_shown(report[key][name]) for key in ("values", "limits"))
        print(f"{name} {value} exceeds the limit {limit}")
    if not report["over"]:
        print("No limit is exceeded.")


def _longest_of_texts(passages: Iterable[Row]) -> list[Row]:
    """Return the longest passage of each text and book, longest first."""
    longest: dict[tuple[object, ...], Row] = {}
    for row in passages:
        key = row["file"], row["row"], row["text"], row["book"]
        if key not in longest or row["words"] > longest[key]["words"]:
            longest[key] = row
    return sorted(longest.values(), key=lambda row: -int(row["words"]))


def _shown(value: float) -> str:
    return f"{value:.1%}" if isinstance(value, float) else f"{value:,}"


def _line(row: Row) -> list[object]:
    match = "near-verbatim" if row["near"] else "verbatim"
    quote = [row["quote"]] if "quote" in row else []
    return [row["words"], match, row["book"], row["start"], row["file"], row["row"], *quote]
