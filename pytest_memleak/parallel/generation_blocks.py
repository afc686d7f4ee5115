"""Generations in blocks, as they travel between processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.records import Generation, Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Block = list[tuple[str, int, str, int]]  # excerpt id, ordinal, text, origin

# Characters of a block: some five hundred generations of 400 words.
_BLOCK = 1_000_000


def blocks(generations: Iterable[Generation]) -> Iterator[Block]:
    """The generations, in their order, in blocks of about a million characters."""
    block: Block = []
    length = 0
    for one in generations:
        block.append((one.excerpt_id, one.ordinal, one.text, one.origin.value))
        length += len(one.text)
        if length >= _BLOCK:
            yield block
            block, length = [], 0
    if block:
        yield block


def generations_of(block: Block) -> Iterator[Generation]:
    """The generations of a block: what scoring needs of them."""
    return (
        Generation(excerpt_id, ordinal, text, origin=Origin(origin))
        for excerpt_id, ordinal, text, origin in block
    )
