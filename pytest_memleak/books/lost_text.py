"""What parsers would leave out of a file's XML: they enter more of it, and lost text is an error.

data, parts = enter_elements("docx", data)
reject_lost_text("docx", parts, html, parser="mammoth")
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from html import unescape

from pytest_memleak.errors import BookError

# Elements that a parser skips with their text, one that it enters, and glosses.
_ENTERED = {
    "docx": (rb"ruby|rubyBase|fldSimple|bdo|dir", rb"smartTag", rb"rt"),
    "odt": (rb"ruby|ruby-base", rb"span", rb"ruby-text"),
}
_PARTS = re.compile(r"content\.xml|word/(?:document|footnotes|endnotes)\.xml")
_BODIES = ("{*}body", "{*}footnotes", "{*}endnotes")
_PARAGRAPHS = {"p", "h", "v"}
_SVG = "{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_NO_TEXT = (
    "{*}moveFrom", "{*}tracked-changes", "{*}table-of-content",
    f"{_OFFICE}annotation", f"{_SVG}title", f"{_SVG}desc",
)  # fmt: skip

_TAG = re.compile("<[^>]*>")
_MOST_LOST = 100
_FEWEST_OF_PLACE = 8


def enter_elements(name: str, data: bytes) -> tuple[bytes, list[bytes]]:
    """Return a zip whose parser enters elements that it would skip, and its parts with text."""
    skipped, entered, gloss = _ENTERED[name]
    parts, copy = [], io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(copy, "w") as target:
        for member in source.namelist():
            part = source.read(member)
            if _PARTS.fullmatch(member):
                part = re.sub(rb"(?s)<(\w+:%b)[\s>].*?</\1>" % gloss, b"", part)
                part = re.sub(rb"<(/?\w+:)(?:%b)(?=[\s/>])" % skipped, rb"<\1" + entered, part)
                parts.append(part)
            target.writestr(member, part)
    return copy.getvalue(), parts


def reject_lost_text(name: str, parts: Sequence[bytes], html: str, *, parser: str) -> None:
    """Raise BookError if the HTML lacks more than 100 letters of the XML it was parsed from."""
    output = _letters(unescape(_TAG.sub("", html.partition("<body>")[2] or html)))
    source = [numbered for part in parts for numbered in _texts(part, only_t=name == "docx")]
    letters = Counter(letter for _, text in source for letter in text)
    lost = (letters - Counter(output)).total()
    if lost > _MOST_LOST:
        place = next(
            (
                f", as in paragraph {number} of its XML"
                for number, text in source
                if len(text) >= _FEWEST_OF_PLACE and text not in output
            ),
            "",
        )
        raise BookError(
            f"{parser} leaves out {lost:,} letters of this file's text{place}",
            hint="move text out of text boxes, shapes, tables, and unused notes, or convert it to "
            "EPUB",
        )


def _texts(part: bytes, *, only_t: bool) -> Iterator[tuple[int, str]]:
    """Yield the letters of each piece of text, with the number of its paragraph."""
    from lxml import etree

    root = etree.fromstring(part, etree.XMLParser(resolve_entities=False, recover=True))
    etree.strip_elements(root, *_NO_TEXT, with_tail=False)
    for fallback in root.iterfind(".//{*}AlternateContent/{*}Fallback"):
        if fallback.find(".//{*}t") is not None:
            etree.strip_elements(fallback.getparent(), "{*}Choice")
    number = 0
    for body in root.iter(*_BODIES):
        for element in body.iter("*"):
            kind = etree.QName(element).localname
            number += kind in _PARAGRAPHS
            if not only_t:
                yield number, _letters(element.text or "")
                yield number, _letters(element.tail or "")
            elif kind == "t":
                yield number, _letters(element.text or "")


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))
