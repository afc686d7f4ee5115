"""How alike two models' memories of one book are (METRICS section 5)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Coverage, Measurement
from pytest_memleak.scoring.measures import measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.rounds import Rounds

    Mask = NDArray[np.bool_] | Coverage | Measurement | Sequence[bool]

__all__ = ["Similarity", "compare", "independence", "jaccard", "round_agreement", "self_agreement"]


@dataclass(frozen=True, slots=True)
class Similarity:
    """Two coverage masks of one book, compared.

    jaccard:  words that both cover / words that either covers; 0 where neither covers any
    baseline: the Jaccard index to expect of two masks of these sizes that know nothing of
              each other
    """

    jaccard: float
    baseline: float


def compare(a: Mask, b: Mask) -> Similarity:
    """The Jaccard index of two coverage masks of one book, and its baseline.

    A mask has one truth value per word of the book, shape (N,); a Coverage or a Measurement
    stands for its covered words. Raises SettingsError for masks that differ in length.
    """
    a_mask, b_mask = _mask(a), _mask(b)
    n = len(a_mask)
    shares = (np.count_nonzero(a_mask) / n, np.count_nonzero(b_mask) / n) if n else (0.0, 0.0)
    return Similarity(jaccard(a_mask, b_mask), independence(*shares))


def jaccard(a: Mask, b: Mask) -> float:
    """Words that both masks cover / words that either covers; 0 where neither covers any.

    Raises SettingsError for masks that differ in length: they are not of one book.
    """
    a_mask, b_mask = _mask(a), _mask(b)
    if a_mask.shape != b_mask.shape:
        raise SettingsError(
            f"the masks are of {len(a_mask):,} and {len(b_mask):,} words",
            hint="compare two models on the same book, in the same word mode",
        )
    either = int(np.count_nonzero(a_mask | b_mask))
    return int(np.count_nonzero(a_mask & b_mask)) / either if either else 0.0


def independence(a: float, b: float) -> float:
    """The Jaccard index of two independent masks that cover the shares `a` and `b`."""
    either = a + b - a * b
    return a * b / either if either else 0.0


def self_agreement(book: Book, generations: Iterable[Generation], scoring: Scoring) -> float:
    """The Jaccard index of the masks of the first and the second half of the generations.

    The first half is each excerpt's first h generations, in the order of their ordinals, where
    h is half of the largest number that any excerpt has, rounded down.

    Raises what `measure` raises.
    """
    drawn = sorted(generations, key=lambda generation: generation.ordinal)
    counts = Counter(generation.excerpt_id for generation in drawn)
    half = max(counts.values(), default=0) // 2
    halves: tuple[list[Generation], list[Generation]] = ([], [])
    so_far: Counter[str] = Counter()
    for generation in drawn:
        halves[so_far[generation.excerpt_id] >= half].append(generation)
        so_far[generation.excerpt_id] += 1
    first, second = (measure(book, half, scoring) for half in halves)
    return jaccard(first, second)


def round_agreement(rounds: Rounds, *, words: int, n: int) -> float:
    """`self_agreement` from what the rounds 0..n-1 cover.

    The same number, without a second scoring, where the ordinals of every excerpt run from 0
    without a gap. words: N.
    """
    return jaccard(*rounds.halves(words=words, n=n))


def _mask(mask: Mask) -> NDArray[np.bool_]:
    if isinstance(mask, Measurement):
        mask = mask.coverage
    if isinstance(mask, Coverage):
        return np.frombuffer(mask.reach, dtype=np.intc) > 0
    return np.asarray(mask, dtype=np.bool_)
