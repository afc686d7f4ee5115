"""Books of a catalog that are read where they are looked for, in another process perhaps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.scoring.catalog_scan import book_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.catalog_scan import BookKeys


def catalog_name(path: Path, root: Path) -> str:
    """What a book of a catalog is called: its file's path from the suite's folder.

    It has a slash, which no id in a suite file has.
    """
    name = Path(os.path.relpath(path, root)).as_posix()
    return name if "/" in name else f"./{name}"


class LooseReader:
    """Reads books without instructions; elsewhere with the readers that are installed there."""

    def __init__(self, scoring: Scoring, extensions: Extensions | None = None) -> None:
        self.scoring = scoring
        self._extensions = extensions or Extensions()

    def __reduce__(self) -> tuple[object, ...]:
        """A plugin of this process need not be there where the reader goes."""
        return LooseReader, (self.scoring,)

    def read(self, path: Path) -> Book:
        """The book, cut; BookError or RecordsError where it cannot be read."""
        from pytest_memleak.books.build_book import make_book

        read = self._extensions.read_book(path)
        if isinstance(read, Manuscript):
            return make_book(path.name, read, mode=self.scoring.word_mode)
        return read

    def keys(self, path: Path) -> BookKeys:
        """Its keys; BookError also where it cannot be measured."""
        return book_keys(self.read(path), k=self.scoring.k, mode=self.scoring.word_mode)


@dataclass(frozen=True, slots=True)
class LooseBooks:
    """Some files, by the names that they have in a run: a shard of a library."""

    files: tuple[tuple[str, Path], ...]
    reader: LooseReader

    def books(self) -> Iterator[tuple[str, BookKeys | MemleakError]]:
        """Each book's keys, or why there are none."""
        for name, path in self.files:
            try:
                keys = self.reader.keys(path)
            except MemleakError as error:
                yield name, error
            else:
                yield name, keys
