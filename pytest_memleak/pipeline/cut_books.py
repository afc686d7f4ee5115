"""Books cut into excerpts: each is read once in a run, whichever suites name it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.books.book_outline import text_alarms
from pytest_memleak.books.build_book import make_book, with_icu_version, words_digest
from pytest_memleak.errors import BookError, Inconclusive
from pytest_memleak.interfaces.protocols import Manuscript

if TYPE_CHECKING:
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.records import Book, BookSource, CollectionSource, Scoring

    _Key = tuple[BookSource, str, int]


class CutBooks:
    """The books that the suites of a run share, each cut when first used.

    Suites share a book if all keys of its table are equal, and their word mode and k.
    """

    def __init__(self, extensions: Extensions) -> None:
        self._extensions = extensions
        self._books: dict[_Key, Book] = {}
        self._refusals: dict[_Key, BookError] = {}
        self._from_records: set[_Key] = set()

    def cut_into_excerpts(self, source: BookSource, scoring: Scoring) -> Book:
        """Return the book with its own instructions; a refused one is read once.

        Raises BookError or RecordsError for an unusable book, Inconclusive for one that
        is yet to be provided.
        """
        key = _key(source, scoring)
        if key in self._refusals:
            raise self._refusals[key].with_traceback(None)
        if key not in self._books:
            _validate_file_exists(source)
            try:
                read = self._read_book(source, scoring)
                book = with_icu_version(read, mode=scoring.word_mode)
            except BookError as error:
                self._refusals[key] = error
                raise
            self._books[key] = dataclasses.replace(
                book,
                words_digest=words_digest(book),
            )
        return self._books[key]

    def is_read_from_records(self, source: BookSource, scoring: Scoring) -> bool:
        """Tell whether the book, once read, came as records of its excerpts."""
        return _key(source, scoring) in self._from_records

    def read_file(self, source: BookSource) -> Manuscript | Book:
        """Read the file of a book that isn't a collection.

        Raises as `cut_into_excerpts` does.
        """
        return self._extensions.read_book(
            source.source,
            include=source.include,
            exclude=source.exclude,
            encoding=source.encoding,
        )

    def _read_book(self, source: BookSource, scoring: Scoring) -> Book:
        if source.collection is not None:
            return self._read_works(source, source.collection, scoring)
        read = self.read_file(source)
        if isinstance(read, Manuscript):
            book = make_book(
                source.id,
                read,
                title=source.title,
                author=source.author,
                summaries=source.summaries,
                template=source.instruction_template,
                mode=scoring.word_mode,
            )
        else:
            self._from_records.add(_key(source, scoring))
            book = dataclasses.replace(
                read,
                id=source.id,
                title=source.title or read.title,
                author=source.author or read.author,
            )
        alarms = text_alarms(read, book, mode=scoring.word_mode)
        return dataclasses.replace(book, alarms=alarms)

    def _read_works(
        self,
        source: BookSource,
        collection: CollectionSource,
        scoring: Scoring,
    ) -> Book:
        from pytest_memleak.books.works import make_collection, read_works

        return make_collection(
            source.id,
            read_works(
                collection,
                self._extensions.read_book,
                encoding=source.encoding,
            ),
            k=scoring.k,
            title=source.title,
            author=source.author,
            in_lines=collection.unit == "line",
            summaries=source.summaries,
            template=source.instruction_template,
            mode=scoring.word_mode,
        )


def _key(source: BookSource, scoring: Scoring) -> _Key:
    """Return all that a cut book depends on."""
    return source, scoring.word_mode, scoring.k


def _validate_file_exists(source: BookSource) -> None:
    works = source.collection
    named = [source.source, source.summaries]
    if works is not None and works.files:
        named.remove(source.source)
    for path in named:
        if path is not None and not path.exists():
            raise Inconclusive(
                f"no such file: {path}",
                location=f"book {source.id!r}",
                hint="put the file there; the suite expects you to provide it",
            )
