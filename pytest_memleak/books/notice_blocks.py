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
from pytest_memleak.books.text_blocks import Markup, TextBlock
from pytest_memleak.scoring.words import words

# Kinds of matter.
NOTICE = "copyright notice"
LICENSE = "license"

_Blocks = tuple[TextBlock, ...]


def with_notices_marked(markup: Markup) -> _Blocks:
    """Return a document's blocks, of which copyright notices are matter."""
    blocks = markup.everything
    notices = find_notices([block.text for block in blocks])
    marked: list[TextBlock] = []
    for block, is_notice in zip(blocks, notices, strict=True):
        if is_notice and not block.matter:
            block = replace(block, matter=NOTICE)  # noqa: PLW2901
        marked.append(block)
    return tuple(marked)


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
    pieces, joint = text.split("\n"), "\n"
    if prose and len(pieces) == 1:
        pieces, joint = sentences(text), " "
    marked = zip(pieces, notices_in_paragraph(pieces), strict=True)
    blocks: list[TextBlock] = []
    for is_notice, group in groupby(marked, key=itemgetter(1)):
        joined = joint.join(piece for piece, _ in group)
        blocks.append(TextBlock(joined, matter=NOTICE if is_notice else ""))
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
    for text, is_notice in zip(paragraphs, find_notices(paragraphs), strict=True):
        if not is_notice:
            kept.append(text)
            continue
        for piece in _split_notice(text, prose=not lines):
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
