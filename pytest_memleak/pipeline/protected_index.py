"""The protected books of a suite, in one index that all its pairs share (docs/method.md)."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.records import Book, Issue, Pair, Scoring, Suite
from pytest_memleak.records.book import book_digest
from pytest_memleak.records.pair_result import ScanScope
from pytest_memleak.scoring.book_layout import measurable_words
from pytest_memleak.scoring.measure_table import PASSAGES, with_needs
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.prepared_books import PreparedBooks
    from pytest_memleak.scoring.analysis import Analysis


class ProtectedBooks:
    """The suite's books, indexed when first used.

    unread: those that can't be read or measured, by id, with reasons
    """

    def __init__(self, suite: Suite, books: PreparedBooks) -> None:
        self._suite = suite
        self._books = books
        self._index: dict[tuple[Scoring, str, str], SharedIndex] = {}
        self._readable: dict[str, Book] | None = None
        self.unread: dict[str, str] = {}

    def for_pair(
        self, pair: Pair, measured: Book, beyond: Sequence[Book] = (), *, least: int = 0
    ) -> Protected:
        """Return what the pair's generations are compared with: its book, then the suite's others.

        measured: the pair's book as it is measured; where that is only parts of it, the
        whole is scanned for passages. A book's excluded text is scanned as a book of
        its own. beyond: books of the catalog, last, from `least` words on. Raises
        BookError for a book that can't be measured.
        """
        index = self._index_of(pair, measured, beyond)
        tests = {book.id for book in self._suite.books if book.role == "test"}
        whole = f"{measured.id}{_WHOLE}"
        own = whole if whole in index.numbers else measured.id
        books = [own, f"{measured.id}{_EXCLUDED}"]
        books += (
            book.id
            for book in index.books
            if book.id.removesuffix(_EXCLUDED) in tests - {measured.id}
        )
        excused = (
            name
            for book_id in self._suite.excused(pair)
            for name in (
                own if book_id == measured.id else book_id,
                f"{book_id}{_EXCLUDED}",
            )
        )
        return Protected(
            index,
            measured.id,
            tuple(name for name in books if name in index.numbers),
            tuple(name for name in excused if name in index.numbers),
            tuple(book.id for book in beyond),
            least,
            whole=whole if own == whole else None,
        )

    def scan_scope(self, pair: Pair) -> ScanScope:
        """Return the books that passages may come from beside its own, and those that excuse."""
        digests = {name: book.digest for name, book in self._all_readable().items()}
        tests = {book.id for book in self._suite.books if book.role == "test"} - {
            pair.book.id
        }
        excused = self._suite.excused(pair)
        return ScanScope(
            books={name: digest for name, digest in digests.items() if name in tests},
            excused={
                name: digest for name, digest in digests.items() if name in excused
            },
        )

    def holding(
        self, analysis: Analysis | None, measured: Book, beyond: Iterable[Book] = ()
    ) -> dict[str, Book]:
        """Return the books that hold its passages, by the names that the index gives them."""
        if analysis is None or analysis.passages is None:
            return {}
        passages = analysis.passages
        located = (
            *passages.longest.values(),
            *passages.of_others.values(),
            *(passages.excused, passages.nv_excused),
            *passages.passages,
        )
        names = {
            name
            for passage in located
            if passage.book
            for name in (passage.book, *passage.books)
        }
        readable = self._all_readable() | {book.id: book for book in beyond}
        books = {
            name: readable[name.removesuffix(_WHOLE)] for name in names - {measured.id}
        }
        return books | {measured.id: measured}

    def _index_of(
        self, pair: Pair, measured: Book, beyond: Sequence[Book]
    ) -> SharedIndex:
        """Return the suite's own index where it holds the very text that is measured.

        An index of more of the catalog's books replaces one of fewer.
        """
        readable = self._all_readable()
        own = readable.get(measured.id)
        if own is not None and _texts(own) == _texts(measured):
            books, key = list(readable.values()), (pair.scoring, "", "")
        else:
            others = [book for book in readable.values() if book.id != measured.id]
            whole = [dataclasses.replace(own, id=f"{own.id}{_WHOLE}")] if own else []
            books, key = (
                [measured, *whole, *others],
                (pair.scoring, measured.id, measured.digest),
            )
        index = self._index.get(key)
        if index is None or any(book.id not in index.numbers for book in beyond):
            self._index.pop(key, None)  # two indexes would take too much memory
            books += beyond
            self._index[key] = SharedIndex(
                books, k=pair.scoring.k, mode=pair.scoring.word_mode
            )
        return self._index[key]

    def test_books(self) -> Iterable[Book]:
        """Return the suite's readable test books, each whole.

        Training books and controls aren't among them: generations may reproduce those.
        """
        test = {book.id for book in self._suite.books if book.role == "test"}
        return [book for name, book in self._all_readable().items() if name in test]

    def issues(self, pair: Pair) -> Iterator[Issue]:
        """Yield an issue for each unreadable test book that a limit depends on."""
        if not with_needs(pair.limits, PASSAGES):
            return
        self._all_readable()
        for source in self._suite.books:
            if (
                source.role == "test"
                and source.id in self.unread
                and not source.bring_your_own
            ):
                reason = self.unread[source.id]
                yield Issue("protected books", f"{source.id} wasn't scanned: {reason}")

    def _all_readable(self) -> dict[str, Book]:
        """Return the suite's readable, measurable books; note why the others aren't."""
        if self._readable is None:
            scoring = self._suite.pairs[0].scoring
            self._readable = {}
            for source in self._suite.books:
                try:
                    book = self._books.cut(source)
                    measurable_words(book, scoring)
                except MemleakError as error:
                    self.unread[source.id] = error.line
                    continue
                self._readable[source.id] = book
                excluded = _excluded_text(book)
                with contextlib.suppress(MemleakError):  # too few words for a passage
                    measurable_words(excluded, scoring)
                    self._readable[excluded.id] = excluded
        return self._readable


def _texts(book: Book) -> list[str]:
    return [excerpt.text for excerpt in book.excerpts]


def _excluded_text(book: Book) -> Book:
    """Return the book's excluded text as a book."""
    return dataclasses.replace(
        book,
        id=f"{book.id}{_EXCLUDED}",
        excerpts=book.excluded,
        digest=book_digest(book.excluded),
        contiguous=False,
        works=(),
    )


# No id in a suite file has blanks or brackets.
_WHOLE = " (whole)"
_EXCLUDED = " (excluded text)"
