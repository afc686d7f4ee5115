"""`memleak prepare`: a book's excerpts in the paper's format."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.book_review import approved_words_line, print_book
from pytest_memleak.cli.shared_options import (
    ENCODING,
    REPEATED,
    WORD_MODE,
    add_command,
    validate_output,
)
from pytest_memleak.cli.terminal_output import print_table
from pytest_memleak.errors import (
    BookError,
    RecordsError,
    SettingsError,
    file_errors,
)
from pytest_memleak.records import CollectionSource, Scoring
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.interfaces.protocols import Manuscript
    from pytest_memleak.records import Book, BookPart


def add_prepare(commands: Commands) -> None:
    """Register `memleak prepare`."""
    add_command(
        commands,
        "prepare",
        _run_prepare,
        "show what is read of a book; cut it into excerpts",
        "Show on one screen what is read as a book's chapters, what is left out, and "
        "why; cut a book or the works of a collection into excerpts of at most 500 "
        "words, and write them in the paper's format.",
        arguments={
            "book BOOK.epub": "the book (.epub, .txt, ...), or a collection's file or "
            "quoted pattern",
            "--collection": "read many works: the files of a pattern such as "
            "'songs/**', the sections of a file, or the rows of a .jsonl",
            "--unit": "for collections: where excerpts may end; line keeps lines whole "
            "(default: sentence)",
            "-o/--output BOOK.json": "the file of excerpts (default: none is written)",
            "--explain": "list each document of the book, its words, and the rule that "
            "includes or excludes it, instead of the screen",
            "--include "
            "NAME": "read this document in full; * and ? are wildcards; repeatable",
            "--exclude NAME": "skip this document; * and ? are wildcards; repeatable",
            "--author AUTHOR": "the author (default: from the book's metadata)",
            "--title TITLE": "the title (default: from the book's metadata)",
            "--summaries "
            "FILE": "a file with a summary of each excerpt, for the instructions",
            **ENCODING,
            **WORD_MODE,
        },
        unit={"choices": ("sentence", "line")},
        include=REPEATED,
        exclude=REPEATED,
    )


def _run_prepare(parsed: argparse.Namespace) -> int:
    from pytest_memleak.books.build_book import with_icu_version
    from pytest_memleak.scoring.book_layout import measurable_words

    if parsed.output is not None:
        validate_output(parsed.output, (parsed.book, parsed.summaries))
        _validate_overwrites_only_excerpts(parsed.output)
    manuscript = None if parsed.collection else _read_manuscript(parsed)
    book = (
        _book_of_works(parsed)
        if manuscript is None
        else _book_from_manuscript(parsed, manuscript)
    )
    if parsed.explain:
        _print_documents(book.parts)
    # Raises BookError for a book that no gate could measure.
    measurable_words(book, Scoring(word_mode=parsed.word_mode))
    book = with_icu_version(book, mode=parsed.word_mode)
    for warning in book.warnings:
        print(f"memleak prepare: warning: {inert(warning)}", file=sys.stderr)
    if parsed.output is not None:
        _write_book(book, parsed)
    if not parsed.explain:
        print_book(manuscript or book, book, parsed.word_mode)
        print(approved_words_line(book))
    return 0


def _validate_overwrites_only_excerpts(output: Path) -> None:
    """Raise SettingsError if the output exists and isn't a file of excerpts."""
    from pytest_memleak.formats.paper_format import book_from_records, load_records

    if not output.exists():
        return
    if output.is_dir():
        raise SettingsError(
            "is a folder",
            location=str(output),
            hint="name a file in it",
        )
    try:
        book_from_records(load_records(output))
    except RecordsError:
        raise SettingsError(
            "this file exists and isn't a file of excerpts",
            location=str(output),
            hint="name a different file with -o, or delete it",
        ) from None


def _read_manuscript(parsed: argparse.Namespace) -> Manuscript:
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.interfaces.protocols import Manuscript

    if parsed.unit:
        raise SettingsError(
            "--unit needs --collection",
            hint="add --collection, or omit --unit",
        )
    read = Extensions().read_book(
        parsed.book,
        include=parsed.include,
        exclude=parsed.exclude,
        encoding=parsed.encoding,
    )
    if not isinstance(read, Manuscript):
        raise BookError(
            "this file already contains excerpts",
            location=str(parsed.book),
            hint="use it as is: set source = ... in a suite. For works in rows, add "
            "--collection",
        )
    return read


def _book_from_manuscript(parsed: argparse.Namespace, manuscript: Manuscript) -> Book:
    from pytest_memleak.books.build_book import make_book

    return make_book(str(parsed.book), manuscript, **_book_facts_and_mode(parsed))


def _book_of_works(parsed: argparse.Namespace) -> Book:
    from pytest_memleak.books.works import make_collection, read_works
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.suite.book_sources import matching_visible_files

    if parsed.include or parsed.exclude:
        raise SettingsError(
            "--include and --exclude name documents of one EPUB, not of a collection",
            hint="omit them; the pattern selects the works",
        )
    pattern = str(parsed.book)
    files = matching_visible_files(Path(), pattern, "BOOK", place=pattern)
    if not files:
        hint = "quote the pattern, as in 'songs/**'"
        raise BookError("no file matches", location=pattern, hint=hint)
    source = CollectionSource(
        tuple(files),
        files == [parsed.book],
        parsed.unit or "sentence",
    )
    return make_collection(
        pattern,
        read_works(source, Extensions().read_book, encoding=parsed.encoding),
        k=Scoring().k,
        in_lines=source.unit == "line",
        **_book_facts_and_mode(parsed),
    )


def _book_facts_and_mode(parsed: argparse.Namespace) -> dict[str, Any]:
    names = ("title", "author", "summaries")
    return {name: getattr(parsed, name) for name in names} | {"mode": parsed.word_mode}


def _write_book(book: Book, parsed: argparse.Namespace) -> None:
    from pytest_memleak.books.build_book import paper_records
    from pytest_memleak.books.instructions import load_summaries
    from pytest_memleak.scoring.words import words

    summaries = None
    if parsed.summaries:
        summaries = load_summaries(parsed.summaries, book.excerpts)
    records = paper_records(book, summaries=summaries, mode=parsed.word_mode)
    text = json.dumps(records, ensure_ascii=False, indent=1) + "\n"
    with file_errors(SettingsError, parsed.output, "can't be written"):
        # A lone surrogate becomes \udc80, as JSON writes it.
        write_whole(parsed.output, text, errors="backslashreplace")
    mode = parsed.word_mode
    total = sum(len(words(excerpt.text, mode)) for excerpt in book.excerpts)
    counts = f"{amount(len(records), 'excerpt')}, {total:,} words"
    if book.works:
        counts = f"{amount(len(book.works), 'work')}, {counts}"
    print(f"{counts} -> {parsed.output}")
    excluded = sum(len(words(text.text, parsed.word_mode)) for text in book.excluded)
    if excluded:
        print(
            f"memleak prepare: warning: this file omits {amount(excluded, 'word')} of "
            "excluded text; to have a suite search that text, too, set source to "
            f"{parsed.book} instead of this file",
            file=sys.stderr,
        )
    if summaries is None:
        print(
            "memleak prepare: warning: without summaries, the excerpts have no "
            "instructions: add "
            "--summaries or, in the suite file, [suite.summarizer] or probe = "
            '"continuation"',
            file=sys.stderr,
        )


def _print_documents(parts: Iterable[BookPart]) -> None:
    from pytest_memleak.reports.book_text import document_lines

    parts = tuple(parts)
    if not parts:
        print("this format has no separate documents")
        return
    numbers = ("words", "matter", "notes", "headings")
    heads = ("document", "label", "read", *numbers, "rule")
    print_table(heads, [_document_row(part) for part in parts], right=numbers)
    for line in document_lines(parts):
        print(line)


def _document_row(part: BookPart) -> tuple[object, ...]:
    return (
        part.name,
        part.label or "-",
        "text" if part.kept else "excluded",
        part.words,
        part.matter,
        part.notes,
        part.headings,
        part.rule,
    )
