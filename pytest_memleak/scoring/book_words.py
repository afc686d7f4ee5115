"""Words of books in prefilter tables, as measured and as folded, and their matches.

Folded words are stored only around those that folding changes: the rest stands among
the measured.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.ngram_prefilter import (
    BORDER,
    NgramPrefilter,
    Runs,
    gram_hashes,
)
from pytest_memleak.scoring.word_ranges import count_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.word_hashes import Keyed, Keys
    from pytest_memleak.scoring.word_ranges import Positions

    PieceNumbers = Positions

NEAR_MATCH = 5
"""The least words of a match of folded words (docs/method.md)."""

_PLACE_BITS = 32
_BORDER = np.array([BORDER], dtype=np.uint64)
# Words.
_WORTH_SHARING = 32
_COMPARED_TOGETHER = 1 << 12
_CHANGED_TOGETHER = 1 << 7


class BookMatches(NamedTuple):
    """Matches of several texts with several books, one entry each.

    text:   number of the text
    place:  of the first word among all texts' words (`Keyed`)
    book:   number of the book
    part:   its part, which no match leaves
    start:  in the book's words
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


class _Piece(NamedTuple):
    """Words of a book in a prefilter table, without borders.

    place: of the first in the table; start: of the first among the book's words
    """

    place: int
    words: int
    book: int
    part: int
    start: int


class _Shared(NamedTuple):
    """A stretch that two readings of a text share: its begin in each, and its words."""

    first: int
    near_first: int
    words: int


class BookWords:
    """Words of books as measured and as folded, in one table where one serves for both.

    The folded words then are the measured ones, and stretches around those that folding
    changes.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._table = _Table()
        self._near_table = self._table
        if k != NEAR_MATCH:
            self._near_table = _Table()
        self._exact: list[_Piece] = []
        self._folded: list[_Piece] = []
        self._parts = 0

    def add(
        self,
        book: int,
        keys: Keys,
        near_keys: Keys,
        starts: Sequence[int] = (0,),
        near_starts: Sequence[int] = (0,),
    ) -> None:
        """Add a book's words, in parts that begin at `starts`.

        near_keys: its folded words; may be `keys`
        """
        parts = pairwise([*starts, len(keys)])
        near_parts = pairwise([*near_starts, len(near_keys)])
        for (first, end), (near_first, near_end) in zip(parts, near_parts, strict=True):
            words = near_words = keys[first:end]
            if near_keys is not keys:
                near_words = near_keys[near_first:near_end]
            place = self._table.add(words)
            self._exact.append(
                _Piece(
                    place=place,
                    words=end - first,
                    book=book,
                    part=self._parts,
                    start=first,
                ),
            )
            shared: list[_Shared] = []
            if self._near_table is self._table:
                shared = _common_stretches(words, near_words)
            self._add_folded(book, near_words, near_first, place, shared)

    def add_folded(self, book: int, keys: Keys) -> None:
        """Add words of a book that only near-verbatim passages count."""
        self._add_folded(
            book,
            keys,
            start=0,
            place=0,
            shared=[],
        )

    def placed(self) -> tuple[PlacedWords, PlacedWords]:
        """Place the words as measured and as folded; one object if both are alike."""
        prefilter = self._table.prefilter(self._k)
        exact = PlacedWords.of(prefilter, self._exact)
        if self._near_table is not self._table:
            near_prefilter = self._near_table.prefilter(NEAR_MATCH)
            return exact, PlacedWords.of(near_prefilter, self._folded)
        if self._folded == self._exact:
            return exact, exact
        return exact, PlacedWords.of(prefilter, self._folded)

    def _add_folded(
        self,
        book: int,
        keys: Keys,
        start: int,
        place: int,
        shared: list[_Shared],
    ) -> None:
        """Add a part's folded words, of which some stand in the table already.

        start: of the first among the book's; shared: with the words at `place`
        """

        def note_piece(
            place: int,
            words: int,
            first: int,
        ) -> None:
            piece = _Piece(
                place=place,
                words=words,
                book=book,
                part=self._parts,
                start=start + first,
            )
            self._folded.append(piece)

        at = 0
        behind_all = _Shared(
            first=0,
            near_first=len(keys),
            words=0,
        )
        for stretch in [*shared, behind_all]:
            # Between two stretches, even if folding has only left words out there.
            is_seam = 0 < at < len(keys)
            if at < stretch.near_first or is_seam:
                begin = max(at - NEAR_MATCH + 1, 0)
                changed = keys[begin : stretch.near_first + NEAR_MATCH - 1]
                note_piece(self._near_table.add(changed), len(changed), begin)
            if stretch.words:
                note_piece(place + stretch.first, stretch.words, stretch.near_first)
            at = stretch.near_first + stretch.words
        self._parts += 1


def _common_stretches(keys: Keys, near_keys: Keys) -> list[_Shared]:
    """Return the long stretches that two readings share; all of a text if it is one."""
    if keys is near_keys:
        return [
            _Shared(
                first=0,
                near_first=0,
                words=len(keys),
            )
        ]
    stretches: list[_Shared] = []
    first = at = 0
    near_first = near_at = 0
    while at < len(keys) and near_at < len(near_keys):
        ahead = min(len(keys) - at, len(near_keys) - near_at, _COMPARED_TOGETHER)
        is_same = keys[at : at + ahead] == near_keys[near_at : near_at + ahead]
        same = ahead
        if not is_same.all():
            same = int(is_same.argmin())
        at += same
        near_at += same
        if same == ahead:
            continue
        stretches.append(_Shared(first, near_first, at - first))
        skip, near_skip = _words_to_skip(keys[at:], near_keys[near_at:])
        first = at = at + skip
        near_first = near_at = near_at + near_skip
    stretches.append(_Shared(first, near_first, at - first))
    return [stretch for stretch in stretches if stretch.words >= _WORTH_SHARING]


def _words_to_skip(keys: Keys, near_keys: Keys) -> tuple[int, int]:
    """Return how many words of each to skip until they are alike again."""
    grams = gram_hashes(keys[:_CHANGED_TOGETHER], _WORTH_SHARING)
    near_grams = gram_hashes(near_keys[:_CHANGED_TOGETHER], _WORTH_SHARING)
    alike_at = np.argwhere(grams[:, None] == near_grams)
    if not len(alike_at):
        return _CHANGED_TOGETHER, _CHANGED_TOGETHER
    skip, near_skip = alike_at[alike_at.sum(axis=1).argmin()]
    return int(skip), int(near_skip)


class PlacedWords(NamedTuple):
    """One reading of books' words, in pieces by place in a prefilter table.

    first, end: places of each piece
    book:  its book
    part:  its part, which no match leaves
    start: its first word among the book's
    overlapping: whether a part may have several
    """

    prefilter: NgramPrefilter
    first: Positions
    end: Positions
    book: Positions
    part: Positions
    start: Positions
    overlapping: bool

    @classmethod
    def of(cls, prefilter: NgramPrefilter, pieces: Sequence[_Piece]) -> PlacedWords:
        """Sort the pieces by place."""
        rows = np.array(sorted(pieces), dtype=np.intp).reshape(-1, 5)
        first, words, book, part, start = rows.T
        return cls(
            prefilter,
            first=first,
            end=first + words,
            book=book,
            part=part,
            start=start,
            overlapping=len(np.unique(part)) < len(part),
        )

    @property
    def pieces_nbytes(self) -> int:
        """Return the bytes of memory that its pieces take."""
        columns = (
            self.first,
            self.end,
            self.book,
            self.part,
            self.start,
        )
        return sum(column.nbytes for column in columns)

    @staticmethod
    def nbytes_of(*readings: PlacedWords) -> int:
        """Return the bytes of memory that readings take; several may share a table."""
        tables = {id(reading.prefilter): reading.prefilter for reading in readings}
        of_tables = sum(table.nbytes for table in tables.values())
        of_pieces = sum(reading.pieces_nbytes for reading in readings)
        return of_tables + of_pieces

    def cut_at_pieces(self, runs: Runs) -> tuple[Runs, PieceNumbers]:
        """Return the runs cut at the ends of pieces, each with its piece's number.

        Without what is shorter than an n-gram of the table.
        """
        end = runs.place + runs.words
        first_piece = self.end.searchsorted(runs.place, side="right")
        pieces = self.first.searchsorted(end) - first_piece
        if (pieces == 1).all():
            begins_inside = self.first[first_piece] <= runs.place
            ends_inside = end <= self.end[first_piece]
            if (begins_inside & ends_inside).all():
                return runs, first_piece  # nothing to cut, as nearly always
        numbers = np.arange(len(first_piece))
        of = numbers.repeat(pieces)
        piece = count_up(first_piece, pieces)
        run_start = runs.place[of]
        first = np.maximum(run_start, self.first[piece])
        cut_end = np.minimum(end[of], self.end[piece])
        words = cut_end - first
        skipped = first - run_start
        cut_runs = Runs(
            text=runs.text[of] + skipped,
            place=first,
            words=words,
        )
        is_long = words >= self.prefilter.n
        return cut_runs.where(is_long), piece[is_long]

    def matches(self, words: Keyed, runs: Runs) -> BookMatches:
        """Return the runs of texts' words as matches with the books.

        By text and place in the table, so that later sorts find them nearly sorted.
        """
        runs, piece = self.cut_at_pieces(runs)
        text = words.text_of(runs.text)
        text_and_place = (text << _PLACE_BITS) | runs.place
        order = np.argsort(text_and_place, kind="stable")
        runs = runs.where(order)
        piece = piece[order]
        skipped = runs.place - self.first[piece]
        matches = BookMatches(
            text=text[order],
            place=runs.text,
            book=self.book[piece],
            part=self.part[piece],
            start=self.start[piece] + skipped,
            words=runs.words,
        )
        if self.overlapping:
            return _with_overlaps_joined(matches)
        return matches


def _with_overlaps_joined(matches: BookMatches) -> BookMatches:
    """Join matches that overlap in the same words of a text and of a book."""
    ahead = matches.place - matches.start
    order = np.lexsort((matches.place, ahead, matches.part))
    matches = matches.where(order)
    ahead = ahead[order]
    end = matches.place + matches.words
    is_new = matches.part[1:] != matches.part[:-1]
    is_new |= ahead[1:] != ahead[:-1]
    is_new |= matches.place[1:] > end[:-1]
    if not len(end):
        return matches
    begins = np.flatnonzero(np.append(True, is_new))
    last = np.append(begins[1:], len(end)) - 1
    joined = matches.where(begins)
    return joined._replace(words=end[last] - joined.place)
