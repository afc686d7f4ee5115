"""`memleak prepare`: a book cut into excerpts, and what its reader made of each document."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records import Book, BookPart


def add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak prepare`."""
    prepare = commands.add_parser(
        "prepare",
        help="cut a book into excerpts",
        description="Cut a book, or the works of a collection, into excerpts of at most 500 "
        "words, in the paper's format.",
    )
    prepare.add_argument(
        "book",
        metavar="BOOK.epub",
        type=Path,
        help="the book (.epub, .txt, ...); of a collection its file, or a quoted pattern",
    )
    prepare.add_argument(
        "--collection",
        action="store_true",
        help="many works: each file of a pattern such as 'songs/**', each heading of one file, "
        "or each row of .jsonl",
    )
    prepare.add_argument(
        "--unit",
        choices=("sentence", "line"),
        help="of a collection: line keeps lines as they are, and parts none",
    )
    prepare.add_argument(
        "-o",
        "--output",
        metavar="BOOK.json",
        type=Path,
        help="where to write it; may be left out with --explain",
    )
    prepare.add_argument(
        "--explain",
        action="store_true",
        help="list each document of the book: whether it is read, by which rule, its words",
    )
    prepare.add_argument(
        "--include",
        metavar="NAME",
        action="append",
        default=[],
        help="read this document of an EPUB whole; * and ? stand for any letters",
    )
    prepare.add_argument(
        "--exclude", metavar="NAME", action="append", default=[], help="do not read this one"
    )
    prepare.add_argument("--author", help="default: what the book says of itself")
    prepare.add_argument("--title", help="default: what the book says of itself")
    prepare.add_argument(
        "--summaries",
        metavar="FILE",
        type=Path,
        help="a file with a summary per excerpt, for the instructions",
    )
    prepare.add_argument(
        "--word-mode", choices=("paper", "unicode"), default="paper", help="what counts as a word"
    )
    prepare.set_defaults(run=_prepare)


def _prepare(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import SettingsError
    from pytest_memleak.records import Scoring
    from pytest_memleak.redaction.text import inert
    from pytest_memleak.scoring.index import measurable_words

    if parsed.output is None and not parsed.explain:
        raise SettingsError(
            "nothing says where to write the excerpts",
            hint="give -o BOOK.json, or --explain to see what becomes of the book",
        )
    if parsed.output is not None:
        _refuse_overwriting(parsed.output, (parsed.book, parsed.summaries))
    book = _works(parsed) if parsed.collection else _book(parsed)
    # What no gate could measure is not worth preparing.
    measurable_words(book, Scoring(word_mode=parsed.word_mode))
    for warning in book.warnings:
        print(f"memleak prepare: warning: {inert(warning)}", file=sys.stderr)
    if parsed.output is not None:
        _write(book, parsed)
    return 0


def _book(parsed: argparse.Namespace) -> Book:
    from pytest_memleak.books.build_book import make_book
    from pytest_memleak.errors import BookError, SettingsError
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.interfaces.protocols import Manuscript

    if parsed.unit:
        raise SettingsError("--unit is of a collection", hint="add --collection, or leave it out")
    read = Extensions().read_book(parsed.book, include=parsed.include, exclude=parsed.exclude)
    if not isinstance(read, Manuscript):
        raise BookError(
            "it is cut into excerpts already",
            location=str(parsed.book),
            hint="a suite takes it as it is: source = ...; works in rows need --collection",
        )
    if parsed.explain:
        _print_documents(read.parts)
    return make_book(
        str(parsed.book),
        read,
        title=parsed.title,
        author=parsed.author,
        summaries=parsed.summaries,
        mode=parsed.word_mode,
    )


def _works(parsed: argparse.Namespace) -> Book:
    from pytest_memleak.books.works import make_collection, read_works
    from pytest_memleak.errors import BookError, SettingsError
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.records import CollectionSource, Scoring
    from pytest_memleak.suite.book_sources import collection_files

    if parsed.include or parsed.exclude:
        raise SettingsError(
            "--include and --exclude name documents of one EPUB, and this is a collection",
            hint="leave them out; a pattern says which files are works",
        )
    written = str(parsed.book)
    files, together = collection_files(Path(), written, "BOOK", written)
    if not files:
        raise BookError(
            "no file matches", location=written, hint="quote the pattern, as in 'songs/**'"
        )
    source = CollectionSource(files, together, parsed.unit or "sentence")
    book = make_collection(
        written,
        read_works(source, Extensions().read_book),
        k=Scoring().k,
        title=parsed.title,
        author=parsed.author,
        in_lines=source.unit == "line",
        summaries=parsed.summaries,
        mode=parsed.word_mode,
    )
    if parsed.explain:
        _print_documents(book.parts)
    return book


def _write(book: Book, parsed: argparse.Namespace) -> None:
    from pytest_memleak.books.build_book import paper_records
    from pytest_memleak.books.summary_files import load_summaries
    from pytest_memleak.errors import BookError
    from pytest_memleak.records.number_format import amount
    from pytest_memleak.redaction.atomic_write import write_whole

    summaries = load_summaries(parsed.summaries, book.excerpts) if parsed.summaries else None
    records = paper_records(book, summaries=summaries, mode=parsed.word_mode)
    try:
        # A lone surrogate becomes \udc80, which is how JSON writes it.
        write_whole(
            parsed.output,
            json.dumps(records, ensure_ascii=False, indent=1) + "\n",
            errors="backslashreplace",
        )
    except OSError as error:
        raise BookError(
            f"cannot be written: {error.strerror or error}", location=str(parsed.output)
        ) from None
    total = sum(int(record["word_count"]) for record in records)
    works = f"{amount(len(book.works), 'work')}, " if book.works else ""
    print(f"{works}{amount(len(records), 'excerpt')}, {total:,} words -> {parsed.output}")
    if summaries is None:
        print(
            "memleak prepare: warning: they have no instructions, since there are no summaries: "
            'give --summaries; or, in the suite file, [suite.summarizer] or probe = "continuation"',
            file=sys.stderr,
        )


def _print_documents(parts: Iterable[BookPart]) -> None:
    from pytest_memleak.cli.columns import print_table
    from pytest_memleak.reports.report_text import document_lines

    parts = tuple(parts)
    if not parts:
        print("its reader tells of no documents")
        return
    head = ("document", "label", "read", "words", "matter", "notes", "headings", "rule")
    rows = [
        (
            one.name,
            one.label or "-",
            "text" if one.kept else "left out",
            *(f"{count:,}" for count in (one.words, one.matter, one.notes, one.headings)),
            one.rule,
        )
        for one in parts
    ]
    print_table(head, rows, right=head[3:7])
    for line in document_lines(parts):
        print(line)


def _refuse_overwriting(output: Path, read: Iterable[Path | None]) -> None:
    from pytest_memleak.errors import BookError

    for path in read:
        with contextlib.suppress(OSError):  # one of them is not there, which is as well
            if path is not None and output.samefile(path):
                raise BookError(
                    "it would be overwritten by its own excerpts",
                    location=str(path),
                    hint="give another file with --output",
                )
