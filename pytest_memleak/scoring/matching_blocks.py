"""Matching blocks of two texts: difflib's, at the size of books (docs/method.md).

difflib takes the longest common run (the earliest in `a`, then in `b`, of equals) and
continues left and right of it. Each step costs the product of the lengths, too slow for
a book; `_Aligner` takes the same steps with three changes that keep the result:

1. Numbers replace words: `ranks[p][x]` numbers the 2^p words from x on, so two of them
   number any longer run.
2. `reach[x]`, the longest run from x on that the other text contains anywhere, bounds
   the runs between two blocks and leaves few positions to check.
3. One sweep takes all blocks of one length between two others: after the first, nothing
   longer lies to its right, and nothing as long to its left.
"""

from __future__ import annotations

from bisect import bisect_left
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.array_types import Counts
    from pytest_memleak.scoring.word_ranges import Positions


class EqualRun(NamedTuple):
    """A run of `words` equal words: from `i` of one text and from `j` of the other."""

    i: int
    j: int
    words: int

    @property
    def i_end(self) -> int:
        """Return the position behind it in the first text."""
        return self.i + self.words

    @property
    def j_end(self) -> int:
        """Return the position behind it in the second text."""
        return self.j + self.words


# Up to this many pairs of words difflib is faster than numpy.
_SMALL = 40_000


class _CommonRuns(NamedTuple):
    """Runs of one length that both texts have.

    in_b: positions in b, equal runs together, ascending among equals
    of_a: per position in a, the position and where its equal runs begin and end in
        `in_b`
    """

    in_b: list[int]
    of_a: list[tuple[int, int, int]]


class _Interval(NamedTuple):
    """The part between two blocks: a[a_start:a_end] and b[b_start:b_end].

    most: an upper bound of its longest common run
    """

    a_start: int
    a_end: int
    b_start: int
    b_end: int
    most: int

    @property
    def pairs(self) -> int:
        """Return the number of pairs of words."""
        words_of_a = self.a_end - self.a_start
        words_of_b = self.b_end - self.b_start
        return words_of_a * words_of_b


def matching_blocks(a: Sequence[str], b: Sequence[str]) -> list[EqualRun]:
    """Return `SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()`.

    Without difflib's empty last block. Two texts of 100,000 words take seconds and some
    100 bytes per word.
    """
    if len(a) * len(b) <= _SMALL:
        return _runs_by_difflib(a, b)
    vocabulary = dict.fromkeys((*a, *b))
    numbers = {word: number for number, word in enumerate(vocabulary)}
    aligner = _Aligner(
        a=[numbers[word] for word in a],
        b=[numbers[word] for word in b],
        words=len(numbers),
    )
    return _adjacent_joined(sorted(aligner.runs()))


def _runs_by_difflib(a: Sequence[object], b: Sequence[object]) -> list[EqualRun]:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    blocks = matcher.get_matching_blocks()
    return [EqualRun(*block) for block in blocks[:-1]]


def _adjacent_joined(runs: list[EqualRun]) -> list[EqualRun]:
    joined: list[EqualRun] = []
    for run in runs:
        if joined and _is_adjacent(joined[-1], run):
            last = joined[-1]
            words = last.words + run.words
            joined[-1] = EqualRun(last.i, last.j, words)
        else:
            joined.append(run)
    return joined


def _is_adjacent(last: EqualRun, run: EqualRun) -> bool:
    return last.i_end == run.i and last.j_end == run.j


class _Aligner:
    """Two texts end to end, each followed by a unique word.

    Words are numbers. A place is a position in the joined text: a's words are at 0,
    b's at `_b_offset` and on.
    """

    def __init__(
        self,
        a: list[int],
        b: list[int],
        words: int,
    ) -> None:
        """Align `a` and `b`, of `words` different words."""
        self._a = a
        self._b = b
        self._b_offset = len(a) + 1
        end_of_a = words
        end_of_b = words + 1
        joined = [*a, end_of_a, *b, end_of_b]
        self._text = np.array(joined, dtype=np.int64)
        self._ranks = self._all_ranks()
        self._reach = self._all_reaches()

    def runs(self) -> Iterator[EqualRun]:
        """Yield the blocks, in no order, adjacent ones separate."""
        whole = _Interval(
            a_start=0,
            a_end=len(self._a),
            b_start=0,
            b_end=len(self._b),
            most=int(self._reach.max()),
        )
        intervals = [whole]
        while intervals:
            interval = intervals.pop()
            if interval.pairs <= _SMALL:
                yield from self._blocks_by_difflib(interval)
            else:
                runs, remaining = self._longest_blocks_and_rest(interval)
                yield from runs
                intervals += remaining

    def _blocks_by_difflib(self, interval: _Interval) -> list[EqualRun]:
        a = self._a[interval.a_start : interval.a_end]
        b = self._b[interval.b_start : interval.b_end]
        return [
            EqualRun(interval.a_start + i, interval.b_start + j, length)
            for i, j, length in _runs_by_difflib(a, b)
        ]

    def _longest_blocks_and_rest(
        self, interval: _Interval
    ) -> tuple[list[EqualRun], list[_Interval]]:
        """Return the longest blocks of `interval`, and the parts that they leave."""
        length, in_a, in_b = self._longest_length_and_places(interval)
        runs: list[EqualRun] = []
        remaining: list[_Interval] = []
        if not length:
            return runs, remaining
        places, candidates = self._common_runs(length, in_a, in_b)
        most = length - 1
        a_next = interval.a_start
        b_next = interval.b_start
        for i, low, high in candidates:
            if i < a_next:
                continue
            first_free = bisect_left(places, b_next, low, high)
            if first_free == high:
                continue
            j = places[first_free]
            runs.append(EqualRun(i, j, length))
            if a_next < i and b_next < j:
                remaining.append(_Interval(a_next, i, b_next, j, most))
            a_next = i + length
            b_next = j + length
        if a_next < interval.a_end and b_next < interval.b_end:
            last = _Interval(
                a_start=a_next,
                a_end=interval.a_end,
                b_start=b_next,
                b_end=interval.b_end,
                most=most,
            )
            remaining.append(last)
        return runs, remaining

    def _common_runs(
        self,
        length: int,
        in_a: Positions,
        in_b: Positions,
    ) -> _CommonRuns:
        """Return which runs of `length` words at these places are common."""
        a_keys = self._run_numbers(in_a, length)
        b_keys = self._run_numbers(in_b, length)
        by_key = np.argsort(b_keys, kind="stable")  # ascending in b among equals
        b_keys = b_keys[by_key]
        low = np.searchsorted(b_keys, a_keys, side="left")
        high = np.searchsorted(b_keys, a_keys, side="right")
        is_common = low < high
        candidates = zip(
            in_a[is_common].tolist(),
            low[is_common].tolist(),
            high[is_common].tolist(),
            strict=True,
        )
        places = (in_b[by_key] - self._b_offset).tolist()
        return _CommonRuns(places, list(candidates))

    def _longest_length_and_places(
        self, interval: _Interval
    ) -> tuple[int, Positions, Positions]:
        """Return the greatest length of a common run, and its possible places.

        Texts that share a run share every shorter one, so the length is bisected,
        starting at the bound, which is often reached.
        """
        a_start = interval.a_start
        b_start = interval.b_start + self._b_offset
        b_end = interval.b_end + self._b_offset
        a_room = self._run_length_bounds(a_start, interval.a_end)
        b_room = self._run_length_bounds(b_start, b_end)
        in_a = np.empty(0, dtype=np.intp)
        in_b = in_a
        low = 0
        most_of_a = int(a_room.max())
        most_of_b = int(b_room.max())
        high = min(interval.most, most_of_a, most_of_b)
        length = high
        while low < high:
            a_places = np.flatnonzero(a_room >= length) + a_start
            b_places = np.flatnonzero(b_room >= length) + b_start
            a_keys = self._run_numbers(a_places, length)
            b_keys = self._run_numbers(b_places, length)
            if _any_common(a_keys, b_keys):
                low = length
                in_a = a_places
                in_b = b_places
            else:
                high = length - 1
            length = (low + high + 1) // 2
        return low, in_a, in_b

    def _run_length_bounds(self, start: int, end: int) -> Positions:
        """Return, per place, a bound on the runs from there within [start, end)."""
        reach = self._reach[start:end]
        words_to_end = np.arange(end - start, 0, -1)
        return np.minimum(reach, words_to_end)

    def _run_numbers(self, place: Positions, length: int) -> Counts:
        """Return numbers that are equal exactly where `length` words from there are.

        The first and the last 2^p of them number the run, for the greatest p.
        """
        power = length.bit_length() - 1
        to_last = length - (1 << power)
        ranks = self._ranks[power]
        first = ranks[place].astype(np.int64)
        last = ranks[place + to_last]
        return first * len(self._text) + last

    def _all_ranks(self) -> list[NDArray[np.int32]]:
        """Return `ranks[p]`: per place, the rank of its 2^p words among all such runs.

        Ends with the first p for which the texts share no 2^p words.
        """
        ranks = [_ranked(self._text)]
        step = 1
        while True:
            newest = ranks[-1]
            ranks_of_a = newest[: self._b_offset]
            ranks_of_b = newest[self._b_offset :]
            if not _any_common(ranks_of_a, ranks_of_b):
                return ranks
            # Of the words from each place, and of those `step` later; 0 for none.
            pairs = newest.astype(np.int64)
            pairs *= len(self._text) + 1
            pairs[:-step] += newest[step:] + 1
            ranks.append(_ranked(pairs))
            step *= 2

    def _all_reaches(self) -> Positions:
        """Return, per place, the longest run from there that the other text contains.

        Sorted by what follows them, the other text's place that shares most is the
        nearest before or after.
        """
        size = len(self._text)
        place_of_row = np.argsort(self._ranks[-1], kind="stable")
        is_in_a = place_of_row < self._b_offset
        row = np.arange(size)
        reach = np.zeros(size, dtype=np.intp)
        for in_text in (is_in_a, ~is_in_a):
            row_or_none = np.where(in_text, -1, row)
            before = np.maximum.accumulate(row_or_none)
            row_or_size = np.where(in_text, size, row)
            from_the_end = row_or_size[::-1]
            after = np.minimum.accumulate(from_the_end)[::-1]
            for nearest in (before, after):
                has_nearest = (nearest >= 0) & (nearest < size)
                rows = np.flatnonzero(in_text & has_nearest)
                places = place_of_row[rows]
                nearest_places = place_of_row[nearest[rows]]
                shared = self._count_equal_words(places, nearest_places)
                reach[places] = np.maximum(reach[places], shared)
        return reach

    def _count_equal_words(self, x: Positions, y: Positions) -> Positions:
        """Return how many words from each place of x on equal those from y on."""
        length = np.zeros(len(x), dtype=np.intp)
        powers = range(len(self._ranks))
        for power in reversed(powers):
            ranks = self._ranks[power]
            x_rank = ranks[x + length]
            y_rank = ranks[y + length]
            is_equal = x_rank == y_rank
            length += is_equal.astype(np.intp) << power
        return length


def _ranked(values: Counts) -> NDArray[np.int32]:
    """Return each value's rank among the distinct ones."""
    _, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.int32)


def _any_common(x: NDArray[np.integer], y: NDArray[np.integer]) -> bool:
    is_common = np.isin(x, y)
    return bool(is_common.any())
