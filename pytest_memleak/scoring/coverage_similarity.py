"""Similarity of two coverage masks of one book (docs/method.md).

The masks are two models', or those of the first and second half of one model's
generations. A mask has one truth value per word of the book, shape (N,).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Coverage, Measurement
from pytest_memleak.scoring.four_measures import measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.array_types import Flags
    from pytest_memleak.scoring.rounds import Rounds

    Mask = Flags | Coverage | Measurement | Sequence[bool]


@dataclass(frozen=True, slots=True)
class Similarity:
    """A comparison of two coverage masks of one book.

    jaccard:  words that both cover / words that either covers; 0 if neither covers any
    baseline: the expected Jaccard index of two independent masks of these sizes
    """

    jaccard: float
    baseline: float


def compare(a: Mask, b: Mask) -> Similarity:
    """Compare two coverage masks of one book: Jaccard index and its baseline.

    A Coverage or a Measurement represents its covered words. Raises SettingsError for
    masks that differ in length.
    """
    a_mask = _coverage_flags(a)
    b_mask = _coverage_flags(b)
    a_share = _covered_share(a_mask)
    b_share = _covered_share(b_mask)
    both_if_independent = a_share * b_share
    either = a_share + b_share - both_if_independent
    baseline = both_if_independent / either if either else 0.0
    return Similarity(jaccard(a_mask, b_mask), baseline)


def jaccard(a: Mask, b: Mask) -> float:
    """Return words that both masks cover / words that either covers; 0 if none.

    Raises SettingsError for masks that differ in length: they are not of one book.
    """
    a_mask = _coverage_flags(a)
    b_mask = _coverage_flags(b)
    if a_mask.shape != b_mask.shape:
        raise SettingsError(
            f"the masks have {len(a_mask):,} and {len(b_mask):,} words",
            hint="compare two models on the same book, in the same word mode",
        )
    both = int(np.count_nonzero(a_mask & b_mask))
    either = int(np.count_nonzero(a_mask | b_mask))
    return both / either if either else 0.0


def self_agreement(
    book: Book,
    generations: Iterable[Generation],
    scoring: Scoring,
) -> float:
    """Return the Jaccard index of the masks of both halves of the generations.

    The first half is each excerpt's first h generations, by ordinal, where h is half of
    the largest number that any excerpt has, rounded down.

    Raises what `measure` raises.
    """
    first_half, second_half = _alternate_halves(generations)
    first = measure(book, first_half, scoring)
    second = measure(book, second_half, scoring)
    return jaccard(first, second)


def round_agreement(
    rounds: Rounds,
    *,
    words: int,
    n: int,
) -> float:
    """Return `self_agreement` of rounds 0..n-1, without gaps, of a book of N words."""
    first, second = rounds.halves(words=words, n=n)
    return jaccard(first, second)


def _alternate_halves(
    generations: Iterable[Generation],
) -> tuple[list[Generation], list[Generation]]:
    ordered = sorted(generations, key=lambda generation: generation.ordinal)
    counts = Counter(generation.excerpt_id for generation in ordered)
    most = max(counts.values(), default=0)
    half = most // 2
    first_half: list[Generation] = []
    second_half: list[Generation] = []
    taken: Counter[str] = Counter()
    for generation in ordered:
        if taken[generation.excerpt_id] < half:
            first_half.append(generation)
        else:
            second_half.append(generation)
        taken[generation.excerpt_id] += 1
    return first_half, second_half


def _coverage_flags(mask: Mask) -> Flags:
    if isinstance(mask, Measurement):
        mask = mask.coverage
    if isinstance(mask, Coverage):
        reach = np.frombuffer(mask.reach, dtype=np.intc)
        return reach > 0
    return np.asarray(mask, dtype=np.bool_)


def _covered_share(mask: Flags) -> float:
    if not len(mask):
        return 0.0
    return np.count_nonzero(mask) / len(mask)
