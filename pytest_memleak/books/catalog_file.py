"""Catalog files: books prepared for scanning as word keys, without their text.

    sign (24 bytes) | keys of all books, 8 bytes each | table (JSON) | its length

All numbers are little-endian. The table has the numbering of words, which must match
this version's, and per book the position and SHA-256 of its keys, and the path and
SHA-256 of its file. Keys are memory-mapped and verified by their SHA-256 on each use.
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
from pytest_memleak.scoring.catalog_scan import digest_of_word_keys
from pytest_memleak.scoring.word_hashes import BookKeys
from pytest_memleak.scoring.words import installed_icu

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

    source:  its file, relative to the catalog's folder; sha256: of that file's bytes
    (hexadecimal)
    words:   N; digest: of its words' keys
    exact, folded: first and number of its keys, as measured and folded
    keys_sha256: SHA-256 of the bytes of both
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
        """Size of its keys in bytes."""
        counts = {self.exact, self.folded}
        return sum(count for _, count in counts) * _KEY_BYTES


def is_catalog_file(path: Path) -> bool:
    """Whether the file begins with the sign of a catalog file."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGN)) == _SIGN
    except OSError:
        return False


def write_catalog(
    path: Path,
    books: Iterable[tuple[Path, str, BookKeys]],
    *,
    mode: WordMode,
) -> list[PreparedBook]:
    """Write the books, each with its file and its SHA-256, and return their entries.

    The write is atomic, and only the owner can read the file.
    """
    prepared: list[PreparedBook] = []
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(beside, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_SIGN)
            written = 0
            icu = None
            for source, sha256, book in books:
                digest = hashlib.sha256()
                icu = icu or book.icu
                parts = [book.exact]
                if book.folded is not book.exact:
                    parts.append(book.folded)
                places = []
                for keys in parts:
                    data = keys.astype("<u8").tobytes()
                    file.write(data)
                    digest.update(data)
                    places.append((written, len(keys)))
                    written += len(keys)
                relative = os.path.relpath(source, path.parent)
                fields = (
                    Path(relative).as_posix(),
                    sha256,
                    book.words,
                    book.digest,
                    places[0],
                    places[-1],
                )
                prepared.append(PreparedBook(*fields, digest.hexdigest()))
            table = {
                "words": mode,
                "numbering": digest_of_word_keys(mode),
                "icu": icu,
                "books": [dataclasses.asdict(book) for book in prepared],
            }
            data = json.dumps(table).encode()
            file.write(data + len(data).to_bytes(_LENGTH, "little"))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return prepared


class CatalogFile:
    """A file of `write_catalog`.

    Raises BookError if it is damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.mode, self.books, file_numbering, icu = self._table()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BookError(
                f"not a complete catalog file ({type(error).__name__})",
                location=str(path),
                hint=_AGAIN,
            ) from None
        if file_numbering != digest_of_word_keys(self.mode) or icu not in (
            None,
            installed_icu(),
        ):
            raise BookError(
                "built by a version of memleak or ICU that reads words differently, "
                "so some passages would be missed",
                location=str(path),
                hint=_AGAIN,
            )

    def source(self, book: PreparedBook) -> Path:
        """Return the file that the book was read from."""
        return Path(os.path.normpath(self.path.parent / book.source))

    def keys(
        self,
        named: Iterable[tuple[str, PreparedBook]],
    ) -> Iterator[tuple[str, BookKeys]]:
        """Yield the keys of some books, by names. Raises BookError for damaged ones."""
        at = self.path.stat()
        keys = _keys(self.path, at.st_size, at.st_mtime_ns)
        for name, book in named:
            exact = keys[book.exact[0] : sum(book.exact)]
            folded = exact
            digest = hashlib.sha256(exact.data)
            if book.folded != book.exact:
                folded = keys[book.folded[0] : sum(book.folded)]
                digest.update(folded.data)
            if digest.hexdigest() != book.keys_sha256:
                raise BookError(
                    f"the word hashes of {book.source!r} are damaged",
                    location=str(self.path),
                    hint=_AGAIN,
                )
            yield (
                name,
                BookKeys(
                    words=book.words,
                    digest=book.digest,
                    exact=exact,
                    folded=folded,
                ),
            )

    def _table(self) -> tuple[WordMode, tuple[PreparedBook, ...], str, str | None]:
        with self.path.open("rb") as file:
            if file.read(len(_SIGN)) != _SIGN:
                raise ValueError("not a catalog file")
            end = file.seek(-_LENGTH, os.SEEK_END)
            length = int.from_bytes(file.read(_LENGTH), "little")
            file.seek(end - length)
            table = json.loads(file.read(length))
        keys = (end - length - len(_SIGN)) // _KEY_BYTES
        books = tuple(_book(row) for row in table["books"])
        if table["words"] not in ("paper", "unicode"):
            raise ValueError("its table doesn't match")
        for book in books:
            end_of_book = max(sum(book.exact), sum(book.folded))
            if end_of_book > keys:
                raise ValueError("its table doesn't match")
        mode = table["words"]
        book_numbering = table.get("numbering", "")
        return mode, books, book_numbering, table.get("icu")


@functools.lru_cache(maxsize=8)
def _keys(
    path: Path,
    size: int,
    _changed: int,
) -> Keys:
    """Map the file as numbers, its table included; a changed file misses the cache."""
    count = (size - len(_SIGN)) // _KEY_BYTES
    mapped: Keys = np.memmap(
        path,
        dtype="<u8",
        mode="r",
        offset=len(_SIGN),
        shape=(count,),
    )
    return mapped.view(np.ndarray)


def _book(row: dict[str, Any]) -> PreparedBook:
    places = {}
    for name in ("exact", "folded"):
        first = int(row[name][0])
        length = int(row[name][1])
        places[name] = (first, length)
    return PreparedBook(**{**row, **places})
