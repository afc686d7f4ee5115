"""Tests of whether lost completions are lost by chance (docs/method.md).

Both are one-sided and exact. They draw without replacement: which of all requested
completions are lost is random, their number is as observed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TEST_LEVEL = 0.01
"""Level of both tests."""

MOST_CONTROLS = 500


def hypergeometric_tail(
    hits: int,
    draws: int,
    marked: int,
    total: int,
) -> float:
    """Return the probability of at least `hits` marked ones among the draws.

    draws, marked: of the `total`
    """
    most = min(draws, marked)
    least = max(0, draws + marked - total)
    if hits <= least:
        return 1.0
    all_ways = _log_choose(total, draws)
    terms = []
    for count in range(hits, most + 1):
        ways_of_marked = _log_choose(marked, count)
        ways_of_others = _log_choose(total - marked, draws - count)
        ways = ways_of_marked + ways_of_others
        terms.append(math.exp(ways - all_ways))
    return min(1.0, math.fsum(terms))


def _log_choose(total: int, chosen: int) -> float:
    others = total - chosen
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(others + 1)


def p_uneven(requested: Sequence[int], lost: Sequence[int]) -> float:
    """Return p of the excerpt that lost most against chance, Bonferroni-corrected.

    requested, lost: completions per excerpt
    """
    total, all_lost = sum(requested), sum(lost)
    least = 1.0
    for excerpt_requested, excerpt_lost in zip(requested, lost, strict=True):
        p = hypergeometric_tail(
            hits=excerpt_lost,
            draws=excerpt_requested,
            marked=all_lost,
            total=total,
        )
        least = min(least, p)
    return min(1.0, least * max(1, len(lost)))


def p_control(
    requested: int,
    lost: int,
    control_requested: int,
    control_lost: int,
) -> float:
    """Return p of control calls losing so few (Fisher's exact test, one-sided)."""
    total = requested + control_requested
    return hypergeometric_tail(
        hits=lost,
        draws=requested,
        marked=lost + control_lost,
        total=total,
    )
