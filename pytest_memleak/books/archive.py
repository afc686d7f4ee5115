"""Zip archives such as EPUBs, rejected if they look hostile, and plain files.

`Budget` caps the size of a book, checked before each step of reading it.
"""

from __future__ import annotations

import hashlib
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
from typing import Literal

from pytest_memleak.errors import BookError, file_errors

MAX_DOCUMENT_BYTES = 64 << 20
MAX_TOTAL_BYTES = 512 << 20

# In memory, a zip's directory takes about ten times its size.
_MAX_TABLE_BYTES = 16 << 20

_ENCRYPTED = 0x1
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class Archive:
    """A validated zip's members by name; `find` ignores case and Unicode form."""

    def __init__(self, members: zipfile.ZipFile, place: str) -> None:
        self._zip = members
        self.place = place
        self._members = {
            posixpath.normpath(
                _with_forward_slashes(info.filename)
            ): info  # no `./` or `//`
            for info in members.infolist()
            if not info.is_dir()
        }
        self._folded = {_folded_name(name): name for name in self._members}

    @property
    def names(self) -> tuple[str, ...]:
        """All members' names, in the order of the zip's directory."""
        return tuple(self._members)

    def find(self, name: str) -> str | None:
        """Return the zip's own spelling of `name`, or None."""
        return name if name in self._members else self._folded.get(_folded_name(name))

    def read(self, name: str, *, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
        """Read a member's bytes.

        Raises BookError for more than `limit` bytes or damage, KeyError for an unknown
        name.
        """
        info = self._members[name]
        if info.file_size > limit:
            raise BookError(
                f"{name!r} has {info.file_size:,} bytes decompressed; the maximum is "
                f"{limit:,}",
                location=self.place,
                hint="the file is damaged or hostile: no document in a real book is "
                "this large; use a different edition",
            )
        try:
            with self._zip.open(info) as member:
                # The stream may be longer than its stated size.
                return member.read(max(info.file_size, 1))
        except _DAMAGE as error:
            raise BookError(
                f"{name!r} is damaged: {_cause(error)}",
                location=self.place,
                hint="download the file again: this copy may be incomplete",
            ) from None


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip and validate it before decompressing anything.

    Raises BookError, naming the file and the reason: a directory, not a zip, a damaged
    directory, a path outside the zip, a password, a compression that EPUB doesn't
    allow, or more than
    512 MiB in total.
    """
    place = str(path)
    with file_errors(BookError, place):
        _validate_nonempty_file(path)
        stream = path.open("rb")
    with stream, _open_zip_directory(stream, place) as members:
        _validate_members(members.infolist(), place)
        yield Archive(members, place)


def _open_zip_directory(stream: io.BufferedReader, place: str) -> zipfile.ZipFile:
    start = stream.read(4)
    guarded = _SizeGuardedFile(stream, place)
    try:
        try:  # not every writer marks names that are UTF-8
            members = zipfile.ZipFile(guarded, metadata_encoding="utf-8")
        except UnicodeDecodeError:
            members = zipfile.ZipFile(guarded)
    except _DAMAGE as error:
        looks_right = start.startswith(b"PK")
        raise BookError(
            f"the zip is damaged or truncated: {_cause(error)}"
            if looks_right
            else "isn't a zip file, so it can't be an EPUB",
            location=place,
            hint="download the file again"
            if looks_right
            else "give it the extension of what it is: .txt, .html, .md, or .pdf",
        ) from None
    guarded.limit = None
    return members


class _SizeGuardedFile:
    """A file object that rejects a zip directory too large for memory."""

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
                f"the zip's directory has {size:,} bytes; the maximum is "
                f"{self.limit:,}",
                location=self._place,
                hint="the file is damaged or hostile: a book has far fewer files; use "
                "a different edition",
            )
        return self._stream.read(size)


def _validate_members(members: list[zipfile.ZipInfo], place: str) -> None:
    for info in members:
        name = _with_forward_slashes(info.filename)
        if ".." in name.split("/") or name.startswith("/") or _DRIVE.match(name):
            raise outside_zip_error(info.filename, place)
        if info.flag_bits & _ENCRYPTED:
            raise BookError(
                f"{name!r} is password-protected",
                location=place,
                hint="unlock the zip first",
            )
        if info.compress_type not in _COMPRESSIONS:
            raise BookError(
                f"{name!r} uses compression method {info.compress_type};"
                " EPUB allows 0 (stored) and 8 (deflated)",
                location=place,
                hint="zip the book again with deflate",
            )
    total = sum(info.file_size for info in members)
    if total > MAX_TOTAL_BYTES:
        raise BookError(
            f"the zip has {total:,} bytes decompressed; the maximum is "
            f"{MAX_TOTAL_BYTES:,}",
            location=place,
            hint="remove audio and video; if it has none, the file is hostile",
        )


def outside_zip_error(path: str, place: str) -> BookError:
    """Return the error for a path that leads outside the zip."""
    return BookError(
        f"the path {path!r} points outside the zip",
        location=place,
        hint="the file is hostile: no EPUB has such paths; use a different edition",
    )


def _with_forward_slashes(name: str) -> str:
    return name.replace("\\", "/")


def _folded_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _cause(error: Exception) -> str:
    # zipfile's messages may quote a member's name, but no text of the book.
    return str(error) or type(error).__name__


def read_bytes(path: Path) -> bytes:
    """Read a file's bytes.

    Raises BookError for a missing or empty file, and for over 64 MiB.
    """
    place = str(path)
    with file_errors(BookError, place):
        _validate_nonempty_file(path)
        size = path.stat().st_size
        if size > MAX_DOCUMENT_BYTES:
            raise BookError(
                f"has {size:,} bytes; the maximum is {MAX_DOCUMENT_BYTES:,}",
                location=place,
                hint="a book is far smaller; if this is a collection, split it into "
                "one file per book",
            )
        return path.read_bytes()


def sha256_of(path: Path) -> str | None:
    """Return the SHA-256 of a file (hexadecimal); None where it can't be read."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _validate_nonempty_file(path: Path) -> None:
    if path.is_dir():
        raise BookError(
            "is a folder; expected a file",
            location=str(path),
            hint="if it is an unpacked EPUB, zip it",
        )
    if path.exists() and not path.is_file():
        raise BookError(
            "is a device or a pipe; expected a file",
            location=str(path),
            hint="copy its content to a file, and name that",
        )
    if not path.stat().st_size:
        raise BookError("is empty", location=str(path), hint="download the file again")


# Every step of reading and cutting takes time proportional to these amounts, so they
# cap the cost of hostile files.
Amount = Literal["characters of text", "paragraphs", "lines", "tags", "bytes of markup"]

MAX_CHARACTERS = 20_000_000
MAX_TAGS = 2_000_000

_MOST: dict[Amount, int] = {
    "characters of text": MAX_CHARACTERS,
    "paragraphs": 300_000,
    "lines": 1_000_000,
    "tags": MAX_TAGS,
    "bytes of markup": 64 << 20,
}


class Budget:
    """The amounts that may still be read of the file `place`."""

    def __init__(self, place: str | None = None) -> None:
        self.place = place
        self._left = dict(_MOST)

    def left(self, what: Amount) -> int:
        """Return the amount that may still be read."""
        return self._left[what]

    def allow(self, amount: int, what: Amount) -> None:
        """Raise BookError if `amount` exceeds what is left."""
        if amount > self._left[what]:
            raise BookError(
                f"exceeds the maximum of {_MOST[what]:,} {what} per book",
                location=self.place,
                hint="if this is a collection, split it into one file per book (the "
                "longest novels have ten million characters)",
            )

    def spend(self, amount: int, what: Amount) -> None:
        """Subtract `amount` from what is left. Raises BookError if it is more."""
        self.allow(amount, what)
        self._left[what] -= amount
