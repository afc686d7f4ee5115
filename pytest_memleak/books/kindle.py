"""Kindle books (MOBI, AZW, AZW3), unpacked by `mobi` in the parser's own process."""

from __future__ import annotations

import base64
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_memleak.books.archive import Budget, read_bytes
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.parser_subprocess import parse_in_subprocess
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript

_NO_KINDLE = "check that it is a MOBI or AZW3 file"

# The database's kind; the number of its first record's place; the encryption there.
_KIND = slice(60, 68)
_FIRST_RECORD = 78
_ENCRYPTION = 12
_KFX_DRM = b"\xeaDRMION\xee"


def read_kindle(
    path: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Manuscript:
    """Read a Kindle book as the EPUB that it was made from.

    Raises BookError as `read_epub` does, for another format, for DRM, and for a file
    that takes too much time or memory.
    """
    place = str(path)
    data = read_bytes(path)
    _validate_kindle_without_drm(data, place)
    [packed] = parse_in_subprocess(
        "mobi",
        data,
        budget=Budget(place),
        of="bytes of markup",
    )
    with tempfile.TemporaryDirectory() as folder:
        epub = Path(folder, f"{path.stem}.epub")
        epub.write_bytes(base64.b64decode(packed))
        try:
            return read_epub(epub, include=include, exclude=exclude)
        except BookError as error:
            raise BookError(error.message, location=place, hint=error.hint) from None


def _validate_kindle_without_drm(data: bytes, place: str) -> None:
    """Raise BookError for DRM, and for what isn't a Kindle book of these formats."""
    if data.startswith(_KFX_DRM) or _is_encrypted(data):
        raise BookError(
            "is protected by DRM: Amazon's",
            location=place,
            hint="use a copy without DRM",
        )
    if data[_KIND] != b"BOOKMOBI":
        raise BookError("isn't a Kindle book", location=place, hint=_NO_KINDLE)


def _is_encrypted(data: bytes) -> bool:
    if data[_KIND] != b"BOOKMOBI" or len(data) < _FIRST_RECORD + 4:
        return False
    (first,) = struct.unpack_from(">L", data, _FIRST_RECORD)
    at = first + _ENCRYPTION
    return at + 2 <= len(data) and data[at : at + 2] != b"\0\0"
