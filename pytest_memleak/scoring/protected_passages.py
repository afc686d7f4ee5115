"""Passages of protected books, and their counts while generations pass.

Defined in docs/method.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Block, Origin
from pytest_memleak.scoring.excused_words import ExcusedBook, RemainingWords
from pytest_memleak.scoring.measure_table import (
    LONGEST_PASSAGE,
    NV_LONGEST_PASSAGE,
    PASSAGES_OVER,
)
from pytest_memleak.scoring.multi_book_index import SharedIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.word_ranges import Positions

LONGEST_MEASURES = (LONGEST_PASSAGE.name, NV_LONGEST_PASSAGE.name)


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class ProtectedPassage(Block):
    """A passage of `book` in one generation; words 0 and None if there is none.

    words:      its matching words
    start, end: among the book's words (of a near-verbatim passage, among the book's
                folded words, `passage_words`)
    excerpt_at: id of the excerpt in which it begins
    skipped:    that excerpt's words before it
    origin, excerpt_id, generation: origin, prompted excerpt, and ordinal of the
                generation
    place:      its first word among the generation's (folded) words, then further
                readings'
    books:      ids of all books that contain it, protected and excused, in order
    """

    book: str | None = None
    excerpt_at: str | None = None
    skipped: int = 0
    excerpt_id: str | None = None
    generation: int | None = None
    place: int | None = None
    origin: Origin = Origin.SAMPLED
    books: tuple[str, ...] = ()

    @property
    def holder(self) -> tuple[Origin, str, int]:
        """Return its generation's origin, prompted excerpt, and ordinal."""
        return self.origin, self.excerpt_id or "", self.generation or 0

    def __eq__(self, other: object) -> bool:
        """Compare all fields with a passage's; with runs and numbers as blocks do."""
        if not isinstance(other, ProtectedPassage):
            return Block.__eq__(self, other)
        names = [field.name for field in fields(self)]
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = Block.__hash__


@dataclass(frozen=True, slots=True)
class ProtectedPassages:
    """The passages of all protected books in a pair's generations.

    longest_passage, nv_longest_passage: exact and near-verbatim; of equals the first by
                 origin, prompted excerpt, generation, place in it, book and place in
                 the book
    passages:    the distinct passages over T, book by book, longest first
    excused, nv_excused: the longest that an excused book contains at least as many
                 words of: reported, and subject to no limit
    by_round, nv_by_round: per round the words of its longest passage
    of_excerpts, nv_of_excerpts: for a collection, the words of the longest passage that
                 begins in each excerpt of each book (id, excerpt's id)
    own:         the name of the pair's book among all these
    of_own, of_others: if the pair's own book is excused, the longest passages of it and
                 of all other books, by the names of the measures; else empty
    whole:       the measures of passages with their excused words, by name; empty where
                 no words are excused
    """

    longest_passage: ProtectedPassage
    nv_longest_passage: ProtectedPassage
    passages: tuple[ProtectedPassage, ...] = field(repr=False)
    excused: ProtectedPassage
    nv_excused: ProtectedPassage
    by_round: tuple[int, ...] = field(repr=False)
    nv_by_round: tuple[int, ...] = field(repr=False)
    of_excerpts: Mapping[tuple[str, str], int] = field(default_factory=dict, repr=False)
    nv_of_excerpts: Mapping[tuple[str, str], int] = field(
        default_factory=dict,
        repr=False,
    )
    own: str = ""
    of_own: Mapping[str, ProtectedPassage] = field(default_factory=dict)
    of_others: Mapping[str, ProtectedPassage] = field(default_factory=dict)
    whole: Mapping[str, int] = field(default_factory=dict)

    @property
    def longest(self) -> dict[str, ProtectedPassage]:
        """Return the longest passages, by the names of their measures."""
        return {name: getattr(self, name) for name in LONGEST_MEASURES}

    @property
    def passages_over(self) -> int:
        """Return the number of distinct passages over the threshold."""
        return len(self.passages)

    def measures(self) -> dict[str, int]:
        """Return the measures of passages, by name."""
        longest = {name: passage.words for name, passage in self.longest.items()}
        return {**longest, PASSAGES_OVER.name: self.passages_over}

    def measures_of_own_book_and_others(
        self,
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return measures of the pair's own book and of others, if it is excused."""
        if not self.of_own:
            return {}, {}
        own = _words_by_name(self.of_own)
        others = _words_by_name(self.of_others)
        own_over = sum(passage.book == self.own for passage in self.passages)
        own[PASSAGES_OVER.name] = own_over
        others[PASSAGES_OVER.name] = self.passages_over - own_over
        return own, others


def _words_by_name(passages: Mapping[str, ProtectedPassage]) -> dict[str, float]:
    return {name: float(passage.words) for name, passage in passages.items()}


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class Protected:
    """The books that a pair's generations are matched with, all of them in `index`.

    measured: id of the book with the prompted excerpts; the four measures cover its
              words
    books:    ids of the protected books, in the order in which they count: the pair's
              first, by its name `whole` if it has one
    excused:  ids of the books that excuse what they contain: training books, common
              texts, and those that the model may reproduce here, perhaps the pair's own
    catalog:  ids of further protected books, which count after the others, and with
              nothing under `least` words: the index has all that share so many words
              with a generation
    whole:    if only parts of the pair's book are measured, the name of the whole
    remaining: what remains of those books of which texts that may be quoted excuse
              words, by id
    """

    index: SharedIndex
    measured: str
    books: tuple[str, ...]
    excused: tuple[str, ...] = ()
    catalog: tuple[str, ...] = ()
    least: int = 0
    whole: str | None = None
    remaining: Mapping[str, ExcusedBook] = field(default_factory=dict)

    @classmethod
    def of_one_book(
        cls, book: Book, scoring: Scoring, remaining: RemainingWords
    ) -> Protected:
        """Build from one book, of which only some words count, whatever the folding."""
        index = SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
        every_word = np.zeros(index.books[0].folded.total, dtype=np.bool_)
        folded = RemainingWords.without(every_word)
        excused = ExcusedBook(remaining, folded, {})
        return cls(index, book.id, (book.id,), remaining={book.id: excused})

    def __post_init__(self) -> None:
        """Raise SettingsError for a book that is not in the index."""
        for book_id in (self.measured, *self.books, *self.excused, *self.catalog):
            if book_id not in self.index.numbers:
                raise SettingsError(
                    f"book {book_id!r} isn't in the index",
                    hint="build the index from all protected books of the run",
                )


# Kinds of pieces.
OTHER = 0
"""Subject to limits."""

OWN = 1
"""Of the pair's own book, excused by itself alone."""

EXCUSED = 2
"""Excused by another book."""

# Pieces over T that wait before all but the best of each place are dropped.
_WAITING = 1 << 16


class RankedPassage(NamedTuple):
    """A passage as it is ranked: the least is the longest, and the first of equals.

    origin, excerpt, ordinal: of its generation
    place: of its first word in the generation
    rank: its book's
    start, end: among the book's words
    """

    minus_words: int
    origin: int
    excerpt: int
    ordinal: int
    place: int
    rank: int
    start: int
    end: int


class RankedColumns(NamedTuple):
    """Passages as they are ranked, one entry each; fields as of `RankedPassage`."""

    minus_words: Positions
    origin: Positions
    excerpt: Positions
    ordinal: Positions
    place: Positions
    rank: Positions
    start: Positions
    end: Positions

    def where(self, chosen: Positions) -> RankedColumns:
        """Return the passages of these numbers."""
        return RankedColumns(*(column[chosen] for column in self))

    def rows(self) -> Iterable[RankedPassage]:
        """Return the passages one by one."""
        columns = [column.tolist() for column in self]
        return map(RankedPassage._make, zip(*columns, strict=True))

    def by_end(self) -> NDArray[np.int64]:
        """Return rank, end, and the other fields in order; shape (n, 8)."""
        *in_text, rank, start, end = self
        return np.stack((rank, end, *in_text, start), axis=1)


@dataclass(slots=True)
class LongestPassages:
    """The longest passages of some generations.

    best:        of each kind (OTHER, OWN, EXCUSED), as they are ranked
    by_round:    words of the longest that is not EXCUSED, per round
    of_excerpts: for a collection, words of the longest that is not EXCUSED and begins
                 in each excerpt, by its number among those of all protected books
    """

    best: dict[int, RankedPassage] = field(default_factory=dict)
    by_round: dict[int, int] = field(default_factory=dict)
    of_excerpts: dict[int, int] = field(default_factory=dict)

    def add(self, other: LongestPassages) -> None:
        """Add those of other generations."""
        for kind, best in other.best.items():
            own_best = self.best.get(kind, best)
            self.best[kind] = min(own_best, best)
        _raise_to_greater(self.by_round, other.by_round)
        _raise_to_greater(self.of_excerpts, other.of_excerpts)

    def longest_by_round(self, rounds: int) -> tuple[int, ...]:
        """Return the words of the longest in each of rounds 0 to rounds - 1."""
        return tuple(self.by_round.get(number, 0) for number in range(rounds))

    def note_best(self, passages: RankedColumns, kind: Positions) -> None:
        """Keep the best of the passages, by the kind of each."""
        for number in (OTHER, OWN, EXCUSED):
            of_kind = np.flatnonzero(kind == number)
            if not len(of_kind):
                continue
            minus_words = passages.minus_words[of_kind]
            is_longest = minus_words == minus_words.min()
            longest = passages.where(of_kind[is_longest])
            best = min(longest.rows())
            best_before = self.best.get(number, best)
            self.best[number] = min(best_before, best)

    def kind_of_best_unexcused(self) -> int:
        """Return the kind of the best passage that is not excused; OTHER if none is."""
        kinds = [kind for kind in (OTHER, OWN) if kind in self.best]
        return min(kinds, key=self.best.__getitem__, default=OTHER)


def note_longest(
    longest: dict[int, int],
    numbers: Positions,
    words: Positions,
) -> None:
    """Record the most words of each number."""
    greatest_number = int(numbers.max(initial=-1))
    most = np.zeros(greatest_number + 1, dtype=np.intp)
    np.maximum.at(most, numbers, words)
    present = np.flatnonzero(most)
    pairs = zip(present.tolist(), most[present].tolist(), strict=True)
    _raise_to_greater(longest, dict(pairs))


def _raise_to_greater(longest: dict[int, int], other: Mapping[int, int]) -> None:
    for number, words in other.items():
        words_before = longest.get(number, 0)
        longest[number] = max(words_before, words)


@dataclass(slots=True)
class BestPassages:
    """The counts of some generations; small, to travel well between processes.

    over: pieces over T, as `RankedColumns.by_end` returns them
    """

    exact: LongestPassages = field(default_factory=LongestPassages)
    near: LongestPassages = field(default_factory=LongestPassages)
    over: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, other: BestPassages) -> None:
        """Add the counts of other generations."""
        self.exact.add(other.exact)
        self.near.add(other.near)
        for rows in other.over:
            self.add_pieces_over_threshold(rows)

    def add_pieces_over_threshold(self, rows: NDArray[np.int64]) -> None:
        """Add pieces over the threshold."""
        self.over.append(rows)
        waiting = sum(map(len, self.over))
        kept = len(self.over[0])
        if waiting > max(_WAITING, 2 * kept):
            self.longest_piece_by_book_and_end()

    def longest_piece_by_book_and_end(self) -> NDArray[np.int64]:
        """Return the longest piece of each book and end; of equals the first."""
        if not self.over:
            return np.empty((0, 8), dtype=np.int64)
        rows = np.concatenate(self.over)
        last_column_first = rows.T[::-1]
        rows = rows[np.lexsort(last_column_first)]
        rank_and_end = rows[:, :2]
        differs = rank_and_end[1:] != rank_and_end[:-1]
        is_first = np.ones(len(rows), dtype=np.bool_)
        is_first[1:] = differs.any(axis=1)
        longest = rows[is_first]
        self.over = [longest]
        return longest
