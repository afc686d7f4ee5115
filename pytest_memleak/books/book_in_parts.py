"""Books in parts: a folder with a file for each chapter, or rows of JSON with their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from pytest_memleak.books.archive import Budget
from pytest_memleak.books.plain_text import lines_manuscript, row_fields
from pytest_memleak.errors import BookError, file_errors
from pytest_memleak.formats.paper_format import read_records
from pytest_memleak.interfaces.protocols import Manuscript

_DIGITS = re.compile(r"(\d+)")


def read_folder(path: Path, read: Callable[[Path], Manuscript | None]) -> Manuscript:
    """Read a folder whose files are a book's chapters, in the order of the numbers in their names.

    Raises BookError for a file that isn't text, an EPUB, a folder in it, and no file at
    all.
    """
    with file_errors(BookError, path):
        files = sorted(
            (file for file in path.iterdir() if not file.name.startswith(".")),
            key=_reading_order,
        )
    return _join(path, ((file.stem, _chapter(file, read)) for file in files))


def _reading_order(file: Path) -> list[int | str]:
    pieces = _DIGITS.split(file.name.casefold())
    return [int(piece) if number % 2 else piece for number, piece in enumerate(pieces)]


def _chapter(file: Path, read: Callable[[Path], Manuscript | None]) -> Manuscript:
    if file.suffix.lower() == ".epub":
        raise BookError(
            "is a book of its own, not a chapter",
            location=str(file),
            hint=f"name the books of the folder one by one: {file.parent}/*.epub",
        )
    manuscript = None if file.is_dir() else read(file)
    if manuscript is None:
        raise BookError(
            "isn't a chapter that memleak can read",
            location=str(file),
            hint="in a folder of chapters, keep one text file for each, and nothing else",
        )
    return manuscript


def read_rows(path: Path) -> Manuscript:
    """Read rows as one book, a chapter each. Titles that are all the same are the book's.

    Raises BookError or RecordsError, naming the record, for a row without text.
    """
    return _join(
        path, (_row(path, *row) for row in enumerate(read_records(path), start=1))
    )


def _row(path: Path, number: int, row: object) -> tuple[str, Manuscript]:
    place = f"{path}, record {number}"
    text, title, author = row_fields(row, place)
    name = f"{path.name}:{number}"
    manuscript = lines_manuscript(text, name=name, warnings=(), place=place)
    return name, replace(manuscript, title=title, author=author)


def _join(path: Path, named: Iterable[tuple[str, Manuscript]]) -> Manuscript:
    """Join manuscripts to a book, in which each opens a chapter."""
    place = str(path)
    budget = Budget(place)
    parts: list[tuple[str, Manuscript]] = []
    for name, manuscript in named:
        paragraphs = [
            text for chapter in manuscript.chapters for text in chapter.paragraphs
        ]
        budget.spend(sum(map(len, paragraphs)), "characters of text")
        budget.spend(len(paragraphs), "paragraphs")
        parts.append((name, manuscript))
    if not parts:
        raise BookError(
            "is empty",
            location=place,
            hint="a book needs a chapter, such as chapter-1.txt",
        )
    titles, authors = (
        {getattr(manuscript, key) for _, manuscript in parts}
        for key in ("title", "author")
    )
    title = next(iter(titles)) if len(titles) == 1 else None
    chapters = []
    for name, manuscript in parts:
        first, *rest = manuscript.chapters
        own = (
            None
            if len(parts) == 1
            else (manuscript.title if not title else None) or name
        )
        chapters += [replace(first, title=first.title or own), *rest]
    return Manuscript(
        title,
        next(iter(authors)) if len(authors) == 1 else None,
        tuple(chapters),
        tuple(
            f"{name}: {text}"
            for name, manuscript in parts
            for text in manuscript.warnings
        ),
        tuple(part for _, manuscript in parts for part in manuscript.parts),
        tuple(text for _, manuscript in parts for text in manuscript.excluded),
    )
