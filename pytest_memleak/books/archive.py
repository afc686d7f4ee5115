"""The zip an EPUB is: everything that could hurt is refused before a byte is inflated."""

from __future__ import annotations

import io
import posixpath
import re
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_memleak.errors import BookError

MAX_DOCUMENT_BYTES = 64 << 20
MAX_TOTAL_BYTES = 512 << 20

# The zip's table of contents is held in memory as objects some ten times its size.
_MAX_TABLE_BYTES = 16 << 20

_ENCRYPTED = 0x1
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    ValueError,
)


class Archive:
    """The members of a checked zip, by name; names differing in case or Unicode form are found."""

    def __init__(self, members: zipfile.ZipFile, place: str) -> None:
        self._zip = members
        self.place = place
        self._members = {
            _plain(info.filename): info for info in members.infolist() if not info.is_dir()
        }
        self._folded = {_fold(name): name for name in self._members}

    @property
    def names(self) -> tuple[str, ...]:
        """Every member's name, in the order of the zip's table."""
        return tuple(self._members)

    def find(self, name: str) -> str | None:
        """The name the zip has for `name`, or None."""
        return name if name in self._members else self._folded.get(_fold(name))

    def read(self, name: str, *, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
        """A member's bytes.

        Raises BookError where they are more than `limit` or damaged; KeyError without such one.
        """
        info = self._members[name]
        if info.file_size > limit:
            raise BookError(
                f"{name!r} has {info.file_size:,} bytes once inflated;"
                f" the most that is read is {limit:,}",
                location=self.place,
                hint="a document of a book is far smaller: the file is damaged or hostile",
            )
        try:
            with self._zip.open(info) as member:
                # Never more than the size that was checked, whatever the stream goes on to hold.
                return member.read(max(info.file_size, 1))
        except _DAMAGE as error:
            raise BookError(
                f"{name!r} is damaged: {_cause(error)}",
                location=self.place,
                hint="get the file again; it may have been cut short on its way",
            ) from None


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip and check it before anything of it is inflated.

    Raises BookError, naming the file and the reason: a directory, no zip, a damaged table, a
    path that leads out of the zip, a password, a compression that EPUB does not have, or more
    than 512 MiB in all.
    """
    place = str(path)
    if path.is_dir():
        raise BookError(
            "is a directory; expected a file",
            location=place,
            hint="an unpacked EPUB is read once it is zipped again",
        )
    if path.exists() and not path.is_file():
        raise BookError("is a device or a pipe; expected a file", location=place)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise BookError(f"cannot be read: {error.strerror or error}", location=place) from None
    with stream, _open_table(stream, place) as members:
        _check(members.infolist(), place)
        yield Archive(members, place)


def _open_table(stream: io.BufferedReader, place: str) -> zipfile.ZipFile:
    start = stream.read(4)
    if not start:
        raise BookError("is empty", location=place, hint="get the file again")
    guarded = _Guarded(stream, place)
    try:
        members = zipfile.ZipFile(guarded)
    except _DAMAGE as error:
        looks_right = start.startswith(b"PK")
        raise BookError(
            f"the zip is damaged or cut short: {_cause(error)}"
            if looks_right
            else "is not a zip file, which every EPUB is",
            location=place,
            hint="get the file again" if looks_right else "is it a book of another format?",
        ) from None
    guarded.limit = None
    return members


class _Guarded:
    """A file that refuses to read a table of contents too long to hold."""

    def __init__(self, stream: io.BufferedReader, place: str) -> None:
        self._stream = stream
        self._place = place
        self.limit: int | None = _MAX_TABLE_BYTES
        self.seek = stream.seek
        self.tell = stream.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.limit is not None and size > self.limit:
            raise BookError(
                f"the zip's table of contents has {size:,} bytes;"
                f" the most that is read is {self.limit:,}",
                location=self._place,
                hint="a book has far fewer files: the file is damaged or hostile",
            )
        return self._stream.read(size)


def _check(members: list[zipfile.ZipInfo], place: str) -> None:
    for info in members:
        name = _slashes(info.filename)
        if ".." in name.split("/") or name.startswith("/") or _DRIVE.match(name):
            raise BookError(
                f"the zip has the path {info.filename!r}, which leads out of it",
                location=place,
                hint="no EPUB has such paths: the file is hostile",
            )
        if info.flag_bits & _ENCRYPTED:
            raise BookError(
                f"{name!r} is locked with a password", location=place, hint="unlock the zip first"
            )
        if info.compress_type not in _COMPRESSIONS:
            raise BookError(
                f"{name!r} is compressed by method {info.compress_type};"
                " EPUB allows 0 (stored) and 8 (deflated)",
                location=place,
                hint="zip the book again with deflate",
            )
    total = sum(info.file_size for info in members)
    if total > MAX_TOTAL_BYTES:
        raise BookError(
            f"the zip has {total:,} bytes once inflated;"
            f" the most that is read is {MAX_TOTAL_BYTES:,}",
            location=place,
            hint="a book is far smaller: the file is hostile, or leave out its sound and film",
        )


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _plain(name: str) -> str:
    """A member's path without `./`, `//` and backslashes."""
    return posixpath.normpath(_slashes(name))


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _cause(error: Exception) -> str:
    # zipfile's own words may quote a member's name, which is no text of the book.
    return str(error) or type(error).__name__


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Raises BookError for no file, an empty one, and one over 64 MiB."""
    place = str(path)
    try:
        if path.exists() and not path.is_file():
            raise BookError("is a directory or a device; expected a file", location=place)
        size = path.stat().st_size
        if not size:
            raise BookError("is empty", location=place, hint="get the file again")
        if size > MAX_DOCUMENT_BYTES:
            raise BookError(
                f"has {size:,} bytes; the most that is read is {MAX_DOCUMENT_BYTES:,}",
                location=place,
                hint="a book is far smaller; split a collection into its books",
            )
        return path.read_bytes()
    except OSError as error:
        raise BookError(f"cannot be read: {error.strerror or error}", location=place) from None
