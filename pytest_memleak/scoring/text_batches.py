"""Texts in batches that are fast to read together, perhaps with their words."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from pytest_memleak.records import Generation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_memleak.scoring.word_hashes import Keyed

T = TypeVar("T")

# Texts per batch: at most so many, and about so many characters.
_TEXTS_TOGETHER = 1 << 12
_CHARACTERS_TOGETHER = 1 << 20


class Batch(NamedTuple):
    """Generations of one origin; words: of their texts, where these have been read."""

    generations: Sequence[Generation]
    words: Keyed | None = None


def in_batches(generations: Iterable[Generation | Batch]) -> Iterator[Batch]:
    """Yield generations of one origin in batches; batches stay as they are."""
    for kind, alike in groupby(generations, _origin_or_batch):
        if kind is Batch:
            yield from cast("Iterator[Batch]", alike)
        else:
            one_by_one = cast("Iterator[Generation]", alike)
            for batch in batches_of(
                one_by_one,
                lambda generation: len(generation.text),
            ):
                yield Batch(batch)


def _origin_or_batch(part: Generation | Batch) -> object:
    return part.origin if isinstance(part, Generation) else Batch


def batches_of(items: Iterable[T], length_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield items in batches that are fast to match together.

    length_of: an item's characters
    """
    batch: list[T] = []
    left = _CHARACTERS_TOGETHER
    for item in items:
        batch.append(item)
        left -= length_of(item)
        if left <= 0 or len(batch) >= _TEXTS_TOGETHER:
            yield batch
            batch = []
            left = _CHARACTERS_TOGETHER
    if batch:
        yield batch
