"""The table of contents: EPUB 3's navigation document, or EPUB 2's NCX."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from pytest_memleak.books.epub_semantics import EPUB_TYPE
from pytest_memleak.books.events import EventTarget, parse_events
from pytest_memleak.books.text_decoding import legible, read_source

_LONGEST_TITLE = 200
_MOST_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the table of contents: where it leads, what it says, how deep it stands (from 1).

    `place` is the id it leads to within the document, `""` for the document itself.
    """

    document: str
    place: str
    title: str
    depth: int


def navigation_contents(data: bytes, document: str) -> list[Entry]:
    """The entries of `<nav epub:type="toc">` in the navigation document of that name."""
    return _entries(data, document, _NavigationReader)


def ncx_contents(data: bytes, document: str) -> list[Entry]:
    """The entries of the NCX of that name."""
    return _entries(data, document, _NcxReader)


def _entries(data: bytes, document: str, reader: Callable[[], _Reader]) -> list[Entry]:
    folder = posixpath.dirname(document)
    entries = []
    for address, title, depth in parse_events(read_source(data).text, reader).links:
        path, _, place = address.partition("#")
        name = posixpath.normpath(posixpath.join(folder, unquote(path))) if path else document
        text = " ".join(legible(title).split())[:_LONGEST_TITLE]
        if text:
            entries.append(Entry(name, unquote(place), text, max(depth, 1)))
    return entries[:_MOST_ENTRIES]


def _name(tag: str) -> str:
    return tag.rpartition("}")[2].rpartition(":")[2].lower()


class _Reader(EventTarget, Protocol):
    """Collects addresses, titles and depths."""

    links: list[tuple[str, str, int]]


class _NavigationReader:
    def __init__(self) -> None:
        self.links: list[tuple[str, str, int]] = []
        self._within = 0  # how many elements deep in the table
        self._depth = 0
        self._address: str | None = None
        self._title: list[str] = []

    def start(self, tag: str, attributes: Mapping[str, str], /) -> None:
        name = _name(tag)
        if not self._within:
            kind = next((attributes[key] for key in EPUB_TYPE if key in attributes), "")
            kinds = {*kind.split(), (attributes.get("role") or "").removeprefix("doc-")}
            self._within = 1 if name == "nav" and "toc" in kinds else 0
            return
        self._within += 1
        if name in {"ol", "ul"}:
            self._depth += 1
        elif name == "a":
            self._address, self._title = attributes.get("href"), []

    def end(self, tag: str, /) -> None:
        if not self._within:
            return
        self._within -= 1
        name = _name(tag)
        if name in {"ol", "ul"}:
            self._depth -= 1
        elif name == "a" and self._address is not None:
            self.links.append((self._address, "".join(self._title), self._depth))
            self._address = None

    def data(self, text: str, /) -> None:
        if self._address is not None:
            self._title.append(text)

    def close(self) -> None:
        pass


class _NcxReader:
    def __init__(self) -> None:
        self.links: list[tuple[str, str, int]] = []
        self._titles: list[list[str]] = []  # of the points that are open
        self._in_text = False

    def start(self, tag: str, attributes: Mapping[str, str], /) -> None:
        name = _name(tag)
        if name == "navpoint":
            self._titles.append([])
        elif name == "text":
            self._in_text = True
        elif name == "content" and self._titles:
            title = "".join(self._titles[-1])
            self.links.append((attributes.get("src") or "", title, len(self._titles)))

    def end(self, tag: str, /) -> None:
        name = _name(tag)
        if name == "navpoint" and self._titles:
            self._titles.pop()
        elif name == "text":
            self._in_text = False

    def data(self, text: str, /) -> None:
        if self._in_text and self._titles:
            self._titles[-1].append(text)

    def close(self) -> None:
        pass
