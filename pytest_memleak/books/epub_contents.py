"""The table of contents of an EPUB: its navigation document, or an NCX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from pytest_memleak.books.html_attributes import EPUB_TYPE, terms
from pytest_memleak.books.text_blocks import Entry, locate
from pytest_memleak.books.text_decoding import elements, legible, parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element

_LONGEST_TITLE = 200
_MOST_ENTRIES = 20_000


def navigation_entries(
    data: bytes,
    document: str,
    kind: str,
) -> list[Entry]:
    """Read the entries of each `<nav>` of that kind, "toc" or "landmarks"."""
    return _entries(_navigation_links(parse_xml(data), kind), document)


def ncx_entries(data: bytes, document: str) -> list[Entry]:
    """Read the entries of the NCX `document`."""
    return _entries(_ncx_links(parse_xml(data)), document)


# Address, title, depth, and `epub:type`.
_Link = tuple[str, str, int, str]


def _navigation_links(root: _Element | None, kind: str) -> Iterator[_Link]:
    for nav in elements(root, "nav"):
        kinds_of_nav = terms(_epub_type(nav), nav.get("role"))
        if kind not in kinds_of_nav:
            continue
        for link in elements(nav, "a"):
            address = link.get("href")
            if address is not None:
                title = "".join(map(str, link.itertext()))
                depth = sum(1 for _ in link.iterancestors("{*}ol", "{*}ul"))
                yield address, title, depth, _epub_type(link)


def _epub_type(element: _Element) -> str:
    for key in EPUB_TYPE:
        kinds = element.get(key)
        if kinds:
            return kinds
    return ""


def _ncx_links(root: _Element | None) -> Iterator[_Link]:
    for point in elements(root, "navPoint"):
        content = point.find("{*}content")
        label = point.find("{*}navLabel")
        if content is None:
            continue
        title = ""
        if label is not None:
            title = "".join(map(str, label.itertext()))
        points_around = sum(1 for _ in point.iterancestors("{*}navPoint"))
        address = content.get("src") or ""
        yield address, title, points_around + 1, ""


def _entries(links: Iterable[_Link], document: str) -> list[Entry]:
    entries = []
    for address, title, depth, kinds in islice(links, _MOST_ENTRIES):
        one_line = " ".join(legible(title).split())
        text = one_line[:_LONGEST_TITLE]
        if not text and not kinds:
            continue
        name, place = locate(address, document)
        entry = Entry(
            document=name,
            place=place,
            title=text,
            depth=max(depth, 1),
            terms=terms(kinds),
        )
        entries.append(entry)
    return entries
