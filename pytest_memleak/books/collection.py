"""A collection: works that are measured one by one, and asked for and pooled as one book.

    book = make_collection("songs", works_in(source, read), source, k=5)

Its excerpts are those of its works, one after the other; a short work is one excerpt. Works of
fewer than k words are left out: no match could be in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.books.build_book import instructed
from pytest_memleak.books.excerpts import cut
from pytest_memleak.books.size_caps import Budget
from pytest_memleak.books.summary_files import load_summaries
from pytest_memleak.books.verse import cut_verse
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.records import Book, BookPart, Excerpt, Work
from pytest_memleak.records.digest import book_digest
from pytest_memleak.scoring.fused_words import refuse_fused
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from pytest_memleak.books.works import ReadWork
    from pytest_memleak.records import WordMode

__all__ = ["make_collection"]

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

    `author` is that of works that do not say; `in_lines`: no line is parted, as of verse; the
    rest is as in `make_book`. An excerpt's chapter is its work's title.

    Raises BookError for a collection of no work of k words or of more than 20,000 works, for a
    work that the mode `paper` cannot see, and as `make_book` does.
    """
    place = f"collection {book_id!r}"
    budget = Budget(place)
    kept: list[Work] = []
    excerpts: list[Excerpt] = []
    parts: list[BookPart] = []
    warnings: list[str] = []
    for work in works:
        its = work.excerpts or _cut(work, mode, in_lines=in_lines)
        budget.spend(sum(len(one.text) for one in its), "characters of text")
        warnings += work.warnings
        seen, there = _words(its, mode), _words(its, "unicode")
        if mode == "paper" and there - seen >= k and 10 * seen < 9 * there:
            raise BookError(
                f"word mode 'paper' keeps {seen:,} of the {there:,} words of the work {work.id!r}",
                place=place,
                hint='set words = "unicode" (--words unicode on the command line)',
            )
        refuse_fused((one.text for one in its), mode=mode, place=f"{place}, work {work.id!r}")
        parts.append(_part(work, there, None if seen >= k else f"it has fewer than k = {k} words"))
        if seen >= k:
            first = len(excerpts)
            excerpts += (
                replace(one, id=f"p_id{number}", chapter=work.title)
                for number, one in enumerate(its, start=first + 1)
            )
            kept.append(Work(work.id, work.title, work.author or author, first, len(excerpts)))
        if len(parts) > _MOST_WORKS:
            raise BookError(
                f"has more than {_MOST_WORKS:,} works",
                place=place,
                hint="make several collections of it",
            )
    if not kept:
        raise BookError(f"has no work of k = {k} words or more", place=place)
    if left := [one.label or one.name for one in parts if not one.kept]:
        warnings.append(
            f"left out, since no match of k = {k} words could be in them: {', '.join(left)}"
        )
    cut_works = tuple(kept)
    asked = instructed(
        tuple(excerpts),
        works=cut_works,
        author=author,
        title=title,
        summaries=load_summaries(summaries, excerpts) if summaries else None,
        template=template,
        mode=mode,
        place=place,
    )
    return Book(
        id=book_id,
        title=title or book_id,
        author=author or _VARIOUS,
        excerpts=asked,
        digest=book_digest(asked),
        warnings=tuple(warnings),
        parts=tuple(parts),
        works=cut_works,
    )


def _cut(work: ReadWork, mode: WordMode, *, in_lines: bool) -> tuple[Excerpt, ...]:
    paragraphs = [one for chapter in work.chapters for one in chapter.paragraphs]
    if in_lines:
        return tuple(Excerpt("", text) for text in cut_verse(paragraphs, mode=mode))
    if not any(words(one, mode) for one in paragraphs):
        return (Excerpt("", "\n\n".join(paragraphs)),)
    return cut(Manuscript(None, None, work.chapters), mode=mode, place=work.id)


def _words(excerpts: Sequence[Excerpt], mode: WordMode) -> int:
    return sum(len(words(one.text, mode)) for one in excerpts)


def _part(work: ReadWork, count: int, left_out: str | None) -> BookPart:
    kept = left_out is None
    return BookPart(
        name=work.id,
        label=work.title,
        kept=kept,
        rule=left_out or _KEPT,
        words=count if kept else 0,
        matter=work.matter + (0 if kept else count),
    )
