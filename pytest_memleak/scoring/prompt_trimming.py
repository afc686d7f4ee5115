"""Trimming: matches without the words that their instruction contains.

Defined in docs/method.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.ngram_prefilter import gram_hashes, whole_grams
from pytest_memleak.scoring.word_ranges import count_up, merge_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.word_hashes import Keyed, Keys
    from pytest_memleak.scoring.word_ranges import Positions

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
NO_RANGES = Ranges(
    first=_NOTHING,
    last=_NOTHING,
    counted=np.empty(0, dtype=np.int32),
)


class Pieces(NamedTuple):
    """The rest of some matches, in no order: of match `of`, the words [start, end)."""

    of: Positions
    start: Positions
    end: Positions


def outside_prompt(
    start: Positions,
    end: Positions,
    prompt_ranges: Ranges,
    *,
    trim: int,
    least_words: int,
) -> Pieces:
    """Return the rest of [start, end) without `trim`-grams that begin in the ranges.

    Each is cut on its own words: an m-gram that reaches beyond it takes nothing from
    it.
    Pieces under `least_words` words are dropped.
    """
    whole = np.arange(len(start))
    is_cut = in_prompt(start, end, prompt_ranges, trim=trim)
    if not is_cut.any():
        return Pieces(whole, start, end)
    is_whole = ~is_cut
    cut = whole[is_cut]
    left = _pieces_around_ranges(
        start[is_cut],
        end[is_cut],
        prompt_ranges,
        trim=trim,
        least_words=least_words,
    )
    return Pieces(
        of=np.concatenate((whole[is_whole], cut[left.of])),
        start=np.concatenate((start[is_whole], left.start)),
        end=np.concatenate((end[is_whole], left.end)),
    )


def in_prompt(
    start: Positions,
    end: Positions,
    prompt_ranges: Ranges,
    *,
    trim: int,
) -> NDArray[np.bool_]:
    """Return whether an interval contains an m-gram that begins in the ranges."""
    if not len(prompt_ranges.first):
        return np.zeros(len(start), dtype=np.bool_)
    is_long_enough: NDArray[np.bool_] = end - start >= trim
    behind_last_gram = np.maximum(end - trim + 1, start)
    begun_before = prompt_ranges.counted[start]
    begun = prompt_ranges.counted[behind_last_gram]
    return is_long_enough & (begun > begun_before)


def _pieces_around_ranges(
    start: Positions,
    end: Positions,
    prompt_ranges: Ranges,
    *,
    trim: int,
    least_words: int,
) -> Pieces:
    """Return the pieces before, between and after the ranges in each interval."""
    last_gram = end - trim
    range_first = prompt_ranges.first
    range_last = prompt_ranges.last
    passed = range_last.searchsorted(start, side="right")
    begun = range_first.searchsorted(last_gram, side="right")
    pieces = begun - passed + 1
    numbers = np.arange(len(start))
    of = numbers.repeat(pieces)
    behind = count_up(passed, pieces)  # the range behind each piece
    is_first = behind == passed[of]
    is_last = behind == begun[of]
    last_gram_of_range = range_last[behind - 1] - 1
    last_gram_before = np.minimum(last_gram_of_range, last_gram[of])
    piece_start = last_gram_before + trim
    piece_start[is_first] = start
    piece_end = range_first.take(behind, mode="clip")
    piece_end[is_last] = end
    is_enough = piece_end - piece_start >= least_words
    return Pieces(
        of=of[is_enough],
        start=piece_start[is_enough],
        end=piece_end[is_enough],
    )


class PromptWords:
    """The m-grams of some instructions, matched with the texts that answer them."""

    def __init__(self, instructions: Keyed, *, trim: int) -> None:
        """Index the m-grams of the instructions; `trim` 0 is for none.

        instructions: their words, with the keys that texts have.
        """
        self._trim = trim
        self._keys = instructions.keys
        places = np.empty(0, dtype=np.intp)
        hashes = self._keys[:0]
        if trim:
            places = whole_grams(self._keys, trim)
            hashes = gram_hashes(self._keys, trim)[places]
        # A number per instruction, since a text's m-grams count in its own only.
        numbers = np.arange(1, instructions.texts + 1, dtype=np.uint64)
        self._salts = gram_hashes(numbers, 1)
        instruction = instructions.text_of(places)
        hashes = hashes ^ self._salts[instruction]
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._places = places[order]
        self._may_be = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
        self._may_be[_filter_place(hashes)] = True

    def ranges(self, words: Keyed, instruction_of: Positions) -> Ranges:
        """Return the ranges where m-grams of their own instructions begin in texts.

        instruction_of: per text, the number of its instruction.
        """
        if not len(self._hashes):
            return NO_RANGES
        starts = self._gram_starts(words, instruction_of)
        if not len(starts):
            return NO_RANGES
        begins = np.zeros(len(words.keys) + 1, dtype=np.int32)
        begins[starts + 1] = 1
        counted = np.cumsum(begins, dtype=np.int32)
        first, last = merge_intervals(starts, starts + 1)
        return Ranges(first, last, counted)

    def _gram_starts(self, words: Keyed, instruction_of: Positions) -> Positions:
        """Return the places at which m-grams of their own instructions begin."""
        keys_of_text = words.lengths() + 1
        salt_of_text = self._salts[instruction_of]
        salts = salt_of_text.repeat(keys_of_text)
        hashes = gram_hashes(words.keys, self._trim)[1:]
        hashes ^= salts[: len(hashes)]
        may_be_gram = self._may_be[_filter_place(hashes)]
        passing = np.flatnonzero(may_be_gram)
        hashes = hashes[passing]
        at = passing + 1
        nth = self._hashes.searchsorted(hashes)
        hits = [at[:0]]
        while len(at):
            nth_or_last = np.minimum(nth, len(self._hashes) - 1)
            is_alike = self._hashes[nth_or_last] == hashes
            is_alike &= nth < len(self._hashes)
            at = at[is_alike]
            nth = nth[is_alike]
            hashes = hashes[is_alike]
            is_same = self._equals_gram(words.keys, at, nth)
            hits.append(at[is_same])
            at = at[~is_same]
            nth = nth[~is_same] + 1
            hashes = hashes[~is_same]
        return np.sort(np.concatenate(hits))

    def _equals_gram(
        self,
        keys: Keys,
        at: Positions,
        nth: Positions,
    ) -> NDArray[np.bool_]:
        """Return whether the words from each place on are those of the nth m-gram."""
        place = self._places[nth]
        is_same = np.ones(len(at), dtype=np.bool_)
        for word in range(self._trim):
            is_same &= keys[at + word] == self._keys[place + word]
        return is_same


def _filter_place(hashes: Keys) -> Positions:
    """Return each hash's place in the table of those that may be an m-gram's."""
    return (hashes >> _FILTERED).view(np.intp)
