"""Any passage of any protected book, in any generation of a pair (METRICS section 11)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Block
from pytest_memleak.scoring.chains import chained, longest_within
from pytest_memleak.scoring.passages import distinct_passages
from pytest_memleak.scoring.recital_counts import (
    RankedRecital,
    RecitalCounts,
    note_longest,
    note_rounds,
)
from pytest_memleak.scoring.trimming import GivenAway, Pieces, untold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.chains import Chains
    from pytest_memleak.scoring.index import Positions
    from pytest_memleak.scoring.shared_index import Found, NearMatches, SharedIndex, TextMatches
    from pytest_memleak.scoring.trimming import Ranges

__all__ = ["Protected", "Recital", "RecitalTally", "Recitals"]


@dataclass(frozen=True, slots=True, eq=False)
class Recital(Block):
    """A passage of `book` that one generation gives back; words 0 and None where there is none.

    words:      its words that match; start, end: among the book's words (of a near-verbatim
                recital, among the book's folded words, `recital_words`)
    excerpt_at: id of the excerpt in which it begins
    excerpt_id, generation: what was asked for, and the ordinal of the answer
    place:      its first word among the answer's (folded) words
    books:      ids of all books that hold it, protected and of training, in their order
    """

    book: str | None = None
    excerpt_at: str | None = None
    excerpt_id: str | None = None
    generation: int | None = None
    place: int | None = None
    books: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Recitals are equal in all they say; with runs and numbers they compare as blocks do."""
        if isinstance(other, Recital):
            return all(getattr(self, one.name) == getattr(other, one.name) for one in fields(self))
        return Block.__eq__(self, other)

    __hash__ = Block.__hash__


@dataclass(frozen=True, slots=True)
class Recitals:
    """What a pair's generations recite of all protected books.

    longest_recital, nv_longest_recital: exact and near-verbatim; of equals the first by excerpt
                 asked for, generation, place in the answer, book and place in the book
    passages:    the distinct passages over T, book by book, longest first
    in_training, nv_in_training: the longest that a training book of the model holds at least as
                 long: reported, and held to no limit
    by_round, nv_by_round: per round the words of its longest recital
    of_excerpts, nv_of_excerpts: of a collection's answers, the words of the longest recital that
                 begins in each excerpt of each book (id, excerpt's id)
    own:         the name of the pair's book among all these
    """

    longest_recital: Recital
    nv_longest_recital: Recital
    passages: tuple[Recital, ...] = field(repr=False)
    in_training: Recital
    nv_in_training: Recital
    by_round: tuple[int, ...] = field(repr=False)
    nv_by_round: tuple[int, ...] = field(repr=False)
    of_excerpts: Mapping[tuple[str, str], int] = field(default_factory=dict, repr=False)
    nv_of_excerpts: Mapping[tuple[str, str], int] = field(default_factory=dict, repr=False)
    own: str = ""

    @property
    def longest(self) -> dict[str, Recital]:
        """The longest ones, by the names of the measures that they are."""
        names = ("longest_recital", "nv_longest_recital")
        return {name: getattr(self, name) for name in names}

    @property
    def recitals_over(self) -> int:
        """How many distinct passages are longer than T words."""
        return len(self.passages)


@dataclass(frozen=True, slots=True, eq=False)
class Protected:
    """The books that a pair's generations are held against, all of them in `index`.

    measured: id of the book whose excerpts were asked for; the four measures are of its words
    books:    ids of the protected books, in the order in which they count: the pair's first, by
              its name `whole` where it has one
    training: ids of the books that the model was tuned on
    catalogue: ids of further protected books, which count after the others, and with nothing
              under `least` words: all that any answer shares so many words with are in the index
    whole:    where only parts of the pair's book are measured, the name of the whole
    """

    index: SharedIndex
    measured: str
    books: tuple[str, ...]
    training: tuple[str, ...] = ()
    catalogue: tuple[str, ...] = ()
    least: int = 0
    whole: str | None = None

    def __post_init__(self) -> None:
        """Raise SettingsError for a book that is not in the index."""
        for book_id in (self.measured, *self.books, *self.training, *self.catalogue):
            if book_id not in self.index.numbers:
                raise SettingsError(
                    f"the book {book_id!r} is not in the index",
                    hint="make the index of all protected books of the run",
                )


class RecitalTally:
    """Finds recitals and puts them down in `RecitalCounts`."""

    def __init__(self, book: Book, protected: Protected, scoring: Scoring) -> None:
        """book: the one whose excerpts were asked for, and their instructions."""
        self._protected, self._scoring = protected, scoring
        self._excerpt_ids = [excerpt.id for excerpt in book.excerpts]
        index = protected.index
        asked = [excerpt.instruction or "" for excerpt in book.excerpts]
        folded = index.instructions(asked, folded=True)
        self._near_given = GivenAway(folded, trim=scoring.trim)
        plain = index.instructions(asked, folded=False)
        self._asked_alike = np.array_equal(folded.keys, plain.keys)
        self._rank = np.full(len(index.books), -1, dtype=np.intp)
        self._training = np.zeros(len(index.books), dtype=np.bool_)
        self._training[[index.numbers[one] for one in protected.training]] = True
        books = dict.fromkeys((*protected.books, *protected.catalogue))
        order = [one for one in books if one not in protected.training]
        self._rank[[index.numbers[one] for one in order]] = np.arange(len(order))
        self._order = [index.numbers[one] for one in order]
        # A book of the catalogue that few words of are shared with need not be in the index.
        catalogue = set(protected.catalogue) - set(protected.books)
        self._least = np.array([protected.least if one in catalogue else 0 for one in order])
        # Of a collection it is asked what each of its works gives.
        self._by_excerpt = bool(book.works)
        counts = [len(index.books[number].layout.ids) for number in self._order]
        self._first_excerpt = np.cumsum([0, *counts])

    def count(
        self,
        counts: RecitalCounts,
        found: TextMatches,
        given: Ranges,
        excerpt: Positions,
        ordinal: Positions,
    ) -> None:
        """Count what texts recite that answer to the `excerpt` of each, in round `ordinal`.

        given: where their own instructions' m-grams begin in them.
        """
        self._count_exact(counts, found, given, excerpt, ordinal)
        for near in found.near:
            alike = self._asked_alike and near.words is found.exact
            its = given if alike else self._near_given.ranges(near.words, excerpt[near.texts])
            self._count_near(counts, near, its, excerpt[near.texts], ordinal[near.texts])

    def recitals(self, counts: RecitalCounts, *, rounds: int) -> Recitals:
        """What was recited in rounds 0 to rounds - 1."""
        passages = self._passages(counts)
        exact = [counts.longest, counts.in_training, *passages]
        longest, in_training, *told = self._told(exact)
        return Recitals(
            longest_recital=longest,
            nv_longest_recital=self._told_nearly(counts.nv_longest),
            passages=tuple(told),
            in_training=in_training,
            nv_in_training=self._told_nearly(counts.nv_in_training),
            by_round=tuple(counts.by_round.get(one, 0) for one in range(rounds)),
            nv_by_round=tuple(counts.nv_by_round.get(one, 0) for one in range(rounds)),
            of_excerpts=self._named(counts.of_excerpts),
            nv_of_excerpts=self._named(counts.nv_of_excerpts),
            own=self._protected.whole or self._protected.measured,
        )

    def _named(self, longest: Mapping[int, int]) -> dict[tuple[str, str], int]:
        """Numbers of excerpts as their books' ids and their own."""
        found = {}
        for number, words in longest.items():
            rank = int(self._first_excerpt.searchsorted(number, side="right")) - 1
            book = self._protected.index.books[self._order[rank]]
            found[book.id, book.layout.ids[number - int(self._first_excerpt[rank])]] = words
        return found

    def most_words(self, *, near: bool) -> int:
        """The words of the longest protected book, folded if `near`: no recital has more."""
        books = [self._protected.index.books[one] for one in self._order]
        return max(((one.folded if near else one.layout).total for one in books), default=0)

    # --- counting --------------------------------------------------------------------------

    def _count_exact(
        self,
        counts: RecitalCounts,
        found: TextMatches,
        given: Ranges,
        excerpt: Positions,
        ordinal: Positions,
    ) -> None:
        matches = found.matches
        protected = matches.where(self._rank[matches.book] >= 0)
        trim, keep = self._scoring.trim, self._scoring.k
        pieces = untold(
            protected.place, protected.place + protected.words, given, trim=trim, keep=keep
        )
        words = pieces.end - pieces.start
        counts_here = words >= self._least[self._rank[protected.book[pieces.of]]]
        if not counts_here.all():
            pieces, words = Pieces(*(one[counts_here] for one in pieces)), words[counts_here]
        if not len(words):
            return
        text, rank = protected.text[pieces.of], self._rank[protected.book[pieces.of]]
        start = protected.start[pieces.of] + pieces.start - protected.place[pieces.of]
        known = _inside(pieces.start, pieces.end, *self._of_training(matches))
        columns = (
            -words, excerpt[text], ordinal[text], pieces.start - found.exact.ends[text] - 1, rank,
            start, start + words,
        )  # fmt: skip
        counts.note_best("longest", "in_training", columns, known)
        note_rounds(counts.by_round, text[~known], words[~known], ordinal)
        if self._by_excerpt:
            ends = [self._protected.index.books[one].layout.ends for one in self._order]
            self._note_excerpts(
                counts.of_excerpts, rank[~known], start[~known], words[~known], ends
            )
        over = np.flatnonzero(words > self._scoring.span_threshold)
        if len(over):
            first = self._counts_first(pieces.start[over], pieces.end[over], rank[over])
            over = over[first & ~known[over]]
            minus_words, asked, round_, place, rank, start, end = (one[over] for one in columns)
            counts.add_over(np.stack((rank, end, minus_words, asked, round_, place, start), axis=1))

    def _of_training(self, matches: Found) -> tuple[Positions, Positions]:
        """Where in the texts their matches with training books begin and end."""
        learnt = matches.where(self._training[matches.book])
        return learnt.place, learnt.place + learnt.words

    def _counts_first(self, start: Positions, end: Positions, rank: Positions) -> NDArray[np.bool_]:
        """Which pieces no book before theirs has a piece around."""
        first = np.ones(len(start), dtype=np.bool_)
        for book in np.unique(rank).tolist():
            own, before = rank == book, rank < book
            first[own] = ~_inside(start[own], end[own], start[before], end[before])
        return first

    def _count_near(
        self,
        counts: RecitalCounts,
        matched: NearMatches,
        given: Ranges,
        excerpt: Positions,
        ordinal: Positions,
    ) -> None:
        near = matched.found
        protected = near.where(self._rank[near.book] >= 0)
        chains = chained(protected, given, trim=self._scoring.trim)
        if not len(chains.words):
            return
        text = chains.text
        known = self._known(near, chains)
        place = chains.place - matched.words.ends[text] - 1
        columns = (
            -chains.words, excerpt[text], ordinal[text], place,
            self._rank[chains.book], chains.start, chains.end,
        )  # fmt: skip
        counts.note_best("nv_longest", "nv_in_training", columns, known)
        note_rounds(counts.nv_by_round, text[~known], chains.words[~known], ordinal)
        if self._by_excerpt:
            ends = [self._protected.index.books[one].folded.ends for one in self._order]
            rank, start = self._rank[chains.book[~known]], chains.start[~known]
            self._note_excerpts(counts.nv_of_excerpts, rank, start, chains.words[~known], ends)

    def _note_excerpts(
        self,
        longest: dict[int, int],
        rank: Positions,
        start: Positions,
        words: Positions,
        ends: Sequence[Positions],
    ) -> None:
        """Put down recitals by the excerpts that they begin in; `ends`: those of each book."""
        place = self._first_excerpt[rank]
        for book in np.unique(rank).tolist():
            its = rank == book
            place[its] += ends[book].searchsorted(start[its], side="right")
        note_longest(longest, place, words, size=int(self._first_excerpt[-1]))

    def _known(self, near: Found, chains: Chains) -> NDArray[np.bool_]:
        """Which chains a training book has as many words of."""
        known = np.zeros(len(chains.words), dtype=np.bool_)
        learnt = near.where(self._training[near.book])
        if not len(learnt.text):
            return known
        order = np.argsort(learnt.text, kind="stable")
        learnt = learnt.where(order)
        for row, text in enumerate(chains.text.tolist()):
            first, last = learnt.text.searchsorted(text), learnt.text.searchsorted(text, "right")
            if first < last:
                its = learnt.where(np.arange(first, last))
                place, end = int(chains.place[row]), int(chains.place_end[row])
                known[row] = longest_within(its, place, end) >= chains.words[row]
        return known

    # --- telling ---------------------------------------------------------------------------

    def _passages(self, counts: RecitalCounts) -> list[RankedRecital]:
        over = max(self._scoring.span_threshold, self._scoring.k - 1)
        found = []
        rows = counts.longest_over()
        for rank in np.unique(rows[:, 0]).tolist():
            its = rows[rows[:, 0] == rank]
            for start, end, nth in distinct_passages(its[:, 6], its[:, 1], over=over):
                _, _, _, asked, ordinal, place, first = its[nth].tolist()
                moved = place + start - first
                found.append(RankedRecital(start - end, asked, ordinal, moved, rank, start, end))
        return found

    def _told(self, keys: Sequence[RankedRecital | None]) -> list[Recital]:
        index = self._protected.index
        asked = [(self._order[one.rank], one.start, one.end) for one in keys if one]
        holding = iter(index.holding(asked))
        return [
            self._recital(one, near=False, holding=next(holding)) if one else Recital(0)
            for one in keys
        ]

    def _told_nearly(self, key: RankedRecital | None) -> Recital:
        return Recital(0) if key is None else self._recital(key, near=True, holding=())

    def _recital(self, key: RankedRecital, *, near: bool, holding: Iterable[int]) -> Recital:
        index = self._protected.index
        book = index.books[self._order[key.rank]]
        layout = book.folded if near else book.layout
        return Recital(
            words=-key.minus_words,
            start=key.start,
            end=key.end,
            book=book.id,
            excerpt_at=layout.excerpt_at(key.start),
            excerpt_id=self._excerpt_ids[key.asked],
            generation=key.ordinal,
            place=key.place,
            books=self._in_order(holding, -key.minus_words) if not near else (book.id,),
        )

    def _in_order(self, holding: Iterable[int], words: int) -> tuple[str, ...]:
        """The ids of the pair's books among these, protected ones first, in their order."""
        held, index = set(holding), self._protected.index
        order = zip(self._order, self._least.tolist(), strict=True)
        told = (index.books[one].id for one, least in order if words >= least)
        ids = dict.fromkeys((*told, *self._protected.training))
        return tuple(one for one in ids if index.numbers[one] in held)


def _inside(
    start: Positions, end: Positions, around_start: Positions, around_end: Positions
) -> NDArray[np.bool_]:
    """Which intervals lie in one of the others."""
    if not len(around_start):
        return np.zeros(len(start), dtype=np.bool_)
    order = np.argsort(around_start, kind="stable")
    around_start = around_start[order]
    reached = np.append(np.maximum.accumulate(around_end[order]), -1)
    inside: NDArray[np.bool_] = reached[around_start.searchsorted(start, side="right") - 1] >= end
    return inside
