"""The files of a library: books, and catalog files of books that were prepared."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.books.archive import sha256_of
from pytest_memleak.books.build_book import make_book
from pytest_memleak.books.catalog_file import CatalogFile, is_catalog_file
from pytest_memleak.errors import BookError, MemleakError, SettingsError
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.records import Book, Scoring
from pytest_memleak.scoring.catalog_scan import book_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.scoring.word_hashes import BookKeys


def read_book(
    path: Path,
    scoring: Scoring | None = None,
    *,
    extensions: Extensions | None = None,
) -> Book:
    """Read and cut the book in a file, its excluded text last.

    Raises BookError or RecordsError.
    """
    book = (extensions or Extensions()).read_book(path)
    if isinstance(book, Manuscript):
        mode = (scoring or Scoring()).word_mode
        book = make_book(path.name, book, mode=mode)
    return dataclasses.replace(book, excerpts=book.excerpts + book.excluded)


class BookFiles:
    """Files of books, which may be catalog files; books are named by their files.

    root: the folder that names start from, each with a slash, which no id in a suite
    file has; None for paths as they were given
    """

    def __init__(
        self,
        paths: Iterable[Path],
        scoring: Scoring,
        *,
        extensions: Extensions | None = None,
        root: Path | None = None,
    ) -> None:
        self._paths = tuple(paths)
        self._scoring = scoring
        self._root = root
        self._extensions = extensions or Extensions()

    def validate(self) -> None:
        """Raise BookError for a damaged catalog, SettingsError for a wrong mode."""
        mode = self._scoring.word_mode
        for path in self._paths:
            if not is_catalog_file(path):
                continue
            made_for = CatalogFile(path).mode
            if made_for != mode:
                raise SettingsError(
                    f"the catalog {path.name} was made for word_mode = {made_for!r}, "
                    f"not {mode!r}",
                    location=str(path),
                    hint=f"rebuild it: memleak catalog build DIR -o {path.name} "
                    f"--word-mode {mode}",
                )

    def books(self) -> Iterator[tuple[str, BookKeys | MemleakError]]:
        """Yield each book's name and keys, or the error of an unmeasurable book.

        Raises BookError for a damaged catalog file.
        """
        scoring = self._scoring
        for path in self._paths:
            if is_catalog_file(path):
                file = CatalogFile(path)
                yield from file.keys(
                    (self._book_name_of_path(file.source(book)), book)
                    for book in file.books
                )
                continue
            keys: BookKeys | MemleakError
            try:
                book = read_book(path, scoring, extensions=self._extensions)
                keys = book_keys(book, k=scoring.k, mode=scoring.word_mode)
            except MemleakError as error:
                keys = error
            yield self._book_name_of_path(path), keys

    def read(self, name: str) -> Book:
        """Read the book of that name; BookError if its file isn't what was prepared."""
        path, sha256 = self._path_and_prepared_digest_by_book[name]
        if sha256 is not None and sha256_of(path) != sha256:
            raise BookError(
                "a generation shares a long run of words with this book, but the "
                "book's file is missing or has changed since the catalog was built",
                location=name,
                hint="restore it, or rebuild: memleak catalog build DIR -o FILE",
            )
        book = read_book(path, self._scoring, extensions=self._extensions)
        return dataclasses.replace(book, id=name)

    @functools.cached_property
    def _path_and_prepared_digest_by_book(self) -> dict[str, tuple[Path, str | None]]:
        """Each book's file by the book's name, and its SHA-256 if it was prepared."""
        sources: dict[str, tuple[Path, str | None]] = {}
        for path in self._paths:
            if is_catalog_file(path):
                file = CatalogFile(path)
                for book in file.books:
                    source = file.source(book)
                    sources.setdefault(
                        self._book_name_of_path(source), (source, book.sha256)
                    )
            else:
                sources[self._book_name_of_path(path)] = path, None
        return sources

    def _book_name_of_path(self, path: Path) -> str:
        if self._root is None:
            return path.as_posix()
        name = Path(os.path.relpath(path, self._root)).as_posix()
        return name if "/" in name else f"./{name}"
