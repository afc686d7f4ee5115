"""Copyright notices and Project Gutenberg's license, marked among blocks of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from pytest_memleak.books.boilerplate import (
    find_notices,
    notices_in_paragraph,
    without_license,
)
from pytest_memleak.books.sentences import sentences
from pytest_memleak.books.text_blocks import TextBlock
from pytest_memleak.scoring.words import words

# Kinds of matter.
NOTICE = "copyright notice"
LICENSE = "license"

_Blocks = tuple[TextBlock, ...]


def with_notices_marked(blocks: Sequence[TextBlock]) -> _Blocks:
    """Return a document's blocks, of which copyright notices are matter."""
    notices = find_notices([block.text for block in blocks])
    marked: list[TextBlock] = []
    for block, is_notice in zip(blocks, notices, strict=True):
        if is_notice and not block.matter:
            block = replace(block, matter=NOTICE)  # noqa: PLW2901
        marked.append(block)
    return tuple(marked)


# In the middle of a chapter, a sentence only sounds like a notice.
_EDGE_OF_BOOK = 1_000  # words
_EDGE_OF_DOCUMENT = 3  # paragraphs


def with_notices_at_ends_marked(documents: Sequence[_Blocks]) -> list[_Blocks]:
    """Mark copyright notices at the ends of a book and of each of its documents.

    documents: the blocks of all documents of the book, in order; one that is mostly a
    notice has notices anywhere
    """
    texts: list[str] = []
    for blocks in documents:
        texts += (block.text for block in blocks)
    at_ends = iter(_are_at_ends(texts))
    result: list[_Blocks] = []
    for blocks in documents:
        marked = with_notices_marked(blocks)
        is_mostly_notice = _is_mostly_notice(marked)
        document: list[TextBlock] = []
        for block, candidate in zip(blocks, marked, strict=True):
            position = len(document)
            is_at_end = next(at_ends) or _is_at_end(position, len(blocks))
            document.append(candidate if is_at_end or is_mostly_notice else block)
        result.append(tuple(document))
    return result


def _is_mostly_notice(blocks: Sequence[TextBlock]) -> bool:
    total = 0
    in_notices = 0
    for block in blocks:
        words_of_block = len(block.text.split())
        total += words_of_block
        if block.matter == NOTICE:
            in_notices += words_of_block
    return 2 * in_notices >= total


def _is_at_end(position: int, count: int) -> bool:
    """Whether a paragraph is among the first or last of a document's `count`."""
    return position < _EDGE_OF_DOCUMENT or position >= count - _EDGE_OF_DOCUMENT


def _are_at_ends(paragraphs: Sequence[str]) -> list[bool]:
    """Return which paragraphs lie in the first or last 1,000 words."""
    sizes = [len(text.split()) for text in paragraphs]
    total = sum(sizes)
    at_ends: list[bool] = []
    before = 0
    for size in sizes:
        is_at_start = before < _EDGE_OF_BOOK
        before += size
        at_ends.append(is_at_start or before > total - _EDGE_OF_BOOK)
    return at_ends


def with_notices_split(blocks: Sequence[TextBlock]) -> _Blocks:
    """Split blocks that are marked as notices, so that only the notice is matter."""
    pieces: list[TextBlock] = []
    for block in blocks:
        if block.matter == NOTICE:
            pieces += _split_notice(block.text)
        else:
            pieces.append(block)
    return tuple(pieces)


def _split_notice(text: str, *, prose: bool = True) -> list[TextBlock]:
    """Split a stanza into lines or, in prose, a paragraph into sentences."""
    pieces = text.split("\n")
    joint = "\n"
    if prose and len(pieces) == 1:
        pieces = sentences(text)
        joint = " "
    marked = zip(pieces, notices_in_paragraph(pieces), strict=True)
    blocks: list[TextBlock] = []
    for is_notice, group in groupby(marked, key=itemgetter(1)):
        joined = joint.join(piece for piece, _ in group)
        matter = NOTICE if is_notice else ""
        blocks.append(TextBlock(joined, matter=matter))
    return blocks


def without_notices(
    paragraphs: Sequence[str],
    *,
    lines: bool,
) -> tuple[tuple[str, ...], int]:
    """Remove copyright notices from loose paragraphs, and count the words removed.

    lines: the paragraphs are verse; in prose a notice may be a single sentence. Words
    of any script count.
    """
    kept: list[str] = []
    removed = 0
    document = tuple(map(TextBlock, paragraphs))
    [marked] = with_notices_at_ends_marked([document])
    for block in marked:
        if not block.matter:
            kept.append(block.text)
            continue
        for piece in _split_notice(block.text, prose=not lines):
            if piece.matter:
                removed += len(words(piece.text, "unicode"))
            else:
                kept.append(piece.text)
    return tuple(kept), removed


def with_license_marked(documents: Sequence[_Blocks]) -> list[_Blocks]:
    """Mark Project Gutenberg's license around the text of a book's documents."""
    texts: list[str] = []
    for blocks in documents:
        texts += (block.text for block in blocks if not block.matter)
    remaining = iter(without_license(texts))
    marked: list[_Blocks] = []
    for blocks in documents:
        document: list[TextBlock] = []
        for block in blocks:
            if block.matter:
                document.append(block)
            else:
                document.append(_with_text(block, next(remaining)))
        marked.append(tuple(document))
    return marked


def _with_text(block: TextBlock, text: str) -> TextBlock:
    if not text:
        return replace(block, matter=LICENSE)
    return replace(block, text=text)
