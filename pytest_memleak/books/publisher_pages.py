"""A publisher's own pages within a document, such as "How to Contact Us"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pytest_memleak.books.text_blocks import TextBlock

# A kind of matter.
HOUSE_PAGE = "publisher's page"

# They stand in all books of a house, so any model knows them.
_TITLE = re.compile(r"how to contact us|using code examples", re.IGNORECASE)
_LONGEST = 400  # words


def with_publisher_pages_marked(blocks: Sequence[TextBlock]) -> tuple[TextBlock, ...]:
    """Mark a document's sections under such titles as matter."""
    marked = list(blocks)
    for start, block in enumerate(blocks):
        if not _is_publisher_page_title(block):
            continue
        end = _end_of_section(blocks, start)
        section = blocks[start:end]
        if _words(section) > _LONGEST:
            continue
        for index, section_block in enumerate(section, start=start):
            if not section_block.matter:
                marked[index] = replace(section_block, matter=HOUSE_PAGE)
    return tuple(marked)


def _is_publisher_page_title(block: TextBlock) -> bool:
    text = block.text.strip()
    return block.level > 0 and _TITLE.fullmatch(text) is not None


def _end_of_section(blocks: Sequence[TextBlock], start: int) -> int:
    """Return where the next heading of the same or a higher level stands."""
    level = blocks[start].level
    for index in range(start + 1, len(blocks)):
        if 0 < blocks[index].level <= level:
            return index
    return len(blocks)


def _words(blocks: Sequence[TextBlock]) -> int:
    return sum(len(block.text.split()) for block in blocks)
