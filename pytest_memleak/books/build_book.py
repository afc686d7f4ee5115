"""Books from manuscripts, and the paper's records from books."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytest_memleak.books.excerpts import cut
from pytest_memleak.books.instructions import (
    DEFAULT_INSTRUCTION,
    instruct,
    load_summaries,
)
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.records import Book, Excerpt, WordMode, Work
from pytest_memleak.records.book import book_digest
from pytest_memleak.scoring.measure_table import PASSAGE_LIMIT
from pytest_memleak.scoring.words import (
    has_runs,
    needs_icu,
    requested_words,
    words,
)


def make_book(
    book_id: str,
    manuscript: Manuscript,
    *,
    title: str | None = None,
    author: str | None = None,
    summaries: Path | None = None,
    template: str | None = None,
    mode: WordMode = "paper",
) -> Book:
    """Cut a manuscript into excerpts and write their instructions.

    `title` and `author` override the manuscript's. Without the file `summaries`,
    excerpts have no instructions, unless `template` needs no summary. `mode` defines
    words.

    Raises BookError for a book without words in that mode, summaries that don't match,
    or a template that can't be filled.
    """
    place = f"book {book_id!r}"
    excluded, unsearched = excluded_excerpts(manuscript.excluded, mode)
    book = Book(
        id=book_id,
        title=title or manuscript.title or "",
        author=author or manuscript.author or "",
        excerpts=cut(manuscript, mode=mode, place=place),
        digest="",
        warnings=manuscript.warnings + unsearched,
        parts=manuscript.parts,
        excluded=excluded,
    )
    stored = load_summaries(summaries, book.excerpts) if summaries else None
    return with_instructions(
        book,
        stored,
        author=author or manuscript.author,
        title=title or manuscript.title,
        template=template,
        mode=mode,
    )


def excluded_excerpts(
    documents: Iterable[Chapter],
    mode: WordMode,
) -> tuple[tuple[Excerpt, ...], tuple[str, ...]]:
    """Return the excluded text of each document, in which passages are looked for.

    Returns warnings, too: of text in scripts that word mode `paper` can't count.
    """
    excerpts: list[Excerpt] = []
    warnings: list[str] = []
    for number, document in enumerate(documents, start=1):
        text = "\n\n".join(document.paragraphs)
        total = len(words(text, "unicode"))
        if 10 * len(words(text, mode)) >= 9 * total:
            excerpts.append(Excerpt(f"excluded{number}", text, chapter=document.title))
        else:
            warnings.append(
                f"{total:,} words ({document.title}) aren't searched, because word "
                "mode 'paper' can't count them; "
                'set word_mode = "unicode" (--word-mode unicode on the command line)',
            )
    return tuple(excerpts), tuple(warnings)


def with_icu_version(book: Book, *, mode: WordMode) -> Book:
    """Add the version of ICU if it separates the book's words, and how long they are.

    Raises BookError if ICU would have to, but isn't installed.
    """
    from pytest_memleak.scoring.book_layout import icu_version_for  # with numpy

    icu = icu_version_for(book)
    book = dataclasses.replace(book, icu=icu)
    if icu is None or not needs_icu([excerpt.text for excerpt in book.excerpts]):
        return book
    letters = 0
    count = 0
    for excerpt in book.excerpts:
        excerpt_words = words(excerpt.text, mode)
        letters += sum(map(len, excerpt_words))
        count += len(excerpt_words)
    length = round(PASSAGE_LIMIT * letters / max(count, 1))
    notice = (
        f"ICU {icu} splits it into words; {PASSAGE_LIMIT} words are about {length} "
        "characters"
    )
    warnings = (*book.warnings, notice)
    return dataclasses.replace(book, warnings=warnings)


def words_digest(book: Book) -> str:
    """Return the SHA-256 of all words, however they are cut (hexadecimal)."""
    digest = hashlib.sha256()
    # The same for each version of ICU, and without it.
    has_icu_words = has_runs(excerpt.text for excerpt in book.excerpts)
    separator = "" if has_icu_words else " "
    for excerpt in book.excerpts:
        text = "".join(f"{word}{separator}" for word in words(excerpt.text, "unicode"))
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def with_instructions(
    book: Book,
    summaries: Mapping[str, str] | None,
    *,
    author: str | None = None,
    title: str | None = None,
    template: str | None = None,
    mode: WordMode = "paper",
    place: str | None = None,
) -> Book:
    """Add an instruction to each excerpt without one, with its work's title and author.

    Outside a collection they are the book's, which `title` and `author` override;
    `summaries` are by the excerpts' ids.
    Raises BookError as `make_book` does, naming `place` or the book.
    """
    place = place or f"book {book.id!r}"
    author = author or book.author
    title = title or book.title
    excerpts: list[Excerpt] = []
    for work in book.works or (
        Work(
            id="",
            title=title,
            author=author,
            first=0,
            end=len(book.excerpts),
        ),
    ):
        work_excerpts = book.excerpts[work.first : work.end]
        without = [excerpt for excerpt in work_excerpts if not excerpt.instruction]
        if not without:
            excerpts += work_excerpts
            continue
        written = instruct(
            without,
            author=work.author,
            title=work.title or None,
            summaries=summaries,
            template=DEFAULT_INSTRUCTION if template is None else template,
            mode=mode,
            place=f"{place}, work {work.id!r}" if book.works else place,
        )
        by_id = {excerpt.id: excerpt for excerpt in written}
        excerpts += (by_id.get(excerpt.id, excerpt) for excerpt in work_excerpts)
    return dataclasses.replace(
        book,
        excerpts=tuple(excerpts),
        digest=book_digest(excerpts),
    )


def paper_records(
    book: Book,
    *,
    summaries: Mapping[str, str] | None = None,
    mode: WordMode = "paper",
) -> list[dict[str, str | int]]:
    """Return the book in the paper's format: one record per excerpt, in order.

    In a collection, `book_name` and `author_name` are the work's. If the previous work
    has the same, the title includes the work's id, so that the two stay separate.
    `word_count` is that of `requested_words` in `mode`; a missing `detail` (the
    summary) or `instruction` is `""`.
    """
    of_works: list[Work | None] = [None] * len(book.excerpts)
    before = None
    for work in book.works:
        named_work = work
        if before and before.title == work.title and before.author == work.author:
            title = f"{work.title} ({work.id})"
            named_work = dataclasses.replace(work, title=title)
        excerpts = work.end - work.first
        of_works[work.first : work.end] = [named_work] * excerpts
        before = work
    return [
        {
            "excerpt_id": excerpt.id,
            "excerpt_text": excerpt.text,
            "instruction": excerpt.instruction or "",
            "author_name": (work.author or "") if work else book.author,
            "book_name": work.title if work else book.title,
            "word_count": requested_words(excerpt.text, mode),
            "detail": (summaries or {}).get(excerpt.id, ""),
        }
        for excerpt, work in zip(book.excerpts, of_works, strict=True)
    ]
