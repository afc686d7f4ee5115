"""Blocks of text to chapters.

A heading opens a chapter, whatever its level, and is its title: it is no part of the book's
words, as editions differ in their headings while the text beneath them is the same. Headings
with no text between them are one title ("Part Two: The Sea-Cook: Chapter 7"); one that stands
within another's text, in one document, is named after it. A document without a heading goes on
with the chapter before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from pytest_memleak.books.html_blocks import Block
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter

_MOST_TITLE_PARTS = 3
_LONGEST_TITLE = 200

# So many headings in a row are a text that someone set in heading's type.
_MOST_HEADINGS_IN_A_ROW = 8

_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def assemble(documents: Iterable[Sequence[Block]], *, title: str | None) -> tuple[Chapter, ...]:
    """The chapters of a book called `title`, from its documents' blocks in reading order."""
    return tuple(_chapters(documents, title))


def _chapters(documents: Iterable[Sequence[Block]], title: str | None) -> Iterator[Chapter]:
    headings: list[Block] = []
    paragraphs: list[str] = []
    for document in documents:
        of_this_document = False
        for block in _believable(document):
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


def _believable(document: Sequence[Block]) -> Iterator[Block]:
    for is_heading, run in groupby(document, key=lambda block: block.level > 0):
        blocks = list(run)
        if is_heading and len(blocks) > _MOST_HEADINGS_IN_A_ROW:
            blocks = [Block(block.text) for block in blocks]
        yield from blocks


def _title(headings: Sequence[Block], book: str | None) -> str | None:
    texts = [heading.text.replace("\n", " ") for heading in headings]
    # The book's own title above its chapters says nothing about where one is.
    parts = [text for text in texts if _letters(text) != _letters(book or "")] or texts
    return ": ".join(parts[-_MOST_TITLE_PARTS:])[:_LONGEST_TITLE] or None


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def require_words(chapters: Sequence[Chapter], *, place: str, hint: str) -> None:
    """Raise BookError where no chapter has a letter or a digit."""
    for chapter in chapters:
        for paragraph in chapter.paragraphs:
            if _LETTER_OR_DIGIT.search(paragraph):
                return
    raise BookError("there are no words in it", location=place, hint=hint)
