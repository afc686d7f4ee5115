"""The small XML files that describe an EPUB: container, package, encryption."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_memleak.books.text_decoding import read_source
from pytest_memleak.errors import BookError

if TYPE_CHECKING:
    from lxml.etree import _Element

    from pytest_memleak.books.archive import Archive

# A package of 20,000 items has some 3 MB. The tree takes some twenty times the file.
_MAX_BYTES = 16 << 20

# References to halves of characters (D800 to DFFF), which libxml2 takes for text that is none.
_SURROGATE = re.compile(
    r"&#(?:x0*d[89a-f][0-9a-f]{2}|0*5(?:529[6-9]|5[3-9]\d\d|6\d{3}|7[0-2]\d\d|73[0-3]\d|734[0-3]))(?=;)",
    re.IGNORECASE,
)


def parse_member(archive: Archive, name: str) -> _Element:
    """The root of a small XML file, as far as it can be read. Raises BookError if it cannot."""
    from lxml import etree

    text = _SURROGATE.sub("&#xFFFD", read_source(archive.read(name, limit=_MAX_BYTES)).text)
    parser = etree.XMLParser(
        recover=True,
        resolve_entities=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
        # Not `huge_tree`: no such file is deeper than libxml2 lets it be without.
    )
    try:
        root = etree.fromstring(text.encode("utf-8"), parser)
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        raise BookError(f"{name!r} is not XML", location=archive.place, hint="is it an EPUB?")
    return root


def elements(root: _Element, name: str) -> Iterator[_Element]:
    """Descendants of that local name, in whatever namespace real files put them."""
    return root.iter(f"{{*}}{name}", f"{{*}}{name.capitalize()}")
