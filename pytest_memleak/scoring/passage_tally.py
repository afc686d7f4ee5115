"""The tally of protected passages in any generation of a pair (docs/method.md)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.records import Origin
from pytest_memleak.scoring.find_passages import (
    contained_in,
    find_chains,
    inside,
    nearly_contained_in,
    verbatim_passages,
)
from pytest_memleak.scoring.intervals import distinct_passages
from pytest_memleak.scoring.prompt_trimming import PromptWords
from pytest_memleak.scoring.protected_passages import (
    EXCUSED,
    LONGEST_MEASURES,
    OTHER,
    OWN,
    PassageCounts,
    ProtectedPassage,
    ProtectedPassages,
    RankedPassage,
    note_longest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.book_layout import Layout
    from pytest_memleak.scoring.find_passages import TextPassages
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.multi_book_index import NearMatches, TextMatches
    from pytest_memleak.scoring.prompt_trimming import Ranges
    from pytest_memleak.scoring.protected_passages import LongestPassages, Protected


class Prompted(NamedTuple):
    """Texts of one origin: number of the excerpt that prompted each, and its round."""

    excerpt: Positions
    ordinal: Positions
    origin: Origin

    def of(self, texts: Positions) -> Prompted:
        """Return those of some texts, by number."""
        return Prompted(self.excerpt[texts], self.ordinal[texts], self.origin)


class PassageTally:
    """A finder of passages, which counts them in `PassageCounts`."""

    def __init__(self, book: Book, protected: Protected, scoring: Scoring) -> None:
        """Prepare for generations prompted with excerpts of `book`."""
        self._protected, self._scoring = protected, scoring
        self._excerpt_ids = [excerpt.id for excerpt in book.excerpts]
        index = protected.index
        instructions = [excerpt.instruction or "" for excerpt in book.excerpts]
        folded = index.instructions(instructions, folded=True)
        self._near_prompt_words = PromptWords(folded, trim=scoring.trim)
        plain = index.instructions(instructions, folded=False)
        self._same_instructions = np.array_equal(folded.keys, plain.keys)
        self._rank = np.full(len(index.books), -1, dtype=np.intp)
        order = [*dict.fromkeys((*protected.books, *protected.catalog))]
        own = protected.whole or protected.measured
        excused = [index.numbers[book_id] for book_id in protected.excused]
        numbers = np.arange(len(index.books))
        self._own = np.isin(numbers, excused) & (numbers == index.numbers[own])
        self._excusing = np.isin(numbers, excused) & ~self._own
        self._own_rank = order.index(own) if self._own.any() else -1
        self._rank[[index.numbers[book_id] for book_id in order]] = np.arange(
            len(order)
        )
        self._order = [index.numbers[book_id] for book_id in order]
        # The index may lack a catalog book that shares few words.
        catalog = set(protected.catalog) - set(protected.books)
        self._least = np.array(
            [protected.least if book_id in catalog else 0 for book_id in order]
        )
        # Excused books are named after those that count.
        self._names = [
            *zip(self._order, self._least.tolist(), order, strict=True),
            *((index.numbers[book_id], 0, book_id) for book_id in protected.excused),
        ]
        # A collection needs passages per work.
        self._by_excerpt = bool(book.works)
        counts = [len(index.books[number].layout.ids) for number in self._order]
        self._first_excerpt = np.cumsum([0, *counts])

    def count(
        self,
        counts: PassageCounts,
        shared: TextMatches,
        prompt_ranges: Ranges,
        prompted: Prompted,
    ) -> None:
        """Count the passages in texts; prompt_ranges: of m-grams of their own instructions."""
        self._count_exact(counts, shared, prompt_ranges, prompted)
        for near in shared.near:
            if not len(near.matches.text):
                continue
            alike = self._same_instructions and near.words is shared.exact
            near_prompted = prompted.of(near.texts)
            near_ranges = (
                prompt_ranges
                if alike
                else self._near_prompt_words.ranges(near.words, near_prompted.excerpt)
            )
            self._count_near(counts, near, near_ranges, near_prompted)

    def passages(self, counts: PassageCounts, *, rounds: int) -> ProtectedPassages:
        """Return the passages of rounds 0 to rounds - 1."""
        exact, near = counts.exact, counts.near
        best = [exact.best.get(kind) for kind in (OTHER, OWN, EXCUSED)]
        others, own, excused, *distinct = self._describe_exact(
            [*best, *self._passages(counts)]
        )
        nv_others, nv_own, nv_excused = (
            self._describe_near(near.best.get(kind)) for kind in (OTHER, OWN, EXCUSED)
        )
        apart = self._own_rank >= 0
        return ProtectedPassages(
            longest_passage=own if exact.first_kind() == OWN else others,
            nv_longest_passage=nv_own if near.first_kind() == OWN else nv_others,
            passages=tuple(distinct),
            excused=excused,
            nv_excused=nv_excused,
            of_own=dict(zip(LONGEST_MEASURES, (own, nv_own), strict=True))
            if apart
            else {},
            of_others=dict(zip(LONGEST_MEASURES, (others, nv_others), strict=True))
            if apart
            else {},
            by_round=tuple(exact.by_round.get(number, 0) for number in range(rounds)),
            nv_by_round=tuple(near.by_round.get(number, 0) for number in range(rounds)),
            of_excerpts=self._by_ids(exact.of_excerpts),
            nv_of_excerpts=self._by_ids(near.of_excerpts),
            own=self._protected.whole or self._protected.measured,
        )

    def _by_ids(self, longest: Mapping[int, int]) -> dict[tuple[str, str], int]:
        """Replace numbers of excerpts by their books' ids and their own."""
        by_excerpt = {}
        for number, words in longest.items():
            rank = int(self._first_excerpt.searchsorted(number, side="right")) - 1
            book = self._protected.index.books[self._order[rank]]
            by_excerpt[
                book.id, book.layout.ids[number - int(self._first_excerpt[rank])]
            ] = words
        return by_excerpt

    def most_words(self, *, near: bool) -> int:
        """Return the words of the longest protected book, folded if `near`: an upper bound."""
        books = [self._protected.index.books[book] for book in self._order]
        return max(
            ((book.folded if near else book.layout).total for book in books), default=0
        )

    # --- counting
    # --------------------------------------------------------------------------

    def _count_exact(
        self,
        counts: PassageCounts,
        shared: TextMatches,
        prompt_ranges: Ranges,
        prompted: Prompted,
    ) -> None:
        matches = shared.matches
        protected = matches.where(self._rank[matches.book] >= 0)
        trim, keep = self._scoring.trim, self._scoring.k
        passages = verbatim_passages(protected, prompt_ranges, trim=trim, keep=keep)
        counts_here = passages.words >= self._least[self._rank[passages.book]]
        if not counts_here.all():
            passages = passages.where(counts_here)
        if not len(passages.words):
            return
        kind = self._kinds(passages, partial(contained_in, matches, passages))
        place = passages.place - shared.exact.ends[passages.text] - 1
        layouts = [self._protected.index.books[number].layout for number in self._order]
        columns = self._note(counts.exact, passages, place, kind, prompted, layouts)
        over = np.flatnonzero(passages.words > self._scoring.effective_threshold)
        if len(over):
            first = self._counts_first(passages.where(over))
            over = over[first & (kind[over] != EXCUSED)]
            *in_text, rank, start, end = (column[over] for column in columns)
            counts.add_over(np.stack((rank, end, *in_text, start), axis=1))

    def _kinds(
        self,
        passages: TextPassages,
        contained: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
    ) -> Positions:
        """Return the kind of each passage.

        contained: which passages some books contain. The pair's own book, if excused,
        excuses its passages in other books, not itself.
        """
        own = self._rank[passages.book] == self._own_rank
        cases = [contained(self._excusing), own, contained(self._own)]
        return np.select(cases, [EXCUSED, OWN, EXCUSED], OTHER)

    def _counts_first(self, passages: TextPassages) -> NDArray[np.bool_]:
        """Return which passages no earlier book contains within a passage of its own."""
        rank = self._rank[passages.book]
        first = np.ones(len(rank), dtype=np.bool_)
        for book in np.unique(rank).tolist():
            own, before = passages.where(rank == book), passages.where(rank < book)
            first[rank == book] = ~inside(own, before.place, before.place_end)
        return first

    def _count_near(
        self,
        counts: PassageCounts,
        matched: NearMatches,
        prompt_ranges: Ranges,
        prompted: Prompted,
    ) -> None:
        near = matched.matches
        protected = near.where(self._rank[near.book] >= 0)
        chains = find_chains(protected, prompt_ranges, trim=self._scoring.trim)
        if not len(chains.words):
            return
        kind = self._kinds(chains, partial(nearly_contained_in, near, chains))
        text = chains.text
        place = chains.place - matched.words.ends[text] - 1 + matched.ahead[text]
        layouts = [self._protected.index.books[number].folded for number in self._order]
        self._note(counts.near, chains, place, kind, prompted, layouts)

    def _note(
        self,
        longest: LongestPassages,
        passages: TextPassages,
        place: Positions,
        kind: Positions,
        prompted: Prompted,
        layouts: Sequence[Layout],
    ) -> tuple[Positions, ...]:
        """Record the longest passages of each kind, round, and excerpt; return all as ranked.

        place: their first words among their text's; layouts: of the books, by rank
        """
        text, words, start, rank = (
            passages.text, passages.words, passages.start, self._rank[passages.book]
        )  # fmt: skip
        columns = (
            -words, np.full_like(words, prompted.origin), prompted.excerpt[text],
            prompted.ordinal[text], place, rank, start, passages.end,
        )  # fmt: skip
        longest.note_best(columns, kind)
        limited = kind != EXCUSED
        if prompted.origin is Origin.SAMPLED:
            note_longest(
                longest.by_round, prompted.ordinal[text[limited]], words[limited]
            )
        if self._by_excerpt:
            place = self._first_excerpt[rank]
            for book in np.unique(rank).tolist():
                of_book = rank == book
                place[of_book] += layouts[book].ends.searchsorted(
                    start[of_book], side="right"
                )
            note_longest(longest.of_excerpts, place[limited], words[limited])
        return columns

    # --- records
    # ---------------------------------------------------------------------------

    def _passages(self, counts: PassageCounts) -> list[RankedPassage]:
        over = self._scoring.effective_threshold
        passages: list[RankedPassage] = []
        rows = counts.longest_over()
        for rank in np.unique(rows[:, 0]).tolist():
            pieces = rows[rows[:, 0] == rank]
            start, end, nth = distinct_passages(pieces[:, 7], pieces[:, 1], over=over)
            origin, excerpt, ordinal, place, first = pieces[nth, 3:].T
            ranks = np.full_like(nth, rank)
            columns = (
                start - end, origin, excerpt, ordinal, place + start - first, ranks, start, end,
            )  # fmt: skip
            passages += map(RankedPassage._make, np.stack(columns, axis=1).tolist())
        return passages

    def _describe_exact(
        self, keys: Sequence[RankedPassage | None]
    ) -> list[ProtectedPassage]:
        index = self._protected.index
        passages = [(self._order[key.rank], key.start, key.end) for key in keys if key]
        holding = iter(index.books_containing(passages))
        return [
            self._passage(
                key, near=False, books=self._in_order(next(holding), -key.minus_words)
            )
            if key
            else ProtectedPassage(0)
            for key in keys
        ]

    def _in_order(self, holding: Sequence[int], words: int) -> tuple[str, ...]:
        """Return the ids of the pair's books among these, protected ones first, in order."""
        ids = [
            name
            for number, least, name in self._names
            if words >= least and number in holding
        ]
        return tuple(dict.fromkeys(ids))

    def _describe_near(self, key: RankedPassage | None) -> ProtectedPassage:
        if key is None:
            return ProtectedPassage(0)
        book = self._protected.index.books[self._order[key.rank]]
        return self._passage(key, near=True, books=(book.id,))

    def _passage(
        self, key: RankedPassage, *, near: bool, books: tuple[str, ...]
    ) -> ProtectedPassage:
        book = self._protected.index.books[self._order[key.rank]]
        layout = book.folded if near else book.layout
        excerpt = layout.excerpt_at(key.start)
        return ProtectedPassage(
            words=-key.minus_words,
            start=key.start,
            end=key.end,
            book=book.id,
            excerpt_at=excerpt,
            skipped=key.start - layout.bounds[excerpt][0],
            excerpt_id=self._excerpt_ids[key.excerpt],
            generation=key.ordinal,
            place=key.place,
            origin=Origin(key.origin),
            books=books,
        )
