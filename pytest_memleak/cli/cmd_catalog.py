"""`memleak catalog build`: books as word keys, so that no run parses them again."""

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
        help="prepare books that nobody asks for",
        description="Prepare the books of a suite's [[catalog]].",
    )
    actions = catalog.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser(
        "build",
        help="write a folder's books as word keys",
        description="Write all books below a folder as word keys, into one file that a suite's "
        "[[catalog]] may name. No run parses them again; their text is not in it.",
    )
    build.add_argument("folder", metavar="DIR", type=Path, help="the books, in folders or not")
    build.add_argument(
        "-o", "--output", metavar="FILE", type=Path, required=True, help="where to write them"
    )
    build.add_argument(
        "--word-mode", choices=("paper", "unicode"), default="paper", help="what counts as a word"
    )
    build.set_defaults(run=_build)


def _build(parsed: argparse.Namespace) -> int:
    from pytest_memleak.books.catalog_file import is_catalog_file, write_catalog
    from pytest_memleak.errors import BookError
    from pytest_memleak.records.number_format import amount

    folder, output = parsed.folder, parsed.output
    if not folder.is_dir():
        raise BookError(
            "there is no such folder", location=str(folder), hint="name the books' folder"
        )
    if output.exists() and not is_catalog_file(output):
        raise BookError(
            "it is there and is no earlier catalog",
            location=str(output),
            hint="name another file with --output, or delete it",
        )
    made = write_catalog(output, _books(parsed), mode=parsed.word_mode)
    if not made:
        output.unlink()
        raise BookError("no file below it is a book that can be measured", location=str(folder))
    words = sum(one.words for one in made)
    print(f"{amount(len(made), 'book')}, {words:,} words -> {output}")
    return 0


def _books(parsed: argparse.Namespace) -> Iterator[tuple[Path, str, BookKeys]]:
    """Each file that is a book, with its SHA-256 and keys; why not, of the others, on stderr."""
    from pytest_memleak.books.catalog_file import is_catalog_file
    from pytest_memleak.errors import MemleakError
    from pytest_memleak.pipeline.catalog import CatalogReader
    from pytest_memleak.records import Scoring
    from pytest_memleak.redaction.text import inert

    reader = CatalogReader(Scoring(word_mode=parsed.word_mode))
    files = sorted(one for one in parsed.folder.rglob("*") if one.is_file())
    for path in files:
        if path.name.startswith(".") or is_catalog_file(path):
            continue
        try:
            keys = reader.keys(path)
        except MemleakError as error:
            print(f"memleak catalog: warning: left out: {inert(error.line)}", file=sys.stderr)
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield path, digest, keys
