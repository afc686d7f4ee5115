"""The works in a collection's files, as they are read.

Of files that a pattern finds each is a work. A file that is named alone holds many: one under each
heading. JSONL or JSON holds them in either case as records: `{"title", "author", "text"}`, one a
work, or the paper's, of which those of one `book_name` that follow each other are one work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path

from pytest_memleak.books.document_selection import without_notices
from pytest_memleak.books.format_mismatch import refuse_markup
from pytest_memleak.books.plain_text import paragraphs_of
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.records import Book, CollectionSource, Excerpt
from pytest_memleak.records.paper_format import book_from_records, read_records

__all__ = ["ReadWork", "works_in"]

Reader = Callable[[Path], Manuscript | Book]

_RECORDS = {".json", ".jsonl"}
_ROW = 'a row is {"title": "...", "author": "...", "text": "..."}; title and author may lack'
_LONGEST_TITLE = 200

# Of JSON that is all brackets each byte takes some twenty of memory.
_MOST_JSON = 16 << 20


@dataclass(frozen=True, slots=True)
class ReadWork:
    """A work before it is cut, or with its excerpts where its file has them.

    id: its file from the collection's folder, and behind a colon its number where that holds more
    matter: words, of any script, of what stood around it and is left out
    """

    id: str
    title: str
    author: str | None
    chapters: tuple[Chapter, ...] = field(default=(), repr=False)
    excerpts: tuple[Excerpt, ...] = field(default=(), repr=False)
    matter: int = 0
    warnings: tuple[str, ...] = ()


def works_in(source: CollectionSource, read: Reader) -> Iterator[ReadWork]:
    """The works of the collection, in order; `read` reads a file whose lines are not kept.

    Raises BookError or RecordsError, naming file and record, for what is none, and for a file
    alone that has a single work in it.
    """
    folder = os.path.commonpath([one.parent for one in source.files])
    for path in source.files:
        name = Path(os.path.relpath(path, folder)).as_posix()
        if path.suffix.lower() in _RECORDS:
            yield from _of_records(path, name, lines=source.unit == "line")
            continue
        manuscript = _manuscript(path, read, lines=source.unit == "line")
        if source.together:
            yield from _under_headings(manuscript, path, name)
        else:
            yield ReadWork(
                name,
                manuscript.title or path.stem,
                manuscript.author,
                manuscript.chapters,
                matter=sum(part.matter for part in manuscript.parts),
                warnings=tuple(f"{name}: {one}" for one in manuscript.warnings),
            )


def _manuscript(path: Path, read: Reader, *, lines: bool) -> Manuscript:
    found: Manuscript | Book
    if lines and path.suffix.lower() == ".txt":
        from pytest_memleak.books.plain_text import read_text

        found = read_text(path, lines=True)
    elif lines and path.suffix.lower() in {".md", ".markdown"}:
        from pytest_memleak.books.html_docx import read_markdown

        found = read_markdown(path, lines=True)
    else:
        found = read(path)
    if isinstance(found, Manuscript):
        return found
    raise BookError(
        "its reader gives excerpts, and not what they are cut from",
        place=str(path),
        hint="a collection's works are read from text, or from rows of JSON",
    )


def _under_headings(manuscript: Manuscript, path: Path, name: str) -> Iterator[ReadWork]:
    if len(manuscript.chapters) < 2:  # noqa: PLR2004 - one is no collection
        raise BookError(
            "has no headings that part one work from the next",
            place=str(path),
            hint="mark each title as a heading (# in Markdown), give a file for each work and a "
            "pattern such as songs/**, or rows of JSONL",
        )
    for number, chapter in enumerate(manuscript.chapters, start=1):
        yield ReadWork(
            f"{name}:{number}",
            chapter.title or f"{name}:{number}",
            manuscript.author,
            (chapter,),
            warnings=manuscript.warnings if number == 1 else (),
        )


# --- records -------------------------------------------------------------------------------


def _of_records(path: Path, name: str, *, lines: bool) -> Iterator[ReadWork]:
    records = read_records(path, most_bytes=_MOST_JSON)
    first = next(records, None)
    if first is None:
        raise BookError("holds no rows", place=str(path), hint=_ROW)
    records = chain([first], records)
    if isinstance(first, Mapping) and "excerpt_text" in first:
        yield from _of_the_papers(records, path, name)
        return
    for number, row in enumerate(records, start=1):
        place = f"{path}, record {number}"
        text = _text(row, "text", place)
        if text is None:
            raise BookError("there is no text", place=place, hint=_ROW)
        refuse_markup(text, place=place)
        title = _text(row, "title", place)
        paragraphs, matter = without_notices(paragraphs_of(text, lines=lines), lines=lines)
        yield ReadWork(
            f"{name}:{number}",
            " ".join((title or f"{name}:{number}").split())[:_LONGEST_TITLE],
            _text(row, "author", place),
            (Chapter(None, paragraphs),),
            matter=matter,
        )


def _of_the_papers(records: Iterable[object], path: Path, name: str) -> Iterator[ReadWork]:
    """Records as `memleak prepare` writes them: in the order of the file, cut already."""

    def work_of(row: object) -> tuple[str | None, str | None]:
        return _text(row, "book_name", str(path)), _text(row, "author_name", str(path))

    grouped = groupby(records, key=work_of)
    for number, ((title, author), rows) in enumerate(grouped, start=1):
        if title is None:
            raise BookError(
                "there are rows without book_name, so that nothing says which are of one work",
                place=f"{path}, work {number}",
                hint=f"name the work in each of its rows; {_ROW}",
            )
        book = book_from_records(list(rows), place=str(path))
        yield ReadWork(f"{name}:{number}", title, author, excerpts=book.excerpts)


def _text(row: object, key: str, place: str) -> str | None:
    if not isinstance(row, Mapping):
        raise BookError("is no object", place=place, hint=_ROW)
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise BookError(f"{key} is no string", place=place, hint=_ROW)
    return value or None
