"""Files of another format under a text's name: what they hold would be measured as if it was words.

refuse_other_formats(data, place="book.txt")
"""

from __future__ import annotations

import re

from pytest_memleak.errors import BookError

_CALIBRE = "convert it with Calibre, if it is without DRM: ebook-convert FILE.mobi FILE.epub"
_CONVERT = "save it as .docx or .txt, or convert it: soffice --convert-to {} FILE"
# Where each begins, after white space, or at a byte of its own.
_BEGINNINGS = (
    (None, b"pk\x03\x04", "a zip", "name the file as what it is: .epub, .docx or .zip"),
    (None, b"%pdf-", "PDF", "name the file .pdf"),
    (None, b"{\\rtf", "RTF", _CONVERT.format("txt:Text")),
    (None, b"\xd0\xcf\x11\xe0", "an old Office document", _CONVERT.format("docx")),
    (None, b"\x1f\x8b\x08", "a gzip", "unpack it"),
    (60, b"bookmobi", "a Kindle book", _CALIBRE),
)
_MARKS = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, and white space

_PREAMBLE = 1_000
_PAGE = re.compile(
    r"\ufeff?\s*(?:<!--(?:[^-]|-(?!->)){0,900}-->\s*)?(?:<!doctype html|<html|<\?xml)",
    re.IGNORECASE,
)
# Tags that part lines and paragraphs, and that nobody writes in a text.
_MARKUP = re.compile(r"<(?:br|/p|/div|/span)\s*/?>", re.IGNORECASE)


def refuse_other_formats(data: bytes, *, place: str) -> None:
    """Raise BookError, naming `place`, where the bytes begin as no text, page or Markdown does."""
    beginning = data[:_PREAMBLE].lower()
    for place_of, magic, kind, hint in _BEGINNINGS:
        start = beginning.lstrip(_MARKS) if place_of is None else beginning[place_of:]
        if start.startswith(magic):
            raise BookError(f"is {kind}, not text", location=place, hint=hint)


def refuse_markup(text: str, *, place: str) -> None:
    """Raise BookError for text with tags in it, which would part it where no answer does."""
    if _MARKUP.search(text):
        raise BookError(
            "is HTML, not plain text",
            location=place,
            hint="take the tags out, or give each work as a file .html",
        )


def refuse_pages(text: str, *, place: str) -> None:
    """Raise BookError for HTML under the name of plain text."""
    if _PAGE.match(text[:_PREAMBLE]):
        raise BookError("is HTML, not plain text", location=place, hint="name the file .html")
