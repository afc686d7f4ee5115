"""`memleak catalog build`: the books of a folder as word hashes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.shared_options import WORD_MODE, add_command
from pytest_memleak.errors import BookError, MemleakError
from pytest_memleak.records import Scoring
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.scoring.word_hashes import BookKeys

_NO_BOOKS = frozenset(
    (
        "authors",
        "changelog",
        "contributing",
        "copying",
        "copyright",
        "credits",
        "index",
        "licence",
        "license",
        "notice",
        "readme",
        "requirements",
        "robots",
        "todo",
    ),
)
"""Names of files that lie beside books in a folder."""


def add_catalog(commands: Commands) -> None:
    """Register `memleak catalog build`."""
    catalog = commands.add_parser(
        "catalog",
        help="prepare a catalog of works to scan generations for, without prompting "
        "for them",
        description="Prepare the protected works that a suite's [[catalog]] names.",
    )
    add_command(
        catalog.add_subparsers(
            dest="action",
            required=True,
            metavar="ACTION",
        ),
        "build",
        _build_catalog,
        "write the word hashes of a folder's books to a file",
        "Write the word hashes of all books in a folder and its subfolders to one "
        "file, for a suite's [[catalog]]. Runs then don't parse these books. The file "
        "contains no text.",
        arguments={
            "folder DIR": "the folder of books",
            "-o/--output FILE": "the catalog file",
            **WORD_MODE,
        },
        output={"required": True},
    )


def _build_catalog(parsed: argparse.Namespace) -> int:
    from pytest_memleak.books.catalog_file import is_catalog_file, write_catalog

    folder, output = parsed.folder, parsed.output
    if not folder.is_dir():
        raise BookError(
            "no such folder",
            location=str(folder),
            hint="name the folder of the books",
        )
    if output.exists() and not is_catalog_file(output):
        raise BookError(
            "this file exists and isn't a catalog",
            location=str(output),
            hint="name a different file with --output, or delete it",
        )
    books = write_catalog(output, _catalog_books(parsed), mode=parsed.word_mode)
    if not books:
        output.unlink()
        raise BookError("this folder contains no measurable book", location=str(folder))
    words = sum(book.words for book in books)
    print(f"{amount(len(books), 'book')}, {words:,} words -> {output}")
    return 0


def _catalog_books(parsed: argparse.Namespace) -> Iterator[tuple[Path, str, BookKeys]]:
    """Yield each book with its SHA-256 and keys; warn of each file that is left out."""
    from pytest_memleak.books.archive import sha256_of
    from pytest_memleak.books.catalog_file import is_catalog_file
    from pytest_memleak.library.book_files import BookFiles

    paths = []
    for path in sorted(parsed.folder.rglob("*")):
        parts = path.relative_to(parsed.folder).parts
        is_hidden = any(part.startswith(".") for part in parts)
        if is_hidden or not path.is_file() or is_catalog_file(path):
            continue
        if path.stem.lower() in _NO_BOOKS:
            _warn_of_skipped(f"{path}: not named like a book; rename it if it is one")
        else:
            paths.append(path)
    files = BookFiles(paths, Scoring(word_mode=parsed.word_mode))
    for path, (_, keys) in zip(paths, files.books(), strict=True):
        if isinstance(keys, MemleakError):
            _warn_of_skipped(keys.line)
            continue
        yield path, sha256_of(path) or "", keys


def _warn_of_skipped(text: str) -> None:
    print(f"memleak catalog: warning: skipped: {inert(text)}", file=sys.stderr)
