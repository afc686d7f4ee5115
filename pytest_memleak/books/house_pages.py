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


def with_house_pages_marked(blocks: Sequence[TextBlock]) -> tuple[TextBlock, ...]:
    """Mark a document's sections under such titles as matter."""
    marked = list(blocks)
    for start, block in enumerate(blocks):
        if not block.level or not _TITLE.fullmatch(block.text.strip()):
            continue
        end = _end_of_section(blocks, start)
        if _words(blocks[start:end]) > _LONGEST:
            continue
        for index in range(start, end):
            if not marked[index].matter:
                marked[index] = replace(marked[index], matter=HOUSE_PAGE)
    return tuple(marked)


def _end_of_section(blocks: Sequence[TextBlock], start: int) -> int:
    """Return where the next heading of the same or a higher level stands."""
    for index in range(start + 1, len(blocks)):
        if 0 < blocks[index].level <= blocks[start].level:
            return index
    return len(blocks)


def _words(blocks: Sequence[TextBlock]) -> int:
    return sum(len(block.text.split()) for block in blocks)
