"""The navigation of an EPUB: table of contents and landmarks, or EPUB 2's NCX and guide."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from pytest_memleak.books.html_attributes import APPARATUS, EPUB_TYPE, is_matter, terms
from pytest_memleak.books.text_decoding import EventTarget, legible, parse_events, read_source

_LONGEST_TITLE = 200
_MOST_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the table of contents: target, title, depth (from 1).

    `place` is the target's id within the document, `""` for the document itself.
    """

    document: str
    place: str
    title: str
    depth: int


def navigation_contents(data: bytes, document: str) -> list[Entry]:
    """Read the entries of `<nav epub:type="toc">` in the navigation document `document`."""
    return _entries(data, document, _NavigationReader)


def ncx_contents(data: bytes, document: str) -> list[Entry]:
    """Read the entries of the NCX `document`."""
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
    """A parser target that collects addresses, titles and depths."""

    links: list[tuple[str, str, int]]


class _NavigationReader:
    def __init__(self) -> None:
        self.links: list[tuple[str, str, int]] = []
        self._within = 0  # depth within the table
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
        self._titles: list[list[str]] = []  # titles of the open points
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


# --- landmarks ----------------------------------------------------------------------------

# EPUB 2's terms that differ from EPUB 3's. Its "text" is where to open the book, which often isn't
# the beginning of the text.
_GUIDE_TYPES = {"notes": "endnotes", "other.endnotes": "endnotes"}


@dataclass(frozen=True, slots=True)
class Landmark:
    """A document of the archive and its terms in a landmark.

    `whole`: the landmark points to the document, not to a place in it.
    """

    document: str
    terms: frozenset[str]
    whole: bool


def navigation_landmarks(data: bytes, document: str) -> list[Landmark]:
    """Read the landmarks of the navigation document `document`."""
    finder = parse_events(read_source(data).text, _LandmarkFinder)
    folder = posixpath.dirname(document)
    return [_landmark(kind, href, folder) for kind, href in finder.links]


def guide_landmarks(guide: Iterable[Mapping[str, str | None]]) -> list[Landmark]:
    """Return the references of a package's guide, whose addresses start at the archive's root."""
    return [
        _landmark(_GUIDE_TYPES.get(kind, kind), reference.get("href") or "", "")
        for reference in guide
        if (kind := (reference.get("type") or "").strip().lower()) not in {"", "bodymatter"}
    ]


def _landmark(kind: str, href: str, folder: str) -> Landmark:
    path, _, fragment = href.partition("#")
    document = posixpath.normpath(posixpath.join(folder, unquote(path)))
    return Landmark(document, terms(kind), whole=not fragment)


class _LandmarkFinder:
    """A parser target that collects type and address of links in `<nav epub:type="landmarks">`."""

    def __init__(self) -> None:
        self.links: list[tuple[str, str]] = []
        self._depth = 0  # depth within the landmarks

    def start(self, _tag: str, attributes: Mapping[str, str], /) -> None:
        kind = next((attributes[name] for name in EPUB_TYPE if name in attributes), "")
        if self._depth:
            self._depth += 1
            if kind and "href" in attributes:
                self.links.append((kind, attributes["href"]))
        elif "landmarks" in kind.split():
            self._depth = 1

    def end(self, _tag: str, /) -> None:
        if self._depth:
            self._depth -= 1

    def data(self, text: str, /) -> None:
        pass

    def close(self) -> None:
        pass


def documents_outside_text(
    documents: Sequence[str], landmarks: Iterable[Landmark], *, declared_text: frozenset[str]
) -> frozenset[str]:
    """Return the documents that landmarks place before, after or outside the text.

    A document in `declared_text` declares itself text, which overrides landmarks. `documents` are
    in reading order.
    """
    order = {name: position for position, name in enumerate(documents)}
    first, end = 0, len(documents)
    outside: set[str] = set()
    for mark in landmarks:
        position = order.get(mark.document)
        if position is None:
            continue
        if "bodymatter" in mark.terms:
            first = first or position
        elif "backmatter" in mark.terms:
            end = min(end, position if mark.whole else position + 1)
        if mark.whole and (is_matter(mark.terms, within=None) or mark.terms & APPARATUS):
            outside.add(mark.document)
    outside |= {*documents[:first], *documents[end:]}
    return frozenset(outside) - declared_text
