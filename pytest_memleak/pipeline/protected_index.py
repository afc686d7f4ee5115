"""The protected books of a suite, in one index for all its pairs (docs/method.md)."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError, MemleakError
from pytest_memleak.records import Book, Issue, Pair, Scoring, Suite
from pytest_memleak.records.book import book_digest
from pytest_memleak.records.pair_result import ScanScope
from pytest_memleak.scoring.book_layout import measurable_words
from pytest_memleak.scoring.excused_words import excused_words
from pytest_memleak.scoring.measure_table import PASSAGES, with_needs
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.prepared_books import PreparedBooks
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.excused_words import ExcusedBook


class ProtectedBooks:
    """The suite's books, indexed when first used.

    unread: why books can't be read or measured, by their ids
    """

    def __init__(self, suite: Suite, books: PreparedBooks) -> None:
        self._suite = suite
        self._books = books
        self._index: dict[tuple[Scoring, str, str], SharedIndex] = {}
        self._excused: dict[tuple[object, ...], dict[str, ExcusedBook]] = {}
        self._readable: dict[str, Book] | None = None
        self.unread: dict[str, Issue] = {}

    def for_pair(
        self,
        pair: Pair,
        measured: Book,
        catalog_books: Sequence[Book] = (),
        *,
        min_passage_words: int = 0,
    ) -> Protected:
        """Return what generations are compared with: the pair's book, then the others.

        A book's excluded text is scanned as a book of its own. Raises BookError for a
        book that can't be measured.

        measured: the pair's book as it is measured; where that is only parts of it, the
            whole is scanned for passages
        catalog_books: books of the catalog, last, from `min_passage_words` on
        """
        index = self._index_for(pair, measured, catalog_books)
        whole = f"{measured.id}{_WHOLE}"
        own = whole if whole in index.numbers else measured.id
        other_tests = self._test_ids - {measured.id}
        others = [
            book.id
            for book in index.books
            if book.id.removesuffix(_EXCLUDED) in other_tests
        ]
        books = [own, f"{measured.id}{_EXCLUDED}", *others]
        excused: list[str] = []
        for book_id in self._suite.books_with_excused_passages(pair):
            excused.append(own if book_id == measured.id else book_id)
            excused.append(f"{book_id}{_EXCLUDED}")
        return Protected(
            index,
            measured.id,
            tuple(name for name in books if name in index.numbers),
            tuple(name for name in excused if name in index.numbers),
            tuple(book.id for book in catalog_books),
            min_passage_words,
            whole=whole if own == whole else None,
            remaining=self._excused_books(pair, measured, index, catalog_books),
        )

    def _excused_books(
        self,
        pair: Pair,
        measured: Book,
        index: SharedIndex,
        catalog_books: Sequence[Book],
    ) -> dict[str, ExcusedBook]:
        """Return what remains of the indexed books that texts excuse words of.

        Common texts and the model's training books do, but no book does so of itself.
        Raises BookError where fewer than k words of the pair's book remain.
        """
        readable = self._readable_books() | {book.id: book for book in catalog_books}
        names = set(self._suite.books_that_excuse_words(pair)) - {measured.id}
        texts = [
            book
            for book in readable.values()
            if book.id.removesuffix(_EXCLUDED) in names
        ]
        if not texts:
            return {}
        ids = tuple(book.id for book in index.books)
        key = (pair.scoring, measured.digest, ids, tuple(text.id for text in texts))
        if key not in self._excused:
            tested = {measured.id: measured}
            for name in ids:
                if name.removesuffix(_EXCLUDED) not in names:
                    of_index = dataclasses.replace(
                        readable.get(name.removesuffix(_WHOLE), measured),
                        id=name,
                    )
                    tested.setdefault(name, of_index)
            remaining = excused_words(list(tested.values()), texts, pair.scoring)
            self._excused = {key: remaining}
        of_own = self._excused[key].get(measured.id)
        if of_own and of_own.exact.total < pair.scoring.k:
            raise BookError(
                f"texts that may be quoted excuse all but {of_own.exact.total} of its "
                f"words, fewer than k = {pair.scoring.k}",
                location=f"book {measured.id!r}",
                hint="list in [[common]] only passages that anyone may quote",
            )
        return self._excused[key]

    def excusing_texts(self, pair: Pair) -> list[str]:
        """Return the texts that excuse words of the pair's book."""
        names = set(self._suite.books_that_excuse_words(pair)) - {pair.book.id}
        return [
            "\n\n".join(_excerpt_texts(book))
            for book in self._readable_books().values()
            if book.id.removesuffix(_EXCLUDED) in names
        ]

    def scan_scope(self, pair: Pair) -> ScanScope:
        """Return the books that passages may come from, and excused ones."""
        digests = {name: book.digest for name, book in self._readable_books().items()}
        tests = self._test_ids - {pair.book.id}
        excused = self._suite.books_with_excused_passages(pair)
        return ScanScope(
            books={name: digest for name, digest in digests.items() if name in tests},
            excused={
                name: digest for name, digest in digests.items() if name in excused
            },
        )

    def books_with_passages(
        self,
        analysis: Analysis | None,
        measured: Book,
        catalog_books: Sequence[Book] = (),
    ) -> dict[str, Book]:
        """Return the books that hold its passages, by their names in the index."""
        if analysis is None or analysis.passages is None:
            return {}
        passages = analysis.passages
        located = (
            *passages.longest.values(),
            *passages.of_others.values(),
            *(passages.excused, passages.nv_excused),
            *passages.passages,
        )
        names: set[str] = set()
        for passage in located:
            if passage.book:
                names.update((passage.book, *passage.books))
        books = {measured.id: measured}
        for name in names:
            books[name] = self.book_by_name(name, measured, catalog_books)
        return books

    def book_by_name(
        self,
        name: str,
        measured: Book,
        catalog_books: Sequence[Book] = (),
    ) -> Book:
        """Return a book by its name in the index of a pair.

        measured: the pair's book as it is measured
        """
        if name == measured.id:
            return measured
        books = self._readable_books() | {book.id: book for book in catalog_books}
        return books[name.removesuffix(_WHOLE)]

    def _index_for(
        self,
        pair: Pair,
        measured: Book,
        catalog_books: Sequence[Book],
    ) -> SharedIndex:
        """Return the suite's own index where it holds the very text that is measured.

        An index of more of the catalog's books replaces one of fewer.
        """
        readable = self._readable_books()
        own = readable.get(measured.id)
        if own is not None and _excerpt_texts(own) == _excerpt_texts(measured):
            key = (pair.scoring, "", "")
            books = list(readable.values())
        else:
            key = (pair.scoring, measured.id, measured.digest)
            books = [measured]
            if own is not None:
                books.append(dataclasses.replace(own, id=f"{own.id}{_WHOLE}"))
            books += [book for book in readable.values() if book.id != measured.id]
        index = self._index.get(key)
        if index is None or any(book.id not in index.numbers for book in catalog_books):
            self._index.pop(key, None)  # two indexes would take too much memory
            books += catalog_books
            self._index[key] = SharedIndex(
                books,
                k=pair.scoring.k,
                mode=pair.scoring.word_mode,
            )
        return self._index[key]

    def test_books(self) -> Iterable[Book]:
        """Return the suite's readable test books, each whole.

        Training books and controls aren't among them: generations may reproduce those.
        """
        tests = self._test_ids
        return [book for name, book in self._readable_books().items() if name in tests]

    @property
    def _test_ids(self) -> set[str]:
        return {book.id for book in self._suite.books if book.role == "test"}

    def unreadable_book_issues(self, pair: Pair) -> Iterator[Issue]:
        """Yield an issue for each unreadable test book that a limit depends on."""
        if not with_needs(pair.limits, PASSAGES):
            return
        self._readable_books()
        for source in self._suite.books:
            if source.role != "test" or source.bring_your_own:
                continue
            if source.id in self.unread:
                missing = self.unread[source.id]
                yield missing.placed_in(f"{source.id} wasn't scanned")

    def unread_books(self) -> tuple[Issue, ...]:
        """Return why books weren't scanned, each with its id."""
        return tuple(issue.placed_in(name) for name, issue in self.unread.items())

    def _readable_books(self) -> dict[str, Book]:
        """Return the suite's readable, measurable books; note why the others aren't."""
        if self._readable is None:
            scoring = self._suite.pairs[0].scoring
            self._readable = {}
            for source in self._suite.books:
                try:
                    book = self._books.cut_into_excerpts(source)
                    measurable_words(book, scoring)
                except MemleakError as error:
                    self.unread[source.id] = Issue.of_error("protected books", error)
                    continue
                self._readable[source.id] = book
                excluded = _book_of_excluded_text(book)
                with contextlib.suppress(MemleakError):  # too few words for a passage
                    measurable_words(excluded, scoring)
                    self._readable[excluded.id] = excluded
        return self._readable


def _excerpt_texts(book: Book) -> list[str]:
    return [excerpt.text for excerpt in book.excerpts]


def _book_of_excluded_text(book: Book) -> Book:
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
