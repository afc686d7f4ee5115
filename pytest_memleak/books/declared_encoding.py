"""Plain text in an encoding that the suite declares."""

from __future__ import annotations

import codecs

from pytest_memleak.books.text_decoding import standard_codec
from pytest_memleak.errors import BookError


def as_utf8(
    data: bytes,
    encoding: str,
    *,
    place: str,
) -> bytes:
    """Return text in that encoding as UTF-8 with a byte order mark.

    Raises BookError, naming `place`, for an unknown encoding, and for bytes that it
    doesn't define.
    """
    try:
        text = data.decode(standard_codec(encoding).name)
    except LookupError:
        raise BookError(
            f"encoding {encoding[:40]!r} is unknown",
            location=place,
            hint="use a name such as windows-1251, shift_jis, gb18030, or koi8-r",
        ) from None
    except UnicodeError as error:
        start = f" from byte {error.start:,} on" if hasattr(error, "start") else ""
        raise BookError(
            f"isn't in the encoding {encoding[:40]!r}{start}",
            location=place,
            hint="state the encoding in which the file was saved",
        ) from None
    mark = codecs.BOM_UTF8
    return mark + text.removeprefix("\ufeff").encode("utf-8", "surrogatepass")
