"""Trimming: matches without the words that their instruction contains (docs/method.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.intervals import merge_intervals
from pytest_memleak.scoring.ngram_prefilter import gram_hashes, whole_grams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.word_hashes import Keyed

_FILTER_BITS = 18
_FILTERED = np.uint64(64 - _FILTER_BITS)


class Ranges(NamedTuple):
    """Places [first, last) where m-grams of the instruction begin, ascending.

    counted: the number of such places before each place; not in NO_RANGES
    """

    first: Positions
    last: Positions
    counted: NDArray[np.int32]


_NOTHING = np.empty(0, dtype=np.intp)
NO_RANGES = Ranges(_NOTHING, _NOTHING, np.empty(0, dtype=np.int32))


class Pieces(NamedTuple):
    """The rest of some matches, in no order: of match `of`, the words [start, end)."""

    of: Positions
    start: Positions
    end: Positions


def outside_prompt(
    start: Positions, end: Positions, prompt_ranges: Ranges, *, trim: int, keep: int
) -> Pieces:
    """Return the rest of [start, end) without the `trim`-grams that begin in the ranges.

    Each is cut on its own words: an m-gram that reaches beyond it takes nothing from
    it.
    Pieces under `keep` words are dropped.
    """
    whole = np.arange(len(start))
    cut = in_prompt(start, end, prompt_ranges, trim=trim)
    if not cut.any():
        return Pieces(whole, start, end)
    untouched = ~cut
    left = _cut(start[cut], end[cut], prompt_ranges, trim=trim, keep=keep)
    return Pieces(
        np.concatenate((whole[untouched], whole[cut][left.of])),
        np.concatenate((start[untouched], left.start)),
        np.concatenate((end[untouched], left.end)),
    )


def in_prompt(
    start: Positions, end: Positions, prompt_ranges: Ranges, *, trim: int
) -> NDArray[np.bool_]:
    """Return whether an interval contains an m-gram that begins in the ranges."""
    if not len(prompt_ranges.first):
        return np.zeros(len(start), dtype=np.bool_)
    long_enough: NDArray[np.bool_] = end - start >= trim
    before_last = prompt_ranges.counted[np.maximum(end - trim + 1, start)]
    return long_enough & (before_last > prompt_ranges.counted[start])


def _cut(
    start: Positions, end: Positions, prompt_ranges: Ranges, *, trim: int, keep: int
) -> Pieces:
    """Return the pieces before, between and after the ranges in each interval."""
    firsts, lasts = prompt_ranges.first, prompt_ranges.last
    begun = firsts.searchsorted(end - trim, side="right")
    passed = lasts.searchsorted(start, side="right")
    ranges = begun - passed
    of = np.arange(len(start)).repeat(ranges + 1)
    nth = np.arange(len(of)) - (ranges + 1).cumsum().repeat(
        ranges + 1
    )  # from -ranges - 1
    after = (
        begun[of] + nth
    )  # the range before the piece, and `after + 1` the one behind it
    is_first, is_last = nth == -1 - ranges[of], nth == -1
    last_gram = (end - trim)[of]
    begin = np.minimum(lasts[after] - 1, last_gram) + trim
    begin[is_first] = start
    stop = firsts[np.minimum(after + 1, len(firsts) - 1)].copy()
    stop[is_last] = end
    enough = stop - begin >= keep
    return Pieces(of[enough], begin[enough], stop[enough])


class PromptWords:
    """The m-grams of some instructions, matched with the texts that answer them."""

    def __init__(self, instructions: Keyed, *, trim: int) -> None:
        """Index the m-grams of the instructions; `trim` 0 is for none.

        instructions: their words, with the keys that texts have.
        """
        self._trim, self._keys = trim, instructions.keys
        places = whole_grams(self._keys, trim) if trim else np.empty(0, dtype=np.intp)
        hashes = gram_hashes(self._keys, trim)[places] if trim else self._keys[:0]
        self._salts = gram_hashes(
            np.arange(1, instructions.texts + 1, dtype=np.uint64), 1
        )
        hashes = hashes ^ self._salts[instructions.text_of(places)]
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._places = hashes[order], places[order]
        self._may_be = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
        self._may_be[(hashes >> _FILTERED).view(np.intp)] = True

    def ranges(self, words: Keyed, instruction_of: Positions) -> Ranges:
        """Return where m-grams of their own instructions begin in texts: ranges, ascending.

        instruction_of: per text, the number of its instruction.
        """
        if not len(self._hashes):
            return NO_RANGES
        keys, lengths = words.keys, words.lengths()
        salts = np.repeat(self._salts[instruction_of], lengths + 1)
        hashes = gram_hashes(keys, self._trim)[1:]
        hashes ^= salts[: len(hashes)]
        at = np.flatnonzero(self._may_be[(hashes >> _FILTERED).view(np.intp)])
        hashes = hashes[at]
        at += 1
        nth = self._hashes.searchsorted(hashes)
        hits = [at[:0]]
        while len(at):
            nth_in = np.minimum(nth, len(self._hashes) - 1)
            equal = (nth < len(self._hashes)) & (self._hashes[nth_in] == hashes)
            at, nth, hashes = at[equal], nth[equal], hashes[equal]
            same = np.ones(len(at), dtype=np.bool_)
            for word in range(self._trim):
                same &= keys[at + word] == self._keys[self._places[nth] + word]
            hits.append(at[same])
            at, nth, hashes = at[~same], nth[~same] + 1, hashes[~same]
        starts = np.sort(np.concatenate(hits))
        if not len(starts):
            return NO_RANGES
        counted = np.zeros(len(keys) + 1, dtype=np.int32)
        counted[starts + 1] = 1
        return Ranges(
            *merge_intervals(starts, starts + 1), np.cumsum(counted, dtype=np.int32)
        )
