"""What the navigation document's landmarks, or EPUB 2's guide, say about whole documents."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from pytest_memleak.books.epub_semantics import APPARATUS, EPUB_TYPE, is_matter, terms
from pytest_memleak.books.events import parse_events
from pytest_memleak.books.text_decoding import read_source

# EPUB 2's names for what EPUB 3 calls otherwise. Its "text" is where to open the book: that is
# text, but often not the first of it.
_GUIDE_TYPES = {"notes": "endnotes", "other.endnotes": "endnotes"}


@dataclass(frozen=True, slots=True)
class Landmark:
    """A document of the archive and what a landmark calls it.

    `whole`: the landmark points to the document, not to a place in it.
    """

    document: str
    terms: frozenset[str]
    whole: bool


def navigation_landmarks(data: bytes, document: str) -> list[Landmark]:
    """The landmarks in the navigation document of that name."""
    finder = parse_events(read_source(data).text, _LandmarkFinder)
    folder = posixpath.dirname(document)
    return [_landmark(kind, href, folder) for kind, href in finder.links]


def guide_landmarks(guide: Iterable[Mapping[str, str | None]]) -> list[Landmark]:
    """The references of a package's guide, whose addresses are from the archive's root."""
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
    """Collects type and address of the links in `<nav epub:type="landmarks">`."""

    def __init__(self) -> None:
        self.links: list[tuple[str, str]] = []
        self._depth = 0  # how many elements deep in the landmarks

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


def outside_the_text(
    documents: Sequence[str], landmarks: Iterable[Landmark], *, declared_text: frozenset[str]
) -> frozenset[str]:
    """The documents, in reading order, that landmarks place before, after or beside the text.

    What a document in `declared_text` says of itself comes before what a landmark says of it.
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
