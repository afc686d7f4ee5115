"""The catalogue of a suite: books that nobody asks for, looked for in every pair's generations.

    catalogue = Catalogue(books, scoring, shelf_bytes=500_000_000)
    catalogue.scan(generations, scanned)     -> what they give of each book

A shelf holds as many books as their index fits in the memory that it may take. Books are read
anew for every pair: a catalogue may be larger than memory.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.catalogue import Elsewhere

    Generations = Callable[[], Iterable[Generation]]
    Scan = Callable[[Iterable[Sequence[Book]], Scoring, Generations], Iterable[Sequence[Elsewhere]]]

__all__ = ["Catalogue", "Scan"]

# Of a book word, at the peak: its text, its index, and what it takes to build that (300 measured).
_BYTES_A_WORD = 350


class Catalogue:
    """The books that a pair's generations are matched with although nobody asked for them.

    books:  by name, how to read each
    unread: those that could not be read or measured, and why, once they were come to
    """

    def __init__(
        self, books: Mapping[str, Callable[[], Book]], scoring: Scoring, *, shelf_bytes: int
    ) -> None:
        self._books = books
        self._scoring = scoring
        self._most = max(1, shelf_bytes // _BYTES_A_WORD)
        self.unread: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._books)

    def scan(self, generations: Generations, scan: Scan) -> list[Elsewhere]:
        """What the generations give of each book; `scan` is who looks, shelf by shelf."""
        told = scan(self._shelves(), self._scoring, generations)
        return [one for shelf in told for one in shelf]

    def _shelves(self) -> Iterator[list[Book]]:
        from pytest_memleak.scoring.catalogue import measurable_words

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
                yield books
                books, room = [], self._most
            books.append(book)
            room -= length
        if books:
            yield books
