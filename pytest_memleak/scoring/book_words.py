"""Words of books in prefilter tables, as measured and as folded, and texts' matches with them.

Folded words are stored only around those that folding changes: the rest stands among
the measured.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.intervals import count_up
from pytest_memleak.scoring.ngram_prefilter import (
    BORDER,
    NgramPrefilter,
    Runs,
    gram_hashes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.word_hashes import Keyed, Keys

NEAR_MATCH = 5
"""The least words of a match of folded words (docs/method.md)."""

_PLACE_BITS = 32
_BORDER = np.array([BORDER], dtype=np.uint64)
_WORTH_SHARING = 32  # words
_COMPARED_TOGETHER, _CHANGED_TOGETHER = 1 << 12, 1 << 7


class BookMatches(NamedTuple):
    """Matches of several texts with several books, one entry each.

    text:   number of the text; place: of the first word among all texts' words
    (`Keyed`)
    book:   number of the book; part: its part, which no match leaves; start: in the
    book's words
    words:  number of words
    """

    text: Positions
    place: Positions
    book: Positions
    part: Positions
    start: Positions
    words: Positions

    @property
    def end(self) -> Positions:
        """Return the position after the last word, in the book's words."""
        return self.start + self.words

    def where(self, chosen: NDArray[np.bool_] | Positions) -> BookMatches:
        """Return the `chosen` matches, by truth value or by number."""
        return BookMatches(*(column[chosen] for column in self))


class _Table:
    """Words of a prefilter table, in pieces with borders between them."""

    def __init__(self) -> None:
        self._keys: list[Keys] = [_BORDER]
        self._size = 1

    def add(self, keys: Keys) -> int:
        """Add words that follow each other; return the place of the first."""
        place = self._size
        self._keys += [keys, _BORDER]
        self._size += len(keys) + 1
        return place

    def prefilter(self, n: int) -> NgramPrefilter:
        """Build the table for runs of `n` words."""
        keys = np.concatenate(self._keys)
        self._keys = []
        return NgramPrefilter(keys, n)


class BookWords:
    """Words of books as measured and as folded, in one table where that serves for both.

    The folded words then are the measured ones, and stretches around those that folding
    changes.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._table = _Table()
        self._near_table = self._table if k == NEAR_MATCH else _Table()
        # First place, words, book, part, and first word of each piece of a reading.
        self._exact: list[tuple[int, ...]] = []
        self._folded: list[tuple[int, ...]] = []
        self._parts = 0

    def add(
        self, book: int, keys: Keys, near_keys: Keys,
        starts: Sequence[int] = (0,), near_starts: Sequence[int] = (0,),
    ) -> None:  # fmt: skip
        """Add a book's words, in parts that begin at `starts`; `near_keys` may be `keys`."""
        parts = pairwise([*starts, len(keys)])
        near_parts = pairwise([*near_starts, len(near_keys)])
        for (first, last), (near_first, near_last) in zip(
            parts, near_parts, strict=True
        ):
            place = self._table.add(keys[first:last])
            self._exact.append((place, last - first, book, self._parts, first))
            words, near_words = keys[first:last], near_keys[near_first:near_last]
            shared = []
            if self._near_table is self._table:
                alike = near_keys is keys
                shared = (
                    [(0, 0, len(words))]
                    if alike
                    else _common_stretches(words, near_words)
                )
            self._add_folded(book, near_words, near_first, place, shared)

    def add_folded(self, book: int, keys: Keys) -> None:
        """Add words of a book that only near-verbatim passages count."""
        self._add_folded(book, keys, 0, 0, [])

    def placed(self) -> tuple[PlacedWords, PlacedWords]:
        """Place the words as measured and as folded; one object if folding changes none."""
        prefilter = self._table.prefilter(self._k)
        exact = PlacedWords.of(prefilter, self._exact)
        if self._near_table is not self._table:
            return exact, PlacedWords.of(
                self._near_table.prefilter(NEAR_MATCH), self._folded
            )
        alike = self._folded == self._exact
        return exact, exact if alike else PlacedWords.of(prefilter, self._folded)

    def _add_folded(
        self,
        book: int,
        keys: Keys,
        start: int,
        place: int,
        shared: list[tuple[int, int, int]],
    ) -> None:
        """Add a part; shared: first words among those at `place` and among `keys`, and words."""
        at = 0
        for first, near_first, words in [*shared, (0, len(keys), 0)]:
            if at < near_first or 0 < at < len(
                keys
            ):  # folding may have only left words out
                begin = max(at - NEAR_MATCH + 1, 0)
                stretch = keys[begin : near_first + NEAR_MATCH - 1]
                of_stretch = self._near_table.add(stretch)
                self._folded.append(
                    (of_stretch, len(stretch), book, self._parts, start + begin)
                )
            if words:
                self._folded.append(
                    (place + first, words, book, self._parts, start + near_first)
                )
            at = near_first + words
        self._parts += 1


def _common_stretches(keys: Keys, others: Keys) -> list[tuple[int, int, int]]:
    """Return long stretches that two readings of a text share: where each begins, and words."""
    stretches: list[tuple[int, int, int]] = []
    first = other_first = at = other_at = 0
    while at < len(keys) and other_at < len(others):
        ahead = min(len(keys) - at, len(others) - other_at, _COMPARED_TOGETHER)
        alike = keys[at : at + ahead] == others[other_at : other_at + ahead]
        same = ahead if alike.all() else int(alike.argmin())
        at, other_at = at + same, other_at + same
        if same == ahead:
            continue
        stretches.append((first, other_first, at - first))
        grams, other_grams = (
            gram_hashes(some[begin : begin + _CHANGED_TOGETHER], _WORTH_SHARING)
            for some, begin in ((keys, at), (others, other_at))
        )
        again = np.argwhere(grams[:, None] == other_grams)
        skip = (
            again[again.sum(axis=1).argmin()]
            if len(again)
            else (_CHANGED_TOGETHER,) * 2
        )
        at, other_at = first, other_first = at + int(skip[0]), other_at + int(skip[1])
    stretches.append((first, other_first, at - first))
    return [stretch for stretch in stretches if stretch[2] >= _WORTH_SHARING]


class PlacedWords(NamedTuple):
    """One reading of books' words, in pieces by place in a prefilter table.

    first, end: places of each piece; book: its book; part: its part, which no match
    leaves
    start: its first word among the book's; overlapping: whether a part may have several
    """

    prefilter: NgramPrefilter
    first: Positions
    end: Positions
    book: Positions
    part: Positions
    start: Positions
    overlapping: bool

    @classmethod
    def of(
        cls, prefilter: NgramPrefilter, pieces: list[tuple[int, ...]]
    ) -> PlacedWords:
        """Sort the pieces: first place, words, book, part, and first word of each."""
        first, words, book, part, start = (
            np.array(sorted(pieces), dtype=np.intp).reshape(-1, 5).T
        )
        overlapping = len(np.unique(part)) < len(part)
        return cls(prefilter, first, first + words, book, part, start, overlapping)

    @staticmethod
    def nbytes_of(*readings: PlacedWords) -> int:
        """Return the bytes of memory that readings take, of which several may share a table."""
        tables = {
            id(reading.prefilter): reading.prefilter.nbytes for reading in readings
        }
        pieces = (reading.first.nbytes * len(reading[1:-1]) for reading in readings)
        return sum((*tables.values(), *pieces))

    def located(self, runs: Runs) -> tuple[Runs, Positions]:
        """Return the runs cut at the pieces' ends, and the piece of each."""
        end = runs.book + runs.words
        nth = self.end.searchsorted(runs.book, side="right")
        count = self.first.searchsorted(end) - nth
        alone = (count == 1).all()
        if alone and ((self.first[nth] <= runs.book) & (end <= self.end[nth])).all():
            return runs, nth  # nothing to cut, as nearly always
        of, piece = np.arange(len(nth)).repeat(count), count_up(nth, count)
        first = np.maximum(runs.book[of], self.first[piece])
        words = np.minimum(end[of], self.end[piece]) - first
        located = Runs(runs.text[of] + first - runs.book[of], first, words)
        long = words >= self.prefilter.n
        return located.where(long), piece[long]

    def matches(self, words: Keyed, runs: Runs) -> BookMatches:
        """Return the runs of texts' words as matches with the books.

        By text and place in the table, so that later sorts find them nearly sorted.
        """
        runs, piece = self.located(runs)
        text = words.text_of(runs.text)
        order = np.argsort((text << _PLACE_BITS) | runs.book, kind="stable")
        runs, piece = runs.where(order), piece[order]
        start = self.start[piece] + runs.book - self.first[piece]
        matches = BookMatches(
            text[order],
            runs.text,
            self.book[piece],
            self.part[piece],
            start,
            runs.words,
        )
        return _joined(matches) if self.overlapping else matches


def _joined(matches: BookMatches) -> BookMatches:
    """Join matches that overlap in the same words of a text and of a book."""
    ahead = matches.place - matches.start
    order = np.lexsort((matches.place, ahead, matches.part))
    matches, ahead = matches.where(order), ahead[order]
    end = matches.place + matches.words
    goes_on = (
        (matches.part[1:] == matches.part[:-1])
        & (ahead[1:] == ahead[:-1])
        & (matches.place[1:] <= end[:-1])
    )
    begins = np.flatnonzero(np.append(True, ~goes_on)[: len(end)])
    ends = np.append(begins[1:], len(end))[: len(begins)] - 1
    joined = matches.where(begins)
    return joined._replace(words=end[ends] - joined.place)
