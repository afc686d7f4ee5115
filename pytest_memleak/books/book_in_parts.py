"""Books in parts: a folder with a file for each chapter, or rows of JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from pytest_memleak.books.archive import Budget
from pytest_memleak.books.plain_text import manuscript_from_text, row_fields
from pytest_memleak.errors import BookError, file_errors
from pytest_memleak.formats.paper_format import read_records
from pytest_memleak.interfaces.protocols import Chapter, Cut, Manuscript
from pytest_memleak.records import BookPart

_DIGITS = re.compile(r"(\d+)")


def read_folder(path: Path, read: Callable[[Path], Manuscript | None]) -> Manuscript:
    """Read a folder of a book's chapters, in the order of the numbers in their names.

    Raises BookError for a file that isn't text, an EPUB, a folder in it, and no file at
    all.
    """
    with file_errors(BookError, path):
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
        files.sort(key=_reading_order)
    chapters = ((file.stem, _chapter(file, read)) for file in files)
    return _join_as_chapters(path, chapters)


def _reading_order(file: Path) -> list[int | str]:
    pieces = _DIGITS.split(file.name.casefold())
    order: list[int | str] = []
    for nth, piece in enumerate(pieces):
        is_number = nth % 2 == 1
        order.append(int(piece) if is_number else piece)
    return order


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
            hint="in a folder of chapters, keep one text file for each, and nothing "
            "else",
        )
    return manuscript


def read_rows(path: Path) -> Manuscript:
    """Read rows as one book, a chapter each. A title that all rows have is the book's.

    Raises BookError or RecordsError, naming the record, for a row without text.
    """
    rows = enumerate(read_records(path), start=1)
    return _join_as_chapters(path, (_row(path, number, row) for number, row in rows))


def _row(
    path: Path,
    number: int,
    row: object,
) -> tuple[str, Manuscript]:
    place = f"{path}, record {number}"
    text, title, author = row_fields(row, place)
    name = f"{path.name}:{number}"
    manuscript = manuscript_from_text(
        text,
        name=name,
        warnings=(),
        place=place,
    )
    return name, replace(manuscript, title=title, author=author)


def _join_as_chapters(
    path: Path, named: Iterable[tuple[str, Manuscript]]
) -> Manuscript:
    """Join manuscripts to a book, in which each opens a chapter."""
    place = str(path)
    budget = Budget(place)
    names: list[str] = []
    parts: list[Manuscript] = []
    for name, manuscript in named:
        for chapter in manuscript.chapters:
            characters = sum(map(len, chapter.paragraphs))
            budget.spend(characters, "characters of text")
            budget.spend(len(chapter.paragraphs), "paragraphs")
        names.append(name)
        parts.append(manuscript)
    if not parts:
        raise BookError(
            "is empty",
            location=place,
            hint="a book needs a chapter, such as chapter-1.txt",
        )
    title = _only_value({part.title for part in parts})
    chapters: list[Chapter] = []
    warnings: list[str] = []
    documents: list[BookPart] = []
    excluded: list[Chapter] = []
    cuts: list[Cut] = []
    for name, part in zip(names, parts, strict=True):
        first, *rest = part.chapters
        own_title = first.title
        if not own_title and len(parts) > 1:
            # A title that all parts share is the book's.
            own_title = name if title else part.title or name
        chapters += [replace(first, title=own_title), *rest]
        warnings += (f"{name}: {warning}" for warning in part.warnings)
        documents += part.parts
        excluded += part.excluded
        cuts += part.cuts
    return Manuscript(
        title=title,
        author=_only_value({part.author for part in parts}),
        chapters=tuple(chapters),
        warnings=tuple(warnings),
        parts=tuple(documents),
        excluded=tuple(excluded),
        cuts=tuple(cuts),
    )


def _only_value(values: Collection[str | None]) -> str | None:
    """Return the only value, if there is no other one."""
    return next(iter(values)) if len(values) == 1 else None
