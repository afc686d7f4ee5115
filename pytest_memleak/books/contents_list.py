"""Lists of contents within a text: runs of short blocks that repeat later headings.

    documents = with_contents_marked(documents)

A model that writes "Chapter 1, Chapter 2, ..." would otherwise reproduce such a list.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pytest_memleak.books.boilerplate import matter_kind_of_title
from pytest_memleak.books.text_blocks import TextBlock
from pytest_memleak.books.text_decoding import letters_and_digits

# A kind of matter.
CONTENTS = "contents"

_FEWEST_ENTRIES = 5
_LONGEST_ENTRY = 30  # words

# Longer entries are sentences that a book repeats.
_MOST_WORDS_ON_AVERAGE = 10

_PAGE_NUMBER = re.compile(r"(?<![\s.·…])[\s.·…]++(?:\d{1,4}|[ivxlc]{1,6})\s*$")

# Headings in a row, such as "Book First" and "Chapter I", of so many letters in all.
_LONGEST_ROW = 300

_Blocks = tuple[TextBlock, ...]


def with_contents_marked(documents: Sequence[_Blocks]) -> list[_Blocks]:
    """Mark lists of contents as matter, each with the heading "Contents" before it.

    A list is a run of five or more blocks that each repeat a heading behind the run, in
    the order of these headings. A single block between two lists belongs to them.
    """
    blocks: list[TextBlock] = []
    for document in documents:
        blocks += document
    for run in _contents_lists(blocks):
        for index in range(_start_with_title(blocks, run.start), run.stop):
            if not blocks[index].matter:
                blocks[index] = replace(blocks[index], matter=CONTENTS)
    remaining = iter(blocks)
    return [tuple(next(remaining) for _ in document) for document in documents]


def _start_with_title(blocks: Sequence[TextBlock], start: int) -> int:
    """Return the start of a list, or of the title "Contents" before it."""
    if start and matter_kind_of_title(blocks[start - 1].text) == CONTENTS:
        return start - 1
    return start


@dataclass(slots=True)
class _Run:
    """Consecutive blocks that repeat headings in their order.

    start:   number of the first block
    words:   of each block
    targets: numbers of the headings that they repeat
    """

    start: int
    words: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Number of the block behind the run."""
        return self.start + len(self.targets)

    def is_list(self) -> bool:
        """Whether the run is a list of contents."""
        count = len(self.targets)
        if count < _FEWEST_ENTRIES or self.targets[0] < self.end:
            return False
        return sum(self.words) <= _MOST_WORDS_ON_AVERAGE * count


def _contents_lists(blocks: Sequence[TextBlock]) -> list[range]:
    """Return the numbers of the blocks of each list of contents."""
    places = _places_of_headings(blocks)
    lists: list[range] = []
    run = _Run(0)
    for index, block in enumerate(blocks):
        last = run.targets[-1] if run.targets else 0
        target = _next_repeated_heading(block.text, places, max(index, last))
        if target is None:
            if run.is_list():
                start = run.start
                # A single block between two lists is an entry that differs.
                if lists and lists[-1].stop == start - 1:
                    start = lists.pop().start
                lists.append(range(start, run.end))
            run = _Run(index + 1)
        else:
            run.words.append(len(block.text.split()))
            run.targets.append(target)
    return lists


def _next_repeated_heading(
    text: str,
    places: dict[str, list[int]],
    after: int,
) -> int | None:
    """Return the first heading behind the block `after` that a text repeats."""
    if len(text.split()) > _LONGEST_ENTRY:
        return None
    targets: list[int] = []
    for entry in (text, _PAGE_NUMBER.sub("", text)):
        of_entry = places.get(letters_and_digits(entry), [])
        position = bisect_right(of_entry, after)
        targets += of_entry[position : position + 1]
    return min(targets, default=None)


def _places_of_headings(blocks: Sequence[TextBlock]) -> dict[str, list[int]]:
    """Map the letters of each heading, and of headings in a row, to their places."""
    places: dict[str, list[int]] = {}
    row = ""
    for index, block in enumerate(blocks):
        if not block.level or block.matter:
            row = ""
            continue
        letters = letters_and_digits(block.text)
        row = (row + letters)[:_LONGEST_ROW]
        for key in {letters, row}:
            places.setdefault(key, []).append(index)
    places.pop("", None)
    return places
