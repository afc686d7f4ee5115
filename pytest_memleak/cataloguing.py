"""The catalogue of a suite: books that nobody asks for, read and indexed a shelf at a time.

    catalogue = Catalogue(suite, read=..., scoring=..., shelf_bytes=500_000_000)
    catalogue.scan(generations)      -> what they give of each book, shelf after shelf

A shelf holds as many books as their index fits in the memory that it may take. With more than
one of them, each is built anew for every pair.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.catalogue import Elsewhere, Shelf

__all__ = ["Catalogue"]

# Of a book word: the index (some 100 at most), and the text while it is built.
_BYTES_A_WORD = 250


class Catalogue:
    """The books that a pair's generations are matched with although nobody asked for them.

    books:  by name, how to read each
    unread: those that could not be read or measured, and why, once they were come to
    """

    def __init__(
        self, books: dict[str, Callable[[], Book]], scoring: Scoring, *, shelf_bytes: int
    ) -> None:
        self._books = books
        self._scoring = scoring
        self._most = max(1, shelf_bytes // _BYTES_A_WORD)
        self._only: list[Shelf] | None = None
        self.unread: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._books)

    def scan(self, generations: Callable[[], Iterable[Generation]]) -> list[Elsewhere]:
        """What the generations give of each book; they are read once for each shelf."""
        found: list[Elsewhere] = []
        shelves = 0
        for shelf in self._only or self._shelves():
            found += shelf.scan(generations())
            shelves += 1
            kept = shelf
        if shelves == 1:
            self._only = [kept]
        return found

    def _shelves(self) -> Iterator[Shelf]:
        from pytest_memleak.scoring.catalogue import Shelf, measurable_words

        books: list[Book] = []
        room = self._most
        for name, read in self._books.items():
            try:
                book = dataclasses.replace(read(), id=name)
                length = measurable_words(book, self._scoring)
            except MemleakError as error:
                self.unread[name] = error.line
                continue
            if books and length > room:
                yield Shelf(books, self._scoring)
                books, room = [], self._most
            books.append(book)
            room -= length
        if books:
            yield Shelf(books, self._scoring)
