"""A catalog of books prepared for scanning: one file of word keys, and none of the books' text.

    sign (24 bytes) | keys of all books, 8 bytes each | table (JSON) | its length (8 bytes)

All numbers are little-endian. The table says how words were numbered, which is refused where it is
not as it is done today, and of each book where its keys are, their SHA-256, and which file it was
read from, with that file's SHA-256. The keys are read in place (memory-mapped), and checked by
their SHA-256 each time.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_memleak.errors import BookError
from pytest_memleak.scoring.catalog_scan import BookKeys, numbering

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.records import WordMode
    from pytest_memleak.scoring.word_hashes import Keys

_SIGN = b"memleak catalog, v1\n\n\n"
_LENGTH = 8
_KEY_BYTES = 8
_AGAIN = "build it again: memleak catalog build DIR -o FILE"


@dataclass(frozen=True, slots=True)
class PreparedBook:
    """A book in the file.

    source:  its file, from the catalog's folder; sha256: of that file's bytes (hexadecimal)
    words:   N; digest: of its words' keys
    exact, folded: first and number of its keys, as measured and folded
    keys_sha256: of the bytes of both
    """

    source: str
    sha256: str
    words: int
    digest: str
    exact: tuple[int, int]
    folded: tuple[int, int]
    keys_sha256: str

    @property
    def nbytes(self) -> int:
        """Bytes of its keys."""
        counts = {self.exact, self.folded}
        return sum(count for _, count in counts) * _KEY_BYTES


def is_catalog_file(path: Path) -> bool:
    """Whether the file begins as one of these does."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGN)) == _SIGN
    except OSError:
        return False


def write_catalog(
    path: Path, books: Iterable[tuple[Path, str, BookKeys]], *, mode: WordMode
) -> list[PreparedBook]:
    """Write the books, one after the other, with their file and its SHA-256; what was written.

    The file takes its name once it is whole; nobody but its owner may read it.
    """
    prepared: list[PreparedBook] = []
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_SIGN)
            written = 0
            for source, sha256, book in books:
                digest = hashlib.sha256()
                parts = [book.exact] if book.folded is book.exact else [book.exact, book.folded]
                places = []
                for keys in parts:
                    data = keys.astype("<u8").tobytes()
                    file.write(data)
                    digest.update(data)
                    places.append((written, len(keys)))
                    written += len(keys)
                relative = Path(os.path.relpath(source, path.parent)).as_posix()
                its = (relative, sha256, book.words, book.digest, places[0], places[-1])
                prepared.append(PreparedBook(*its, digest.hexdigest()))
            table = {
                "words": mode,
                "numbering": numbering(mode),
                "books": [dataclasses.asdict(book) for book in prepared],
            }
            data = json.dumps(table).encode()
            file.write(data + len(data).to_bytes(_LENGTH, "little"))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return prepared


class CatalogFile:
    """What `write_catalog` wrote; BookError where it is damaged, or another version wrote it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.mode, self.books, its_numbering = self._table()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BookError(
                f"it is no whole catalog file ({type(error).__name__})",
                location=str(path),
                hint=_AGAIN,
            ) from None
        if its_numbering != numbering(self.mode):
            raise BookError(
                "it was made by another version of memleak, which reads words in another way, so "
                "that some of them would not be found",
                location=str(path),
                hint=_AGAIN,
            )

    def source(self, book: PreparedBook) -> Path:
        """The file that the book was read from."""
        return Path(os.path.normpath(self.path.parent / book.source))

    def _table(self) -> tuple[WordMode, tuple[PreparedBook, ...], str]:
        with self.path.open("rb") as file:
            if file.read(len(_SIGN)) != _SIGN:
                raise ValueError("another kind of file")
            end = file.seek(-_LENGTH, os.SEEK_END)
            length = int.from_bytes(file.read(_LENGTH), "little")
            file.seek(end - length)
            table = json.loads(file.read(length))
        keys = (end - length - len(_SIGN)) // _KEY_BYTES
        books = tuple(_book(row) for row in table["books"])
        if table["words"] not in ("paper", "unicode") or any(
            first + count > keys for book in books for first, count in (book.exact, book.folded)
        ):
            raise ValueError("its table does not fit")
        return table["words"], books, table.get("numbering", "")


@dataclass(frozen=True, slots=True)
class Part:
    """Books of a catalog file, by the names that they have in a run: a shard of the library."""

    path: Path
    named: tuple[tuple[str, PreparedBook], ...]

    def books(self) -> Iterator[tuple[str, BookKeys]]:
        """Each book's keys. Raises BookError where they are not those that were written."""
        at = self.path.stat()
        keys = _keys(self.path, at.st_size, at.st_mtime_ns)
        for name, book in self.named:
            exact = keys[book.exact[0] : sum(book.exact)]
            folded = exact if book.folded == book.exact else keys[book.folded[0] : sum(book.folded)]
            digest = hashlib.sha256(exact.data)
            if folded is not exact:
                digest.update(folded.data)
            if digest.hexdigest() != book.keys_sha256:
                raise BookError(
                    f"the keys of {book.source!r} in it are damaged",
                    location=str(self.path),
                    hint=_AGAIN,
                )
            yield name, BookKeys(book.words, book.digest, exact, folded)


@functools.lru_cache(maxsize=8)
def _keys(path: Path, size: int, _changed: int) -> Keys:
    """All numbers of the file, which was last changed then; its table, too, as if it were some."""
    count = (size - len(_SIGN)) // _KEY_BYTES
    mapped: Keys = np.memmap(path, dtype="<u8", mode="r", offset=len(_SIGN), shape=(count,))
    return mapped.view(np.ndarray)


def _book(row: dict[str, Any]) -> PreparedBook:
    places = {name: (int(row[name][0]), int(row[name][1])) for name in ("exact", "folded")}
    return PreparedBook(**{**row, **places})
