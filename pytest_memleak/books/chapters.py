"""Chapters from blocks of text, with titles from headings or the table of contents.

A heading of any level opens a chapter and is its title. It doesn't count as text,
because editions with the same text differ in their headings. Headings without text
between them form one title ("Part Two: The Sea-Cook: Chapter 7"); a heading beneath
another in the same document includes its title. A document without a heading continues
the chapter before it. The table of contents is in an EPUB's navigation document or,
failing that, in its NCX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING

from pytest_memleak.books.html_attributes import EPUB_TYPE, terms
from pytest_memleak.books.text_blocks import Entry, TextBlock, locate
from pytest_memleak.books.text_decoding import (
    elements,
    legible,
    letters_and_digits,
    parse_xml,
)
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter

if TYPE_CHECKING:
    from lxml.etree import _Element

_MOST_TITLE_PARTS = 3
_LONGEST_TITLE = 200

# More headings in a row are text in a heading's markup.
_MOST_HEADINGS_IN_A_ROW = 8

_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def build_chapters(
    documents: Iterable[Sequence[TextBlock]], *, title: str | None
) -> Iterator[Chapter]:
    """Yield the chapters of a book called `title` from its documents' blocks in reading order."""
    headings: list[TextBlock] = []
    paragraphs: list[str] = []
    for document in documents:
        of_this_document = False
        for block in _without_heading_runs(document):
            if not block.level:
                paragraphs.append(block.text)
                continue
            if paragraphs:
                yield Chapter(_title(headings, title), tuple(paragraphs))
                paragraphs = []
                headings = [
                    heading
                    for heading in headings
                    if of_this_document and heading.level < block.level
                ]
            headings.append(block)
            of_this_document = True
    if paragraphs:
        yield Chapter(_title(headings, title), tuple(paragraphs))


def _without_heading_runs(document: Sequence[TextBlock]) -> Iterator[TextBlock]:
    for is_heading, run in groupby(document, key=lambda block: block.level > 0):
        blocks = list(run)
        if is_heading and len(blocks) > _MOST_HEADINGS_IN_A_ROW:
            blocks = [TextBlock(block.text) for block in blocks]
        yield from blocks


def _title(headings: Sequence[TextBlock], book: str | None) -> str | None:
    texts = [heading.text.replace("\n", " ") for heading in headings]
    # The book's own title doesn't distinguish its chapters.
    parts = [
        text
        for text in texts
        if letters_and_digits(text) != letters_and_digits(book or "")
    ] or texts
    return ": ".join(parts[-_MOST_TITLE_PARTS:])[:_LONGEST_TITLE] or None


def require_words(chapters: Sequence[Chapter], *, place: str, hint: str) -> None:
    """Raise BookError if no chapter has a letter or a digit."""
    paragraphs = (paragraph for chapter in chapters for paragraph in chapter.paragraphs)
    if not any(map(_LETTER_OR_DIGIT.search, paragraphs)):
        raise BookError("contains no words", location=place, hint=hint)


# --- the table of contents
# ----------------------------------------------------------------

_MOST_ENTRIES = 20_000


def navigation_entries(data: bytes, document: str, kind: str) -> list[Entry]:
    """Read the entries of each `<nav>` of that kind, "toc" or "landmarks", in `document`."""
    return _entries(_navigation_links(parse_xml(data), kind), document)


def ncx_entries(data: bytes, document: str) -> list[Entry]:
    """Read the entries of the NCX `document`."""
    return _entries(_ncx_links(parse_xml(data)), document)


# Address, title, depth, and `epub:type`.
_Link = tuple[str, str, int, str]


def _navigation_links(root: _Element | None, kind: str) -> Iterator[_Link]:
    for nav in elements(root, "nav"):
        if kind in terms(_epub_type(nav), nav.get("role")):
            for link in elements(nav, "a"):
                depth = sum(1 for _ in link.iterancestors("{*}ol", "{*}ul"))
                title = "".join(map(str, link.itertext()))
                if (address := link.get("href")) is not None:
                    yield address, title, depth, _epub_type(link)


def _epub_type(element: _Element) -> str:
    return next((element.get(key) for key in EPUB_TYPE if element.get(key)), None) or ""


def _ncx_links(root: _Element | None) -> Iterator[_Link]:
    for point in elements(root, "navPoint"):
        content, label = point.find("{*}content"), point.find("{*}navLabel")
        if content is not None:
            title = "" if label is None else "".join(map(str, label.itertext()))
            depth = 1 + sum(1 for _ in point.iterancestors("{*}navPoint"))
            yield content.get("src") or "", title, depth, ""


def _entries(links: Iterable[_Link], document: str) -> list[Entry]:
    entries = []
    for address, title, depth, kinds in islice(links, _MOST_ENTRIES):
        text = " ".join(legible(title).split())[:_LONGEST_TITLE]
        if text or kinds:
            name, place = locate(address, document)
            entries.append(Entry(name, place, text, max(depth, 1), terms(kinds)))
    return entries


# --- titles of the table of contents
# ------------------------------------------------------

# With so many chapters, none of more than this share of the letters, the table is
# complete.
_FEWEST_CHAPTERS = 3
_LARGEST_SHARE = 1 / 3

_MOST_TITLE_PARAGRAPHS = 4
_LONGEST_TITLE_PARAGRAPH = 15
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Document:
    """A document's blocks, and the places in it that the table of contents links to."""

    name: str
    blocks: tuple[TextBlock, ...]
    places: Mapping[str, int]


def with_titles(
    documents: Sequence[Document], entries: Sequence[Entry]
) -> list[tuple[TextBlock, ...]]:
    """Insert the titles of `entries` into the documents' blocks.

    A heading with the same words stays; another heading is replaced, and paragraphs
    that only repeat the title are dropped. If the table is fine enough, other headings
    open no chapter.
    """
    by_document: dict[str, list[Entry]] = {}
    for entry in entries:
        by_document.setdefault(entry.document, []).append(entry)
    titled = [
        _titled(document, by_document.get(document.name, ())) for document in documents
    ]
    return _without_unnamed(titled)


def _titled(
    document: Document, entries: Sequence[Entry]
) -> list[tuple[TextBlock, bool]]:
    """Return the blocks, each with whether it is a heading in the table of contents."""
    at: dict[int, list[Entry]] = {}
    for entry in entries:
        index = document.places.get(entry.place) if entry.place else 0
        if index is not None:
            at.setdefault(index, []).append(entry)
    marked: list[tuple[TextBlock, bool]] = []
    position = 0
    for index in sorted(at):
        marked += [(block, False) for block in document.blocks[position:index]]
        named, position = _title_headings(
            document.blocks, max(index, position), at[index]
        )
        marked += [(block, True) for block in named]
    return marked + [(block, False) for block in document.blocks[position:]]


def _title_headings(
    blocks: Sequence[TextBlock], index: int, entries: Sequence[Entry]
) -> tuple[list[TextBlock], int]:
    """Return the headings for these entries, and the index of the block after them."""
    end = index
    while end < len(blocks) and blocks[end].level and not blocks[end].matter:
        end += 1
    existing = list(blocks[index:end])
    title = letters_and_digits("".join(entry.title for entry in entries))
    seen = letters_and_digits("".join(block.text for block in existing))
    if seen and (
        title in seen
        or any(letters_and_digits(entry.title) in seen for entry in entries)
    ):
        return existing, end
    if index < len(blocks) and blocks[index].matter:
        return [], index
    level = existing[0].level if existing else 0
    headings = [
        TextBlock(entry.title, min(level + number or entry.depth, _DEEPEST))
        for number, entry in enumerate(entries)
    ]
    last = letters_and_digits(entries[-1].title)
    rest = last.replace(seen, "", 1) if seen else last
    for _ in range(_MOST_TITLE_PARAGRAPHS):
        if end >= len(blocks) or blocks[end].matter:
            break
        text = letters_and_digits(blocks[end].text)
        if (
            not text
            or text not in rest
            or len(blocks[end].text.split()) > _LONGEST_TITLE_PARAGRAPH
        ):
            break
        rest = rest.replace(text, "", 1)
        end += 1
    return headings, end


def _without_unnamed(
    documents: Sequence[Sequence[tuple[TextBlock, bool]]],
) -> list[tuple[TextBlock, ...]]:
    sizes, chapter = [0], 0
    chapters: list[list[int]] = []
    for document in documents:
        chapters.append([])
        for position, (block, named) in enumerate(document):
            if named or (block.level and position == 0):
                sizes.append(0)
                chapter = len(sizes) - 1
            sizes[chapter] += 0 if block.level or block.matter else len(block.text)
            chapters[-1].append(chapter)
    largest = _LARGEST_SHARE * sum(sizes)
    fine = sum(size > 0 for size in sizes[1:]) >= _FEWEST_CHAPTERS
    return [
        tuple(
            replace(block, matter="heading that the table of contents doesn't list")
            if fine
            and block.level
            and not (named or block.matter)
            and position
            and not document[position - 1][0].level
            and any(is_named for _, is_named in document)
            and sizes[chapter] <= largest
            else block
            for position, ((block, named), chapter) in enumerate(
                zip(document, of_document, strict=True)
            )
        )
        for document, of_document in zip(documents, chapters, strict=True)
    ]
