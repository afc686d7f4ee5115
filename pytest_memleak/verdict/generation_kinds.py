"""The kind of each generation, from the readings of all of them (METRICS section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import Kind
from pytest_memleak.verdict.evidence_requirements import exact
from pytest_memleak.verdict.generation_features import ENDED, LENGTH, UNTOLD
from pytest_memleak.verdict.shingles import KnownRuns, distinct_hashes, slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_memleak.verdict.evidence_requirements import Asked
    from pytest_memleak.verdict.generation_features import Flags, GenerationFeatures, Numbers
    from pytest_memleak.verdict.shingles import Keys

KINDS = tuple(Kind)

_SHARED = 3
"""What so many excerpts' answers share is not an answer to one of them."""

_SLOT_BITS = 24


def kinds_of(
    readings: GenerationFeatures, runs: Keys, asked: Asked, *, excerpts: int
) -> tuple[NDArray[np.int8], bool]:
    """Per generation the place of its kind in KINDS; whether none of them told why it ended.

    runs: the generations' 8-word runs, `readings.runs` of each. excerpts: the book's.
    """
    untold = len(readings) > 0 and bool((readings.ended == UNTOLD).all())
    whole = (readings.ended == ENDED) | (readings.ended == LENGTH) | untold
    least = exact(asked.limits.min_length_ratio)
    own_is_short = readings.own * least.denominator < readings.expected * least.numerator
    words_are_enough = readings.words * least.denominator >= readings.expected * least.numerator
    there = whole & ~readings.blank
    refuses = readings.few & (readings.listed | _open_alike(readings, there & readings.few))
    cut = (readings.ended == LENGTH) & (2 * readings.own < readings.expected)
    rules = {
        Kind.WITHHELD: ~whole,
        Kind.EMPTY: readings.blank,
        Kind.REFUSAL: refuses,
        Kind.ECHO: words_are_enough & own_is_short,
        Kind.CUT: cut,
        Kind.SHORT: own_is_short,
    }
    long_enough = ~np.logical_or.reduce(list(rules.values()))
    if excerpts >= _SHARED:
        rules[Kind.CANNED] = canned(readings, runs, long_enough)
    rules[Kind.UNREADABLE] = readings.unreadable
    places = [KINDS.index(kind) for kind in rules]
    kinds = np.select(list(rules.values()), places, default=KINDS.index(Kind.ANSWER))
    return kinds.astype(np.int8), untold


def _open_alike(readings: GenerationFeatures, chosen: Flags) -> Flags:
    """Of the chosen, those whose opening is that of the chosen for three or more excerpts."""
    at = np.flatnonzero(chosen)
    pairs = np.unique(
        np.stack([readings.opening[at], readings.excerpt[at].astype(np.uint64)]), axis=1
    )
    openings, excerpts = np.unique(pairs[0], return_counts=True)
    alike = np.zeros(len(readings), dtype=np.bool_)
    alike[at] = np.isin(readings.opening[at], openings[excerpts >= _SHARED])
    return alike


def canned(readings: GenerationFeatures, runs: Keys, chosen: Flags) -> Flags:
    """Of the chosen, those made of runs that the chosen have for three or more excerpts."""
    ends = readings.runs.cumsum()
    begin = ends - readings.runs
    by_excerpt: dict[int, list[int]] = {}
    for one in np.flatnonzero(chosen).tolist():
        by_excerpt.setdefault(int(readings.excerpt[one]), []).append(one)
    parts = [
        (its, np.concatenate([runs[begin[one] : ends[one]] for one in its]))
        for its in by_excerpt.values()
    ]
    # Few runs share a slot with runs of so many excerpts: seldom are they half of an answer.
    excerpts = np.zeros(1 << _SLOT_BITS, dtype=np.uint8)
    for _, part in parts:
        its_slots = slots(part, _SLOT_BITS)
        known = excerpts[its_slots]
        excerpts[its_slots] = known + (known < _SHARED)
    likely = [excerpts[slots(part, _SLOT_BITS)] == _SHARED for _, part in parts]
    same = np.zeros(len(readings), dtype=np.bool_)
    for (its, _), hits in zip(parts, likely, strict=True):
        same[its] = _mostly(hits, readings.runs[its])
    same &= ~readings.recites
    if same.any():
        shared = _shared(part[hits] for (_, part), hits in zip(parts, likely, strict=True))
        for its, part in parts:
            if same[its].any():
                same[its] &= _mostly(shared.among(part), readings.runs[its])
    return same


def _shared(parts: Iterable[Keys]) -> KnownRuns:
    """The runs that three or more of the parts have."""
    every = np.sort(np.concatenate([distinct_hashes(part) for part in parts]))
    return KnownRuns([every[_SHARED - 1 :][every[_SHARED - 1 :] == every[: 1 - _SHARED]]])


def _mostly(hits: Flags, runs: Numbers) -> Flags:
    """Per generation of so many runs, one after the other, whether over half of them are hits."""
    until = np.concatenate(([0], hits.cumsum()))
    ends = runs.cumsum()
    mostly: Flags = 2 * (until[ends] - until[ends - runs]) > runs
    return mostly
