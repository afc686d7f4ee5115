"""Generations that were asked for another book, or for other excerpts: whoever reads some asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import RecordsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records.book import Book
    from pytest_memleak.records.generation import Generation

_HINT = "score generations against the book they were prompted with"


def refuse_those_of_another_book(
    generations: Iterable[Generation], book: Book, *, place: str, hint: str = _HINT
) -> None:
    """Raise RecordsError for generations of excerpts that the book does not have."""
    known = {one.id for one in book.excerpts}
    strangers = sorted({one.excerpt_id for one in generations} - known)
    if strangers:
        raise no_excerpt(*strangers, book_id=book.id, place=place, hint=hint)


def no_excerpt(
    first: str, *more: str, book_id: str, place: str | None = None, hint: str = _HINT
) -> RecordsError:
    """The error that says so, for who meets one generation at a time."""
    others = f" (and {len(more)} more)" if more else ""
    return RecordsError(
        f"the book {book_id!r} has no excerpt {first!r}{others}", location=place, hint=hint
    )
