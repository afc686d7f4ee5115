"""`memleak catalog build`: books as word hashes, so that no run parses them again."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.scoring.catalog_scan import BookKeys


def add_catalog(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak catalog build`."""
    catalog = commands.add_parser(
        "catalog",
        help="prepare a catalog: works to scan for, never prompted",
        description="Prepare the protected works that a suite's [[catalog]] names.",
    )
    actions = catalog.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser(
        "build",
        help="write a folder's books as word hashes",
        description="Write the word hashes of all books in a folder and its subfolders to one "
        "file, for a suite's [[catalog]]. Runs then parse none of these books. The file contains "
        "no text.",
    )
    build.add_argument("folder", metavar="DIR", type=Path, help="the folder of books")
    build.add_argument(
        "-o", "--output", metavar="FILE", type=Path, required=True, help="the catalog file"
    )
    build.add_argument(
        "--word-mode",
        choices=("paper", "unicode"),
        default="paper",
        help="what counts as a word (default: paper)",
    )
    build.set_defaults(run=_build)


def _build(parsed: argparse.Namespace) -> int:
    from pytest_memleak.books.catalog_file import is_catalog_file, write_catalog
    from pytest_memleak.errors import BookError
    from pytest_memleak.records.number_format import amount

    folder, output = parsed.folder, parsed.output
    if not folder.is_dir():
        raise BookError("no such folder", location=str(folder), hint="name the folder of the books")
    if output.exists() and not is_catalog_file(output):
        raise BookError(
            "this file exists and isn't a catalog",
            location=str(output),
            hint="name another file with --output, or delete it",
        )
    books = write_catalog(output, _books(parsed), mode=parsed.word_mode)
    if not books:
        output.unlink()
        raise BookError("this folder contains no measurable book", location=str(folder))
    words = sum(book.words for book in books)
    print(f"{amount(len(books), 'book')}, {words:,} words -> {output}")
    return 0


def _books(parsed: argparse.Namespace) -> Iterator[tuple[Path, str, BookKeys]]:
    """Yield each book with its SHA-256 and keys; warn of each file that is left out."""
    from pytest_memleak.books.catalog_file import is_catalog_file
    from pytest_memleak.errors import MemleakError
    from pytest_memleak.pipeline.catalog import CatalogReader
    from pytest_memleak.records import Scoring
    from pytest_memleak.redaction.text import inert

    reader = CatalogReader(Scoring(word_mode=parsed.word_mode))
    files = sorted(path for path in parsed.folder.rglob("*") if path.is_file())
    for path in files:
        if path.name.startswith(".") or is_catalog_file(path):
            continue
        try:
            keys = reader.keys(path)
        except MemleakError as error:
            print(f"memleak catalog: warning: skipped: {inert(error.line)}", file=sys.stderr)
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield path, digest, keys
