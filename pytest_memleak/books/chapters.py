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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_memleak.books.text_blocks import Entry, TextBlock
from pytest_memleak.books.text_decoding import (
    letters_and_digits,
)
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter

if TYPE_CHECKING:
    pass

_MOST_TITLE_PARTS = 3
_LONGEST_TITLE = 200

# More headings in a row are text in a heading's markup.
_MOST_HEADINGS_IN_A_ROW = 8

_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def build_chapters(
    documents: Mapping[str, Sequence[TextBlock]],
    *,
    title: str | None,
) -> Iterator[Chapter]:
    """Yield the chapters of a book called `title` from its documents' blocks."""
    headings: list[TextBlock] = []
    paragraphs: list[str] = []
    names: dict[str, None] = {}
    for name, document in documents.items():
        of_this_document = False
        for block in _without_heading_runs(document):
            if not block.level:
                names[name] = None
                paragraphs.append(block.text)
                continue
            if paragraphs:
                yield _chapter(headings, paragraphs, title, names)
                paragraphs = []
                names = {}
                above = []
                if of_this_document:
                    above = _headings_above(headings, block.level)
                headings = above
            headings.append(block)
            of_this_document = True
    if paragraphs:
        yield _chapter(headings, paragraphs, title, names)


def _chapter(
    headings: Sequence[TextBlock],
    paragraphs: Sequence[str],
    book: str | None,
    names: Iterable[str],
) -> Chapter:
    title = _title_from_headings(headings, book)
    return Chapter(title, tuple(paragraphs), tuple(names))


def _headings_above(headings: Iterable[TextBlock], level: int) -> list[TextBlock]:
    return [heading for heading in headings if heading.level < level]


def _without_heading_runs(document: Sequence[TextBlock]) -> Iterator[TextBlock]:
    for is_heading, run in groupby(document, key=lambda block: block.level > 0):
        blocks = list(run)
        if is_heading and len(blocks) > _MOST_HEADINGS_IN_A_ROW:
            blocks = [TextBlock(block.text) for block in blocks]
        yield from blocks


def _title_from_headings(headings: Sequence[TextBlock], book: str | None) -> str | None:
    texts = [heading.text.replace("\n", " ") for heading in headings]
    # The book's own title doesn't distinguish its chapters.
    book_letters = letters_and_digits(book or "")
    own = [text for text in texts if letters_and_digits(text) != book_letters]
    parts = own or texts
    title = ": ".join(parts[-_MOST_TITLE_PARTS:])
    return title[:_LONGEST_TITLE] or None


def validate_has_words(
    chapters: Sequence[Chapter],
    *,
    place: str,
    hint: str,
) -> None:
    """Raise BookError if no chapter has a letter or a digit."""
    paragraphs = (paragraph for chapter in chapters for paragraph in chapter.paragraphs)
    if not any(map(_LETTER_OR_DIGIT.search, paragraphs)):
        raise BookError("contains no words", location=place, hint=hint)


# --- titles of the table of contents
# ------------------------------------------------------

# With so many chapters, none of more than this share of the letters, the table of
# contents is complete.
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


def with_contents_titles(
    documents: Sequence[Document],
    entries: Sequence[Entry],
) -> list[tuple[TextBlock, ...]]:
    """Insert the titles of `entries` into the documents' blocks.

    A heading with the same words stays; another heading is replaced, and paragraphs
    that only repeat the title are dropped. If the table is fine enough, other headings
    open no chapter.
    """
    by_document: dict[str, list[Entry]] = {}
    for entry in entries:
        by_document.setdefault(entry.document, []).append(entry)
    titled = []
    for document in documents:
        own_entries = by_document.get(document.name, ())
        titled.append(_marked_with_titles(document, own_entries))
    return _with_unlisted_headings_as_matter(titled)


# A block, and whether it is a heading in the table of contents.
_MarkedBlock = tuple[TextBlock, bool]


def _marked_with_titles(
    document: Document, entries: Sequence[Entry]
) -> list[_MarkedBlock]:
    entries_at: dict[int, list[Entry]] = {}
    for entry in entries:
        index = document.places.get(entry.place) if entry.place else 0
        if index is not None:
            entries_at.setdefault(index, []).append(entry)
    blocks = document.blocks
    marked: list[_MarkedBlock] = []
    position = 0
    for index in sorted(entries_at):
        before = blocks[position:index]
        marked += [(block, False) for block in before]
        start = max(index, position)
        headings, position = _title_headings(blocks, start, entries_at[index])
        marked += [(heading, True) for heading in headings]
    rest = blocks[position:]
    marked += [(block, False) for block in rest]
    return marked


def _title_headings(
    blocks: Sequence[TextBlock],
    index: int,
    entries: Sequence[Entry],
) -> tuple[list[TextBlock], int]:
    """Return the headings for these entries, and the index of the block after them."""
    end = _end_of_headings(blocks, index)
    existing = list(blocks[index:end])
    existing_text = "".join(block.text for block in existing)
    seen = letters_and_digits(existing_text)
    if seen and _are_letters_of_titles(seen, entries):
        return existing, end
    if index < len(blocks) and blocks[index].matter:
        return [], index
    level = existing[0].level if existing else 0
    headings: list[TextBlock] = []
    for number, entry in enumerate(entries):
        own_level = level + number or entry.depth
        headings.append(TextBlock(entry.title, min(own_level, _DEEPEST)))
    last = letters_and_digits(entries[-1].title)
    rest = last.replace(seen, "", 1) if seen else last
    return headings, _end_of_title(blocks, end, rest)


def _end_of_headings(blocks: Sequence[TextBlock], start: int) -> int:
    """Return the end of the headings from `start` on that are no matter."""
    end = start
    while end < len(blocks):
        block = blocks[end]
        if not block.level or block.matter:
            break
        end += 1
    return end


def _are_letters_of_titles(letters: str, entries: Sequence[Entry]) -> bool:
    """Whether headings with these letters have the titles, or one of them."""
    titles = [letters_and_digits(entry.title) for entry in entries]
    all_titles = "".join(titles)
    if all_titles in letters:
        return True
    return any(title in letters for title in titles)


def _end_of_title(
    blocks: Sequence[TextBlock],
    start: int,
    title: str,
) -> int:
    """Return the end of the paragraphs that only repeat a title of these letters."""
    end = start
    for block in blocks[start : start + _MOST_TITLE_PARAGRAPHS]:
        letters = letters_and_digits(block.text)
        is_long = len(block.text.split()) > _LONGEST_TITLE_PARAGRAPH
        if block.matter or is_long or not letters or letters not in title:
            break
        title = title.replace(letters, "", 1)
        end += 1
    return end


def _with_unlisted_headings_as_matter(
    documents: Sequence[Sequence[_MarkedBlock]],
) -> list[tuple[TextBlock, ...]]:
    """Mark headings that open no chapter as matter, if the contents are fine enough."""
    chapters = _chapters_of_blocks(documents)
    sizes = _chapter_sizes(documents, chapters)
    largest = _LARGEST_SHARE * sizes.total()
    # 0 is before the first chapter.
    is_fine = len(sizes.keys() - {0}) >= _FEWEST_CHAPTERS
    result: list[tuple[TextBlock, ...]] = []
    for document, numbers in zip(documents, chapters, strict=True):
        is_listed = any(named for _, named in document)
        blocks = [block for block, _ in document]
        for position, number in enumerate(numbers):
            is_small = sizes[number] <= largest
            may_drop = is_fine and is_listed and is_small
            if may_drop and _is_unlisted_heading(document, position):
                unlisted = replace(blocks[position], matter=_UNLISTED)
                blocks[position] = unlisted
        result.append(tuple(blocks))
    return result


_UNLISTED = "heading that the table of contents doesn't list"


def _is_unlisted_heading(document: Sequence[_MarkedBlock], position: int) -> bool:
    """Whether a heading isn't in the contents, nor below another one."""
    block, named = document[position]
    if named or block.matter or not block.level:
        return False
    if position == 0:
        return False
    block_before, _ = document[position - 1]
    return not block_before.level


def _chapters_of_blocks(
    documents: Sequence[Sequence[_MarkedBlock]],
) -> list[list[int]]:
    """Return the number of each block's chapter; 0 is before the first."""
    last = 0
    chapters: list[list[int]] = []
    for document in documents:
        numbers: list[int] = []
        for position, (block, named) in enumerate(document):
            if named or (block.level and position == 0):
                last += 1
            numbers.append(last)
        chapters.append(numbers)
    return chapters


def _chapter_sizes(
    documents: Sequence[Sequence[_MarkedBlock]],
    chapters: Sequence[Sequence[int]],
) -> Counter[int]:
    """Return the number of characters of text in each chapter that has any."""
    sizes: Counter[int] = Counter()
    for document, numbers in zip(documents, chapters, strict=True):
        for (block, _), number in zip(document, numbers, strict=True):
            if not block.level and not block.matter:
                sizes[number] += len(block.text)
    return sizes
