"""The protected books of a suite, in one index that all its pairs share (METRICS section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.scoring.recitals import Protected
from pytest_memleak.scoring.shared_index import SharedIndex

if TYPE_CHECKING:
    from pytest_memleak.records import Book, Pair, Scoring, Suite
    from pytest_memleak.story.prepared_books import PreparedBooks

__all__ = ["ProtectedBooks"]


class ProtectedBooks:
    """The suite's test and training books, indexed when they are first looked for."""

    def __init__(self, suite: Suite, books: PreparedBooks) -> None:
        self._suite = suite
        self._books = books
        self._index: dict[Scoring, SharedIndex] = {}
        self._readable: list[Book] | None = None
        self.unread: dict[str, str] = {}

    def for_pair(self, pair: Pair, measured: Book) -> Protected:
        """What the pair's generations are held against: its book first, then the suite's others.

        measured: the pair's book as it is measured. Raises BookError for one that cannot be.
        """
        index = self._index_of(pair, measured)
        role = {one.id: one.role for one in self._suite.books}
        others = [one.id for one in index.books if one.id != measured.id]
        return Protected(
            index,
            measured.id,
            (measured.id, *(one for one in others if role.get(one) != "train")),
            tuple(one for one in others if one in pair.model.finetune_books),
        )

    def _index_of(self, pair: Pair, measured: Book) -> SharedIndex:
        """The suite's own index where it holds the very text that is measured."""
        readable = self._all_readable()
        texts = [one.text for one in measured.excerpts]
        own = next((one for one in readable if one.id == measured.id), None)
        if own is None or [one.text for one in own.excerpts] != texts:
            others = [one for one in readable if one.id != measured.id]
            return SharedIndex([measured, *others], k=pair.scoring.k, mode=pair.scoring.words)
        if pair.scoring not in self._index:
            self._index[pair.scoring] = SharedIndex(
                readable, k=pair.scoring.k, mode=pair.scoring.words
            )
        return self._index[pair.scoring]

    def _all_readable(self) -> list[Book]:
        """The suite's books that are there and can be measured; why not, of the others."""
        if self._readable is None:
            scoring = self._suite.pairs[0].scoring
            self._readable = []
            for source in self._suite.books:
                try:
                    book = self._books.cut(source)
                    SharedIndex([book], k=scoring.k, mode=scoring.words)
                except MemleakError as error:
                    self.unread[source.id] = error.line
                    continue
                self._readable.append(book)
        return self._readable
