"""Is this your book? The screen that shows it, and the answers at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Manuscript
    from pytest_memleak.records import Book, WordMode


def approved_line(book: Book) -> str:
    """Return the key of a suite that approves the words of a book."""
    from pytest_memleak.books.build_book import words_digest

    return f'approved = "{words_digest(book)}"'


def print_book(
    read: Manuscript | Book,
    book: Book,
    mode: WordMode,
) -> None:
    """Print what was read as a book, and what was left out.

    read: what its reader returned; book: what was made of it
    """
    from pytest_memleak.books.book_outline import outline_of
    from pytest_memleak.reports.book_screen import screen_lines

    for line in screen_lines(outline_of(read, book, mode=mode)):
        print(line)
