"""A book's prose: its commonest words and word pairs, which tell an answer from noise.

See docs/suite.md, Answers. Prose shares its commonest words with any other of its
language, in an order that reversing or shuffling destroys.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import nsmallest
from itertools import chain, pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, WordMode

COMMONEST = 100
"""The number of commonest words, and of commonest pairs, that are compared."""

FORWARD = 1
REVERSED = 2

_T = TypeVar("_T", str, tuple[str, str])

_FEWEST_WORDS = 400
_FEWEST_WORDS_FOR_PAIRS = 2_000


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class Prose:
    """What is common in some books, and how common.

    words:     N, the books' words
    marks:     numbers of the marked words: 1 to 100 the commonest, from the commonest
        on, then the others that a commonest pair has
    commonest: how many of them are commonest words: 100, unless the books have fewer
    order:     FORWARD where the pair of two marked words is among the commonest,
        REVERSED where only its reverse is; shape (marks + 1, marks + 1)
    common:    the commonest words' share of the words
    pair:      the commonest pairs' share of the pairs
    single:    the share of words of one character
    """

    words: int
    marks: Mapping[str, int] = field(repr=False)
    commonest: int
    order: NDArray[np.uint8] = field(repr=False)
    common: Fraction
    pair: Fraction
    single: Fraction

    @classmethod
    def of(cls, book: Book, mode: WordMode) -> Prose:
        """Describe the prose of a book, or of a collection's works together.

        Commonest is by count, then alphabetically; no pair lies across two excerpts.
        """
        counts: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for excerpt in book.excerpts:
            excerpt_words = words(excerpt.text, mode)
            counts.update(excerpt_words)
            pairs.update(pairwise(excerpt_words))
        common = _commonest(counts)
        common_pairs = _commonest(pairs)
        words_of_pairs = chain.from_iterable(common_pairs)
        marked = dict.fromkeys([*common, *words_of_pairs])
        marks = {word: number for number, word in enumerate(marked, 1)}
        total = counts.total()
        common_counts = [counts[word] for word in common]
        pair_counts = [pairs[pair] for pair in common_pairs]
        single = [count for word, count in counts.items() if len(word) == 1]
        return cls(
            words=total,
            marks=marks,
            commonest=len(common),
            order=_order_of_pairs(common_pairs, marks),
            common=_share(common_counts, total),
            pair=_share(pair_counts, pairs.total()),
            single=_share(single, total),
        )

    @property
    def can_judge_answers(self) -> bool:
        """Whether answers can be compared with it.

        It needs 400 words, mostly of several characters.
        """
        has_long_words = 2 * self.single <= 1
        return self.words >= _FEWEST_WORDS and has_long_words

    @property
    def can_judge_word_pairs(self) -> bool:
        """Whether their share of common pairs can be compared: 2,000 words."""
        return self.can_judge_answers and self.words >= _FEWEST_WORDS_FOR_PAIRS


def _order_of_pairs(
    pairs: Iterable[tuple[str, str]],
    marks: Mapping[str, int],
) -> NDArray[np.uint8]:
    """Return the table `Prose.order`, by the numbers of a pair's two words."""
    size = len(marks) + 1
    order = np.zeros((size, size), dtype=np.uint8)
    numbers = [(marks[first], marks[second]) for first, second in pairs]
    for first, second in numbers:
        order[second, first] = REVERSED
    for first, second in numbers:
        order[first, second] = FORWARD
    return order


def _commonest(counts: Counter[_T]) -> list[_T]:
    def rank(element: _T) -> tuple[int, _T]:
        return -counts[element], element

    return nsmallest(COMMONEST, counts, key=rank)


def _share(counts: Iterable[int], total: int) -> Fraction:
    return Fraction(sum(counts), max(total, 1))
