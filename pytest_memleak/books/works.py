"""Collections: reading works from files, and cutting them into one book; verse is cut at lines.

Each file that a pattern matches is a work. A single named file contains many works, one
under each heading. JSONL and JSON files contain records: `{"title", "author", "text"}`,
one per work, or the paper's, of which consecutive ones with the same `book_name` form a
work.

    book = make_collection("songs", read_works(source, read), source, k=5)

A collection's excerpts are those of its works in order; a short work is one excerpt.
Works of fewer than k words are left out, because they can't contain a match.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

from pytest_memleak.books.archive import Budget
from pytest_memleak.books.build_book import excluded_excerpts, with_summaries
from pytest_memleak.books.excerpts import (
    LONGEST_EXCERPT,
    SHORTEST_EXCERPT,
    Row,
    cheapest_cuts,
    cut,
)
from pytest_memleak.books.instructions import load_summaries
from pytest_memleak.books.notice_blocks import without_notices
from pytest_memleak.books.plain_text import (
    ROW,
    plain_paragraphs,
    read_markdown,
    read_text,
    row_fields,
    row_text,
)
from pytest_memleak.errors import BookError
from pytest_memleak.formats.paper_format import book_from_records, read_records
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.records import (
    Book,
    BookPart,
    CollectionSource,
    Excerpt,
    WordMode,
    Work,
)
from pytest_memleak.scoring.book_layout import validate_word_breaks
from pytest_memleak.scoring.words import words

Reader = Callable[[Path], Manuscript | Book]

_RECORDS = {".json", ".jsonl"}
_LONGEST_TITLE = 200

# JSON of brackets only takes about twenty bytes of memory per byte.
_MOST_JSON = 16 << 20


@dataclass(frozen=True, slots=True)
class ReadWork:
    """A work before it is cut, or with its excerpts if its file has them.

    id: its file relative to the collection's folder, and after a colon its number in
    that file
    matter: words, of any script, that were left out around it
    """

    id: str
    title: str
    author: str | None
    chapters: tuple[Chapter, ...] = field(default=(), repr=False)
    excerpts: tuple[Excerpt, ...] = field(default=(), repr=False)
    matter: int = 0
    warnings: tuple[str, ...] = ()
    excluded: tuple[Chapter, ...] = field(default=(), repr=False)


def read_works(source: CollectionSource, read: Reader) -> Iterator[ReadWork]:
    """Yield the works of the collection, in order; `read` reads files unless lines are kept.

    Raises BookError or RecordsError, naming file and record, for an invalid work, and
    for a single file with only one work.
    """
    folder = os.path.commonpath([file.parent for file in source.files])
    for path in source.files:
        name = Path(os.path.relpath(path, folder)).as_posix()
        if path.suffix.lower() in _RECORDS:
            yield from _works_from_records(path, name, lines=source.unit == "line")
            continue
        manuscript = _manuscript(path, read, lines=source.unit == "line")
        if source.together:
            yield from _works_under_headings(manuscript, path, name)
        else:
            yield ReadWork(
                name,
                manuscript.title or path.stem,
                manuscript.author,
                manuscript.chapters,
                matter=sum(part.matter for part in manuscript.parts),
                warnings=tuple(f"{name}: {warning}" for warning in manuscript.warnings),
                excluded=manuscript.excluded,
            )


def _manuscript(path: Path, read: Reader, *, lines: bool) -> Manuscript:
    result: Manuscript | Book
    if lines and path.suffix.lower() == ".txt":
        result = read_text(path, lines=True)
    elif lines and path.suffix.lower() in {".md", ".markdown"}:
        result = read_markdown(path, lines=True)
    else:
        result = read(path)
    if isinstance(result, Manuscript):
        return result
    raise BookError(
        "its reader returns excerpts instead of text",
        location=str(path),
        hint="use text or rows of JSON for a collection's works",
    )


def _works_under_headings(
    manuscript: Manuscript, path: Path, name: str
) -> Iterator[ReadWork]:
    if len(manuscript.chapters) < 2:  # noqa: PLR2004 - one is no collection
        raise BookError(
            "has no headings that separate its works",
            location=str(path),
            hint="mark each title as a heading (# in Markdown), or use a pattern such as songs/** "
            "with one file per work, or rows of JSONL",
        )
    for number, chapter in enumerate(manuscript.chapters, start=1):
        yield ReadWork(
            f"{name}:{number}",
            chapter.title or f"{name}:{number}",
            manuscript.author,
            (chapter,),
            warnings=manuscript.warnings if number == 1 else (),
            excluded=manuscript.excluded if number == 1 else (),
        )


# --- records
# -------------------------------------------------------------------------------


def _works_from_records(path: Path, name: str, *, lines: bool) -> Iterator[ReadWork]:
    records = read_records(path, most_bytes=_MOST_JSON)
    first = next(records, None)
    if first is None:
        raise BookError("contains no rows", location=str(path), hint=ROW)
    records = chain([first], records)
    if isinstance(first, Mapping) and "excerpt_text" in first:
        yield from _works_from_paper_records(records, path, name)
        return
    for number, row in enumerate(records, start=1):
        place = f"{path}, record {number}"
        text, title, author = row_fields(row, place)
        paragraphs, matter = without_notices(
            plain_paragraphs(text, lines=lines), lines=lines
        )
        yield ReadWork(
            f"{name}:{number}",
            " ".join((title or f"{name}:{number}").split())[:_LONGEST_TITLE],
            author,
            (Chapter(None, paragraphs),),
            matter=matter,
        )


def _works_from_paper_records(
    records: Iterable[object], path: Path, name: str
) -> Iterator[ReadWork]:
    """Yield the works of the paper's records, already cut, in the order of the file."""

    def work_of(row: object) -> tuple[str | None, str | None]:
        return row_text(row, "book_name", str(path)), row_text(
            row, "author_name", str(path)
        )

    grouped = groupby(records, key=work_of)
    for number, ((title, author), rows) in enumerate(grouped, start=1):
        if title is None:
            raise BookError(
                "rows without book_name can't be assigned to a work",
                location=f"{path}, work {number}",
                hint=f"add book_name to each row; {ROW}",
            )
        book = book_from_records(list(rows), place=str(path))
        yield ReadWork(f"{name}:{number}", title, author, excerpts=book.excerpts)


_VARIOUS = "various"
_MOST_WORKS = 20_000
_KEPT = "it is a work"


def make_collection(
    book_id: str,
    works: Iterable[ReadWork],
    *,
    k: int,
    title: str | None = None,
    author: str | None = None,
    in_lines: bool = False,
    summaries: Path | None = None,
    template: str | None = None,
    mode: WordMode = "paper",
) -> Book:
    """Cut works into excerpts and write their instructions, each with its own title and author.

    `author` applies to works without one; `in_lines`: never split a line, as in verse;
    other parameters are as in `make_book`. An excerpt's chapter is its work's title.

    Raises BookError without a work of k words, for more than 20,000 works, for a work
    that word mode `paper` can't count, and as `make_book` does.
    """
    place = f"collection {book_id!r}"
    budget = Budget(place)
    kept: list[Work] = []
    excerpts: list[Excerpt] = []
    parts: list[BookPart] = []
    warnings: list[str] = []
    excluded: list[Chapter] = []
    for work in works:
        work_excerpts = work.excerpts or _cut(work, mode, in_lines=in_lines)
        budget.spend(
            sum(len(excerpt.text) for excerpt in work_excerpts), "characters of text"
        )
        warnings += work.warnings
        excluded += work.excluded
        counted, total = _words(work_excerpts, mode), _words(work_excerpts, "unicode")
        if mode == "paper" and total - counted >= k and 10 * counted < 9 * total:
            raise BookError(
                f"word mode 'paper' recognizes only {counted:,} of the {total:,} words "
                "of "
                f"work {work.id!r}",
                location=place,
                hint='set word_mode = "unicode" (--word-mode unicode on the command line)',
            )
        validate_word_breaks(
            (excerpt.text for excerpt in work_excerpts),
            mode=mode,
            place=f"{place}, work {work.id!r}",
        )
        parts.append(
            _book_part(
                work,
                total,
                None if counted >= k else f"it has fewer than k = {k} words",
            )
        )
        if counted >= k:
            first = len(excerpts)
            excerpts += (
                replace(excerpt, id=f"p_id{number}", chapter=work.title)
                for number, excerpt in enumerate(work_excerpts, start=first + 1)
            )
            kept.append(
                Work(work.id, work.title, work.author or author, first, len(excerpts))
            )
        if len(parts) > _MOST_WORKS:
            raise BookError(
                f"has more than {_MOST_WORKS:,} works",
                location=place,
                hint="split it into several collections",
            )
    if not kept:
        raise BookError(
            f"has no work of k = {k} words or more",
            location=place,
            hint="lower k, or check the pattern",
        )
    if left := [part.label or part.name for part in parts if not part.kept]:
        warnings.append(
            f"left out works too short for a match of k = {k} words: {', '.join(left)}"
        )
    excluded_texts, unsearched = excluded_excerpts(excluded, mode)
    book = Book(
        id=book_id,
        title=title or book_id,
        author=author or _VARIOUS,
        excerpts=tuple(excerpts),
        digest="",
        warnings=(*warnings, *unsearched),
        parts=tuple(parts),
        works=tuple(kept),
        excluded=excluded_texts,
    )
    stored = load_summaries(summaries, excerpts) if summaries else None
    return with_summaries(book, stored, template=template, mode=mode, place=place)


def _cut(work: ReadWork, mode: WordMode, *, in_lines: bool) -> tuple[Excerpt, ...]:
    paragraphs = [
        paragraph for chapter in work.chapters for paragraph in chapter.paragraphs
    ]
    if in_lines:
        return tuple(Excerpt("", text) for text in cut_verse(paragraphs, mode=mode))
    if not any(words(paragraph, mode) for paragraph in paragraphs):
        return (Excerpt("", "\n\n".join(paragraphs)),)
    return cut(Manuscript(None, None, work.chapters), mode=mode, place=work.id)


def _words(excerpts: Sequence[Excerpt], mode: WordMode) -> int:
    return sum(len(words(excerpt.text, mode)) for excerpt in excerpts)


def _book_part(work: ReadWork, count: int, left_out: str | None) -> BookPart:
    kept = left_out is None
    return BookPart(
        name=work.id,
        label=work.title,
        kept=kept,
        rule=left_out or _KEPT,
        words=count if kept else 0,
        matter=work.matter + (0 if kept else count),
    )


# --- verse
# --------------------------------------------------------------------------------

_PRICE_OF_CUT_IN_STANZA = 40.0


class _Line(NamedTuple):
    stanza: int
    text: str
    words: int
    last: bool


def cut_verse(stanzas: Sequence[str], *, mode: WordMode) -> list[str]:
    """Cut verse into excerpts of 300 to 500 words at the ends of stanzas or, failing that, lines.

    A shorter poem stays whole, and lines are never split. `mode` defines words.
    """
    lines = [
        _Line(number, line, len(words(line, mode)), line is lines_of_stanza[-1])
        for number, lines_of_stanza in enumerate(
            stanza.split("\n") for stanza in stanzas
        )
        for line in lines_of_stanza
    ]
    if sum(line.words for line in lines) <= LONGEST_EXCERPT:
        return [_verse_text(lines)]
    row = Row(
        words=[line.words for line in lines],
        prices=[0.0 if line.last else _PRICE_OF_CUT_IN_STANZA for line in lines],
        chapters=[0] * len(lines),
        long_chapters=frozenset(),
    )
    parts = None
    for allow_short in (False, True):
        parts = parts or cheapest_cuts(
            row,
            shortest=SHORTEST_EXCERPT,
            longest=LONGEST_EXCERPT,
            allow_short=allow_short,
        )
    return [_verse_text(lines[first:end]) for first, end in parts or ()]


def _verse_text(lines: Sequence[_Line]) -> str:
    stanzas = groupby(lines, key=lambda line: line.stanza)
    return "\n\n".join("\n".join(line.text for line in group) for _, group in stanzas)
