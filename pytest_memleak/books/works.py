"""Collections: works read from files and cut into one book; verse is cut at lines.

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
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from pytest_memleak.books.archive import Budget
from pytest_memleak.books.build_book import excluded_excerpts, with_instructions
from pytest_memleak.books.excerpts import (
    LONGEST_EXCERPT,
    Row,
    cheapest_excerpts,
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
from pytest_memleak.scoring.glued_words import validate_no_glued_words
from pytest_memleak.scoring.matchable import validate_matchable
from pytest_memleak.scoring.words import words

Reader = Callable[..., Manuscript | Book]

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


def read_works(
    source: CollectionSource,
    read: Reader,
    *,
    encoding: str | None = None,
) -> Iterator[ReadWork]:
    """Yield the works of the collection.

    read:     reads files unless lines are kept
    encoding: of plain text, if it is declared

    Raises BookError or RecordsError, naming file and record, for an invalid work, and
    for a single file with only one work.
    """
    folder = os.path.commonpath([file.parent for file in source.files])
    for path in source.files:
        name = Path(os.path.relpath(path, folder)).as_posix()
        if path.suffix.lower() in _RECORDS:
            yield from _works_from_records(path, name, lines=source.unit == "line")
            continue
        manuscript = _manuscript(
            path,
            read,
            lines=source.unit == "line",
            encoding=encoding,
        )
        if source.together:
            yield from _works_under_headings(manuscript, path, name)
        else:
            yield ReadWork(
                id=name,
                title=manuscript.title or path.stem,
                author=manuscript.author,
                chapters=manuscript.chapters,
                matter=sum(part.matter for part in manuscript.parts),
                warnings=tuple(f"{name}: {warning}" for warning in manuscript.warnings),
                excluded=manuscript.excluded,
            )


def _manuscript(
    path: Path,
    read: Reader,
    *,
    lines: bool,
    encoding: str | None,
) -> Manuscript:
    result: Manuscript | Book
    if lines and path.suffix.lower() == ".txt":
        result = read_text(path, lines=True, encoding=encoding)
    elif lines and path.suffix.lower() in {".md", ".markdown"}:
        result = read_markdown(path, lines=True, encoding=encoding)
    else:
        result = read(path, encoding=encoding)
    if isinstance(result, Manuscript):
        return result
    raise BookError(
        "its reader returns excerpts instead of text",
        location=str(path),
        hint="use text or rows of JSON for a collection's works",
    )


def _works_under_headings(
    manuscript: Manuscript,
    path: Path,
    name: str,
) -> Iterator[ReadWork]:
    if len(manuscript.chapters) < 2:  # noqa: PLR2004 - one is no collection
        raise BookError(
            "has no headings that separate its works",
            location=str(path),
            hint="mark each title as a heading (# in Markdown), or use a pattern such "
            "as songs/** with one file per work, or rows of JSONL",
        )
    for number, chapter in enumerate(manuscript.chapters, start=1):
        is_first = number == 1
        work_id = f"{name}:{number}"
        yield ReadWork(
            id=work_id,
            title=chapter.title or work_id,
            author=manuscript.author,
            chapters=(chapter,),
            warnings=manuscript.warnings if is_first else (),
            excluded=manuscript.excluded if is_first else (),
        )


# --- records
# -------------------------------------------------------------------------------


def _works_from_records(
    path: Path,
    name: str,
    *,
    lines: bool,
) -> Iterator[ReadWork]:
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
            plain_paragraphs(text, lines=lines),
            lines=lines,
        )
        work_id = f"{name}:{number}"
        one_line = " ".join((title or work_id).split())
        yield ReadWork(
            id=work_id,
            title=one_line[:_LONGEST_TITLE],
            author=author,
            chapters=(Chapter(None, paragraphs),),
            matter=matter,
        )


def _works_from_paper_records(
    records: Iterable[object],
    path: Path,
    name: str,
) -> Iterator[ReadWork]:
    """Yield the works of the paper's records, already cut, in the order of the file."""

    def work_of(row: object) -> tuple[str | None, str | None]:
        title = row_text(row, "book_name", str(path))
        author = row_text(row, "author_name", str(path))
        return title, author

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
    """Cut works into excerpts, whose instructions name the work's title and author.

    `author` applies to works without one; `in_lines`: never split a line, as in verse;
    other parameters are as in `make_book`. An excerpt's chapter is its work's title.

    Raises BookError without a work of k words, for more than 20,000 works, for a work
    that word mode `paper` can't count, for words that no generation could match, and
    as `make_book` does.
    """
    place = f"collection {book_id!r}"
    collected = _CollectionSoFar()
    for work in _cut_and_count_works(
        works,
        mode=mode,
        in_lines=in_lines,
        k=k,
        place=place,
    ):
        collected.add(work, k=k, author=author)
        if len(collected.parts) > _MOST_WORKS:
            raise BookError(
                f"has more than {_MOST_WORKS:,} works",
                location=place,
                hint="split it into several collections",
            )
    if not collected.works:
        raise BookError(
            f"has no work of k = {k} words or more",
            location=place,
            hint="check the pattern, or set a lower k in a suite",
        )
    validate_matchable([excerpt.text for excerpt in collected.excerpts], place=place)
    excluded, unsearched = excluded_excerpts(collected.excluded, mode)
    book = Book(
        id=book_id,
        title=title or book_id,
        author=author or _VARIOUS,
        excerpts=tuple(collected.excerpts),
        digest="",
        warnings=(
            *collected.warnings,
            *_warnings_of_short(collected, k),
            *unsearched,
        ),
        parts=tuple(collected.parts),
        works=tuple(collected.works),
        excluded=excluded,
    )
    stored = load_summaries(summaries, book.excerpts) if summaries else None
    return with_instructions(
        book,
        stored,
        template=template,
        mode=mode,
        place=place,
    )


@dataclass(frozen=True, slots=True)
class _CountedWork:
    """A work, its excerpts, and its words in the collection's mode and in all."""

    work: ReadWork
    excerpts: Sequence[Excerpt]
    words_in_mode: int
    all_words: int


def _cut_and_count_works(
    works: Iterable[ReadWork],
    *,
    mode: WordMode,
    in_lines: bool,
    k: int,
    place: str,
) -> Iterator[_CountedWork]:
    """Cut works into excerpts and count their words.

    Raises BookError for a work whose words the mode can't separate or count.
    """
    budget = Budget(place)
    for work in works:
        excerpts = work.excerpts or _cut(work, mode, in_lines=in_lines)
        characters = sum(len(excerpt.text) for excerpt in excerpts)
        budget.spend(characters, "characters of text")
        in_mode = _count_words(excerpts, mode)
        total = _count_words(excerpts, "unicode")
        if mode == "paper" and total - in_mode >= k and 10 * in_mode < 9 * total:
            raise BookError(
                f"word mode 'paper' recognizes only {in_mode:,} of the {total:,} words "
                f"of work {work.id!r}",
                location=place,
                hint='set word_mode = "unicode" (--word-mode unicode on the command '
                "line)",
            )
        texts = [excerpt.text for excerpt in excerpts]
        validate_no_glued_words(texts, mode=mode, place=f"{place}, work {work.id!r}")
        yield _CountedWork(
            work=work,
            excerpts=excerpts,
            words_in_mode=in_mode,
            all_words=total,
        )


def _count_words(excerpts: Iterable[Excerpt], mode: WordMode) -> int:
    return sum(len(words(excerpt.text, mode)) for excerpt in excerpts)


@dataclass(slots=True)
class _CollectionSoFar:
    """What a collection has of the works so far."""

    works: list[Work] = field(default_factory=list)
    excerpts: list[Excerpt] = field(default_factory=list)
    parts: list[BookPart] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    excluded: list[Chapter] = field(default_factory=list)

    def add(
        self,
        counted: _CountedWork,
        *,
        k: int,
        author: str | None,
    ) -> None:
        """Add a work; leave out the text of one with fewer than k words."""
        work = counted.work
        self.warnings += work.warnings
        self.excluded += work.excluded
        is_work = counted.words_in_mode >= k
        if is_work:
            self._add_excerpts(work, counted.excerpts, author)
        part = BookPart(
            name=work.id,
            label=work.title,
            kept=is_work,
            rule="it is a work",
            words=counted.all_words,
            matter=work.matter,
        )
        if not is_work:
            part = replace(
                part,
                rule=f"it has fewer than k = {k} words",
                words=0,
                matter=work.matter + counted.all_words,
            )
        self.parts.append(part)

    def _add_excerpts(
        self,
        work: ReadWork,
        excerpts: Iterable[Excerpt],
        author: str | None,
    ) -> None:
        first = len(self.excerpts)
        for number, excerpt in enumerate(excerpts, start=first + 1):
            numbered = replace(excerpt, id=f"p_id{number}", chapter=work.title)
            self.excerpts.append(numbered)
        end = len(self.excerpts)
        named = work.author or author
        collected_work = Work(
            id=work.id,
            title=work.title,
            author=named,
            first=first,
            end=end,
        )
        self.works.append(collected_work)


def _warnings_of_short(collected: _CollectionSoFar, k: int) -> list[str]:
    short = [part.label or part.name for part in collected.parts if not part.kept]
    if not short:
        return []
    names = ", ".join(short)
    return [f"left out works too short for a match of k = {k} words: {names}"]


def _cut(
    work: ReadWork,
    mode: WordMode,
    *,
    in_lines: bool,
) -> tuple[Excerpt, ...]:
    paragraphs: list[str] = []
    for chapter in work.chapters:
        paragraphs += chapter.paragraphs
    if in_lines:
        return tuple(Excerpt("", text) for text in cut_verse(paragraphs, mode=mode))
    if not any(words(paragraph, mode) for paragraph in paragraphs):
        return (Excerpt("", "\n\n".join(paragraphs)),)
    return cut(
        Manuscript(
            title=None,
            author=None,
            chapters=work.chapters,
        ),
        mode=mode,
        place=work.id,
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
    """Cut verse into excerpts of 300 to 500 words at ends of stanzas, or else of lines.

    A shorter poem stays whole, and lines are never split. `mode` defines words.
    """
    lines: list[_Line] = []
    for number, stanza in enumerate(stanzas):
        texts = stanza.split("\n")
        for nth, text in enumerate(texts, start=1):
            line = _Line(
                stanza=number,
                text=text,
                words=len(words(text, mode)),
                last=nth == len(texts),
            )
            lines.append(line)
    if sum(line.words for line in lines) <= LONGEST_EXCERPT:
        return [_verse_text(lines)]
    row = Row(
        words=[line.words for line in lines],
        prices=[0.0 if line.last else _PRICE_OF_CUT_IN_STANZA for line in lines],
        chapters=[0] * len(lines),
        long_chapters=frozenset(),
    )
    parts = cheapest_excerpts(row, allow_short=False)
    if not parts:
        parts = cheapest_excerpts(row, allow_short=True)
    return [_verse_text(lines[first:end]) for first, end in parts or ()]


def _verse_text(lines: Sequence[_Line]) -> str:
    stanzas = groupby(lines, key=attrgetter("stanza"))
    return "\n\n".join(_stanza_text(group) for _, group in stanzas)


def _stanza_text(lines: Iterable[_Line]) -> str:
    return "\n".join(line.text for line in lines)
