"""The command `memleak`: first steps, measure files, prepare books, look into ledgers.

Exit codes: 0 done, 1 where `verify` found a difference or no PASS, `doctor` something to mend or
a gate did not pass (`demo`, `try`), 2 for anything that must be mended first (said in one plain
error), 130 after Ctrl-C. Nothing heavy is imported before a subcommand needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak import __version__
from pytest_memleak.cli.arguments import Parser, add_scoring_options
from pytest_memleak.cli.cmd_catalogue import add_catalogue
from pytest_memleak.cli.cmd_compare import add_compare, add_cross
from pytest_memleak.cli.cmd_demo import add_demo
from pytest_memleak.cli.cmd_doctor import add_doctor
from pytest_memleak.cli.cmd_init import add_init
from pytest_memleak.cli.cmd_ledger import add_ledger
from pytest_memleak.cli.cmd_power import add_power
from pytest_memleak.cli.cmd_prepare import add_prepare
from pytest_memleak.cli.cmd_table import add_table
from pytest_memleak.cli.cmd_try import add_try
from pytest_memleak.cli.cmd_verify import add_verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import Block, Book, Generation, Measurement

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parsed = _parser().parse_args(arguments)
    from pytest_memleak.errors import MemleakError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal has every letter
    try:
        status = int(parsed.run(parsed))
        if sys.stdout is not None:
            sys.stdout.flush()  # at exit it would be too late to tell that it failed
    except MemleakError as error:
        error.hint = error.hint or f"memleak {parsed.command} --help says what it takes"
        _complain(parsed.command, str(error))
    except BrokenPipeError:
        _drop_output()  # the reader has gone: nothing more to say
        return 0
    except OSError as error:
        _drop_output()
        place = error.filename or "standard output"
        _complain(parsed.command, f"{place}: {error.strerror or error}")
    except MemoryError:
        _complain(parsed.command, "there is not enough memory for what it was given")
    except KeyboardInterrupt:
        return INTERRUPTED
    else:
        return status
    return USAGE_ERROR


def _complain(command: str, text: str) -> None:
    """Write an error or a warning to stderr; file names and ids in it may hold anything."""
    for number, line in enumerate(text.splitlines()):
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        print(shown if number else f"memleak {command}: {shown}", file=sys.stderr)


def _drop_output() -> None:
    """Let what is still to be written go nowhere, so that the interpreter's exit is quiet."""
    with contextlib.suppress(OSError, ValueError):  # a stand-in for stdout may have no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="memleak", description="Measure how much of a book a language model recites."
    )
    parser.add_argument("--version", action="version", version=f"memleak {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_demo(commands)
    add_try(commands)
    add_init(commands)
    add_doctor(commands)
    _add_score(commands)
    add_prepare(commands)
    add_catalogue(commands)
    add_power(commands)
    add_ledger(commands)
    add_verify(commands)
    add_compare(commands)
    add_cross(commands)
    add_table(commands)
    return parser


# --- memleak score -------------------------------------------------------------------------


def _add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    score = commands.add_parser(
        "score",
        help="measure generations against a book",
        description="Measure generations against a book, both in the paper's format.",
    )
    score.add_argument("book", metavar="BOOK.json", type=Path, help="excerpts of the book")
    score.add_argument(
        "generations", metavar="GENERATIONS.json", type=Path, help="generations (.json or .jsonl)"
    )
    add_scoring_options(score)
    score.set_defaults(run=_score)


def _score(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import RecordsError
    from pytest_memleak.records.paper_format import (
        book_from_records,
        generations_from_records,
        load_records,
        with_instructions_asked,
    )
    from pytest_memleak.scoring import score

    book_file = str(parsed.book)
    book = book_from_records(_excerpts(parsed.book), book_id=book_file, place=book_file)
    records = load_records(parsed.generations)
    generations = generations_from_records(records, place=str(parsed.generations))
    if not records:
        raise RecordsError("there are no records", place=str(parsed.generations))
    if not generations:
        _complain("score", f"warning: {parsed.generations}: there are no generations in it")
    _refuse_strangers(book, generations, parsed.generations)
    measured = score(
        with_instructions_asked(book, records),
        generations,
        k=parsed.k,
        trim=parsed.trim,
        span_threshold=parsed.span_threshold,
        words=parsed.words,
    )
    print(json.dumps(_as_json(measured), indent=2) if parsed.json else _as_table(measured))
    return 0


def _excerpts(path: Path) -> list[object]:
    from pytest_memleak.errors import RecordsError
    from pytest_memleak.records.paper_format import load_records

    try:
        return load_records(path)
    except RecordsError as error:
        if path.suffix.lower() in {".epub", ".txt"}:
            error.hint = f"to make BOOK.json of a book: memleak prepare {path.name} -o BOOK.json"
        raise


def _refuse_strangers(book: Book, generations: Iterable[Generation], path: Path) -> None:
    from pytest_memleak.errors import RecordsError

    strangers = {one.excerpt_id for one in generations} - {one.id for one in book.excerpts}
    if strangers:
        raise RecordsError(
            f"there is no excerpt {min(strangers)!r} in {book.id}",
            place=str(path),
            hint="score generations against the book they were prompted with",
        )


def _as_json(measured: Measurement) -> dict[str, object]:
    block, span = measured.longest_block, measured.longest_span
    return {
        "words": measured.words,
        "k": measured.k,
        "trim": measured.trim,
        "span_threshold": measured.span_threshold,
        "bmc": measured.bmc,
        "longest_block": {"words": block.words, "start": block.start, "end": block.end},
        "longest_span": {
            "words": span.words,
            "excerpt_id": span.excerpt_id,
            "generation": span.generation,
            "start": span.start,
            "end": span.end,
        },
        "spans_over": measured.spans_over,
    }


def _as_table(measured: Measurement) -> str:
    from pytest_memleak.redaction.text import inert

    block, span = measured.longest_block, measured.longest_span
    source = f"{inert(span.excerpt_id or '')}, generation {span.generation}" if span else ""
    rows = [
        ("words", f"{measured.words:,}", ""),
        (f"BMC@{measured.k}", f"{measured.bmc:.4f}", ""),
        ("longest block", f"{block.words:,}", _at(block)),
        ("longest span", f"{span.words:,}", ", ".join(filter(None, (_at(span), source)))),
        (f"spans over {measured.span_threshold}", f"{measured.spans_over:,}", ""),
    ]
    return "\n".join(f"{name:<16}{value:>10}   {place}".rstrip() for name, value, place in rows)


def _at(run: Block) -> str:
    return "" if run.start is None else f"words {run.start:,}-{run.end:,}"
