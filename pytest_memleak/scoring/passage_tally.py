"""The tally of protected passages in any generation of a pair (docs/method.md)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.records import Origin
from pytest_memleak.scoring.distinct_spans import distinct_spans
from pytest_memleak.scoring.find_passages import (
    TextPassages,
    contained_in,
    find_chains,
    inside,
    longest_within_each,
    nearly_contained_in,
    verbatim_passages,
)
from pytest_memleak.scoring.prompt_trimming import PromptWords
from pytest_memleak.scoring.protected_passages import (
    EXCUSED,
    LONGEST_MEASURES,
    OTHER,
    OWN,
    BestPassages,
    ProtectedPassage,
    ProtectedPassages,
    RankedColumns,
    RankedPassage,
    note_longest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.book_layout import Layout
    from pytest_memleak.scoring.book_words import BookMatches
    from pytest_memleak.scoring.excused_words import RemainingWords
    from pytest_memleak.scoring.multi_book_index import (
        IndexedBook,
        NearMatches,
        TextMatches,
    )
    from pytest_memleak.scoring.prompt_trimming import Ranges
    from pytest_memleak.scoring.protected_passages import LongestPassages, Protected
    from pytest_memleak.scoring.word_ranges import Positions

_ORIGINS = tuple(Origin)  # by its number


class Prompted(NamedTuple):
    """Texts of one origin: number of the excerpt that prompted each, and its round."""

    excerpt: Positions
    ordinal: Positions
    origin: Origin

    def of(self, texts: Positions) -> Prompted:
        """Return those of some texts, by number."""
        return Prompted(
            excerpt=self.excerpt[texts],
            ordinal=self.ordinal[texts],
            origin=self.origin,
        )


class PassageTally:
    """A finder of passages, which counts them in `BestPassages`."""

    def __init__(
        self,
        book: Book,
        protected: Protected,
        scoring: Scoring,
    ) -> None:
        """Prepare for generations prompted with excerpts of `book`."""
        self._protected = protected
        self._scoring = scoring
        self._excerpt_ids = book.prompted_ids
        self._by_excerpt = bool(book.works)  # a collection needs passages per work
        self._index_instructions(book)
        self._rank_books()
        self._mark_excusing_books()

    def _index_instructions(self, book: Book) -> None:
        index = self._protected.index
        instructions = book.given_texts
        folded = index.instructions(instructions, folded=True)
        plain = index.instructions(instructions, folded=False)
        self._near_prompt_words = PromptWords(folded, trim=self._scoring.trim)
        self._same_instructions = np.array_equal(folded.keys, plain.keys)

    def _rank_books(self) -> None:
        """Order the books that count: what several contain counts for the first."""
        protected = self._protected
        index = protected.index
        every_id = (*protected.books, *protected.catalog)
        ranked_ids = list(dict.fromkeys(every_id))
        self._order = [index.numbers[book_id] for book_id in ranked_ids]
        ranks = np.arange(len(self._order))
        self._rank = np.full(len(index.books), -1, dtype=np.intp)
        self._rank[self._order] = ranks
        # The index may lack a catalog book that shares few words.
        only_catalog = set(protected.catalog) - set(protected.books)
        is_catalog = np.array([book_id in only_catalog for book_id in ranked_ids])
        self._least = np.where(is_catalog, protected.least, 0)
        # Excused books are named after those that count.
        ranked = zip(self._order, self._least.tolist(), ranked_ids, strict=True)
        self._names = [*ranked]
        for book_id in protected.excused:
            number = index.numbers[book_id]
            self._names.append((number, 0, book_id))
        excerpts_of_books = [0]
        for number in self._order:
            layout = index.books[number].layout
            excerpts_of_books.append(len(layout.ids))
        self._first_excerpt = np.cumsum(excerpts_of_books)

    def _mark_excusing_books(self) -> None:
        """Mark the pair's own book if it is excused, and the books that excuse."""
        protected = self._protected
        index = protected.index
        own = index.numbers[protected.whole or protected.measured]
        excused = [index.numbers[book_id] for book_id in protected.excused]
        books = len(index.books)
        self._is_excused_own_book = np.zeros(books, dtype=np.bool_)
        self._is_excused_own_book[own] = own in excused
        self._is_excusing_book = np.zeros(books, dtype=np.bool_)
        self._is_excusing_book[excused] = True
        self._is_excusing_book[own] = False
        self._own_rank = -1
        if own in excused:
            self._own_rank = int(self._rank[own])

    def count(
        self,
        counts: BestPassages,
        shared: TextMatches,
        prompt_ranges: Ranges,
        prompted: Prompted,
    ) -> None:
        """Count the passages in texts.

        prompt_ranges: of m-grams of their own instructions
        """
        self._count_exact(counts, shared, prompt_ranges, prompted)
        for near in shared.near:
            if not len(near.matches.text):
                continue
            alike = self._same_instructions and near.words is shared.exact
            near_prompted = prompted.of(near.texts)
            near_ranges = prompt_ranges
            if not alike:
                near_ranges = self._near_prompt_words.ranges(
                    near.words,
                    near_prompted.excerpt,
                )
            self._count_near(
                counts=counts,
                matched=near,
                prompt_ranges=near_ranges,
                prompted=near_prompted,
            )

    def describe_passages(
        self, counts: BestPassages, *, rounds: int
    ) -> ProtectedPassages:
        """Return the passages of rounds 0 to rounds - 1."""
        exact = counts.exact
        near = counts.near
        best_by_kind = [exact.best.get(kind) for kind in (OTHER, OWN, EXCUSED)]
        every_passage = [*best_by_kind, *self._distinct_passages_over_threshold(counts)]
        others, own, excused, *distinct = self._describe_exact(every_passage)
        nv_others = self._describe_near(near.best.get(OTHER))
        nv_own = self._describe_near(near.best.get(OWN))
        nv_excused = self._describe_near(near.best.get(EXCUSED))
        longest = {OTHER: others, OWN: own}
        nv_longest = {OTHER: nv_others, OWN: nv_own}
        of_own: dict[str, ProtectedPassage] = {}
        of_others: dict[str, ProtectedPassage] = {}
        if self._own_rank >= 0:
            of_own = dict(zip(LONGEST_MEASURES, (own, nv_own), strict=True))
            of_others = dict(zip(LONGEST_MEASURES, (others, nv_others), strict=True))
        return ProtectedPassages(
            longest_passage=longest[exact.kind_of_best_unexcused()],
            nv_longest_passage=nv_longest[near.kind_of_best_unexcused()],
            passages=tuple(distinct),
            excused=excused,
            nv_excused=nv_excused,
            of_own=of_own,
            of_others=of_others,
            by_round=exact.longest_by_round(rounds),
            nv_by_round=near.longest_by_round(rounds),
            of_excerpts=self._longest_by_ids(exact.of_excerpts),
            nv_of_excerpts=self._longest_by_ids(near.of_excerpts),
            own=self._protected.whole or self._protected.measured,
        )

    def _longest_by_ids(self, longest: Mapping[int, int]) -> dict[tuple[str, str], int]:
        """Replace numbers of excerpts by their books' ids and their own."""
        by_excerpt = {}
        for number, words in longest.items():
            books_begun = self._first_excerpt.searchsorted(number, side="right")
            rank = int(books_begun) - 1
            nth_excerpt = number - int(self._first_excerpt[rank])
            book = self._book(rank)
            excerpt_id = book.layout.ids[nth_excerpt]
            by_excerpt[book.id, excerpt_id] = words
        return by_excerpt

    def words_of_longest_book(self, *, near: bool) -> int:
        """Return the words of the longest protected book, folded if `near`.

        No passage has more.
        """
        totals = [layout.total for layout in self._layouts(near=near)]
        return max(totals, default=0)

    def _book(self, rank: int) -> IndexedBook:
        """Return the book of this rank."""
        return self._protected.index.books[self._order[rank]]

    def _layouts(self, *, near: bool) -> list[Layout]:
        """Return the layouts of the books by rank, in folded words if `near`."""
        books = [self._protected.index.books[number] for number in self._order]
        return [book.layout_of(near=near) for book in books]

    # --- counting

    def _count_exact(
        self,
        counts: BestPassages,
        shared: TextMatches,
        prompt_ranges: Ranges,
        prompted: Prompted,
    ) -> None:
        matches = shared.matches
        protected = matches.where(self._rank[matches.book] >= 0)
        trim, k = self._scoring.trim, self._scoring.k
        passages = verbatim_passages(protected, prompt_ranges, trim=trim, least_words=k)
        counts_here = passages.words >= self._least[self._rank[passages.book]]
        if not counts_here.all():
            passages = passages.where(counts_here)
        if not len(passages.words):
            return
        kind = self._kind_of_each(passages, partial(contained_in, matches, passages))
        if self._protected.remaining:
            passages, kind = self._without_excused(passages, kind)
        text_start = shared.exact.ends[passages.text] + 1
        rows = self._rank_and_note_longest(
            counts.exact,
            passages=passages,
            place=passages.place - text_start,
            kind=kind,
            prompted=prompted,
            layouts=self._layouts(near=False),
        )
        is_over = passages.words > self._scoring.effective_threshold
        over = np.flatnonzero(is_over)
        if len(over):
            counts_first = self._lie_in_no_earlier_book(passages.where(over))
            is_limited = kind[over] != EXCUSED
            over = over[counts_first & is_limited]
            counts.add_pieces_over_threshold(rows.where(over).by_end())

    def _without_excused(
        self,
        passages: TextPassages,
        kind: Positions,
    ) -> tuple[TextPassages, Positions]:
        """Return the passages without their books' excused words, and their kinds.

        Excused words at either end are cut off, those between aren't counted. What an
        excused book contains stays as it is, as do those of which nothing is left.
        """
        kind = kind.copy()
        passages = TextPassages(*(column.copy() for column in passages))
        for number in np.unique(passages.book).tolist():
            remaining = self._remaining_words_of(number, near=False)
            of_book = np.flatnonzero(
                (passages.book == number) & (kind != EXCUSED),
            )
            if remaining is None or not len(of_book):
                continue
            start, end = passages.start[of_book], passages.end[of_book]
            words = remaining.words(start, end)
            kind[of_book[words == 0]] = EXCUSED
            is_left = words > 0
            left = of_book[is_left]
            first = remaining.kept[remaining.before[start[is_left]]]
            behind = remaining.kept[remaining.before[end[is_left]] - 1] + 1
            passages.place[left] += first - start[is_left]
            passages.place_end[left] -= end[is_left] - behind
            passages.start[left] = first
            passages.end[left] = behind
            passages.words[left] = words[is_left]
        return passages, kind

    def _remaining_words_of(self, number: int, *, near: bool) -> RemainingWords | None:
        """Return a book's words that no text excuses; None if none is excused.

        number: in the index
        """
        book_id = self._protected.index.books[number].id
        excused = self._protected.remaining.get(book_id)
        if excused is None:
            return None
        return excused.folded if near else excused.exact

    def _kind_of_each(
        self,
        passages: TextPassages,
        contained: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
    ) -> Positions:
        """Return the kind of each passage.

        contained: which passages some books contain. The pair's own book, if excused,
        excuses its passages in other books, not itself.
        """
        own = self._rank[passages.book] == self._own_rank
        cases = [
            contained(self._is_excusing_book),
            own,
            contained(self._is_excused_own_book),
        ]
        return np.select(cases, [EXCUSED, OWN, EXCUSED], OTHER)

    def _lie_in_no_earlier_book(self, passages: TextPassages) -> NDArray[np.bool_]:
        """Return which passages lie in no passage of an earlier book."""
        rank = self._rank[passages.book]
        counts_first = np.ones(len(rank), dtype=np.bool_)
        for book_rank in np.unique(rank).tolist():
            is_own = rank == book_rank
            own = passages.where(is_own)
            earlier = passages.where(rank < book_rank)
            counts_first[is_own] = ~inside(own, earlier.place, earlier.place_end)
        return counts_first

    def _count_near(
        self,
        counts: BestPassages,
        matched: NearMatches,
        prompt_ranges: Ranges,
        prompted: Prompted,
    ) -> None:
        near = matched.matches
        protected = near.where(self._rank[near.book] >= 0)
        chains = self._chains_of_matches(protected, prompt_ranges)
        if not len(chains.words):
            return
        whole = chains
        if self._protected.remaining:
            whole = self._with_excused_words_counted(chains, protected)
        kind = self._kind_of_each(chains, partial(nearly_contained_in, near, whole))
        text_start = matched.words.ends[chains.text] + 1
        place_in_reading = chains.place - text_start
        self._rank_and_note_longest(
            counts.near,
            passages=chains,
            place=place_in_reading + matched.ahead[chains.text],
            kind=kind,
            prompted=prompted,
            layouts=self._layouts(near=True),
        )

    def _chains_of_matches(
        self, matches: BookMatches, prompt_ranges: Ranges
    ) -> TextPassages:
        """Return the chains of matches; the books' excused words count for none."""
        trim = self._scoring.trim
        partly_excused = {
            number: remaining
            for number in np.unique(matches.book).tolist()
            if self._protected.remaining
            and (remaining := self._remaining_words_of(number, near=True))
        }
        if not partly_excused:
            return find_chains(matches, prompt_ranges, trim=trim)
        others = ~np.isin(matches.book, list(partly_excused))
        parts = [find_chains(matches.where(others), prompt_ranges, trim=trim)]
        for number, remaining in partly_excused.items():
            of_book = matches.where(matches.book == number)
            parts.append(
                find_chains(of_book, prompt_ranges, trim=trim, remaining=remaining),
            )
        columns = zip(*parts, strict=True)
        return TextPassages(*(np.concatenate(column) for column in columns))

    def _with_excused_words_counted(
        self,
        chains: TextPassages,
        matches: BookMatches,
    ) -> TextPassages:
        """Return the chains with the number of words that their books match there.

        Only those of books with excused words.
        """
        words = chains.words.copy()
        for number in np.unique(chains.book).tolist():
            if self._remaining_words_of(number, near=True) is None:
                continue
            of_book = matches.where(matches.book == number)
            rows = np.flatnonzero(chains.book == number)
            longest = longest_within_each(of_book, chains.where(rows))
            words[rows] = np.maximum(words[rows], longest)
        return chains._replace(words=words)

    def _rank_and_note_longest(
        self,
        longest: LongestPassages,
        passages: TextPassages,
        place: Positions,
        kind: Positions,
        prompted: Prompted,
        layouts: Sequence[Layout],
    ) -> RankedColumns:
        """Record the longest passages of each kind, round, and excerpt.

        Returns all as they are ranked.

        place: their first words among their text's; layouts: of the books, by rank
        """
        text = passages.text
        rows = RankedColumns(
            minus_words=-passages.words,
            origin=np.full_like(text, prompted.origin),
            excerpt=prompted.excerpt[text],
            ordinal=prompted.ordinal[text],
            place=place,
            rank=self._rank[passages.book],
            start=passages.start,
            end=passages.end,
        )
        longest.note_best(rows, kind)
        is_limited = kind != EXCUSED
        words = passages.words[is_limited]
        if prompted.origin is Origin.SAMPLED:
            note_longest(longest.by_round, rows.ordinal[is_limited], words)
        if self._by_excerpt:
            number = self._excerpt_numbers(rows, layouts)
            note_longest(longest.of_excerpts, number[is_limited], words)
        return rows

    def _excerpt_numbers(
        self,
        rows: RankedColumns,
        layouts: Sequence[Layout],
    ) -> Positions:
        """Return the number of the excerpt in which each begins, among all books'."""
        number = self._first_excerpt[rows.rank]
        for rank in np.unique(rows.rank).tolist():
            of_book = rows.rank == rank
            start = rows.start[of_book]
            ends = layouts[rank].ends
            number[of_book] += ends.searchsorted(start, side="right")
        return number

    # --- records

    def _distinct_passages_over_threshold(
        self, counts: BestPassages
    ) -> list[RankedPassage]:
        over = self._scoring.effective_threshold
        passages: list[RankedPassage] = []
        rows = counts.longest_piece_by_book_and_end()
        for rank in np.unique(rows[:, 0]).tolist():
            is_of_book = rows[:, 0] == rank
            pieces = rows[is_of_book]
            end = pieces[:, 1]
            first = pieces[:, 7]
            remaining = self._remaining_words_of(self._order[rank], near=False)
            if remaining is not None:
                first, end = remaining.before[first], remaining.before[end]
            start, end, nth = distinct_spans(start=first, end=end, over=over)
            words = end - start
            if remaining is not None:
                start, end = remaining.kept[start], remaining.kept[end - 1] + 1
            chosen = pieces[nth]
            _, origin, excerpt, ordinal, place, piece_start = chosen[:, 2:].T
            words_cut = start - piece_start
            columns = RankedColumns(
                minus_words=-words,
                origin=origin,
                excerpt=excerpt,
                ordinal=ordinal,
                place=place + words_cut,
                rank=np.full_like(nth, rank),
                start=start,
                end=end,
            )
            passages += columns.rows()
        return passages

    def _describe_exact(
        self,
        ranked: Sequence[RankedPassage | None],
    ) -> list[ProtectedPassage]:
        index = self._protected.index
        present = [passage for passage in ranked if passage]
        places = []
        for passage in present:
            number = self._order[passage.rank]
            places.append((number, passage.start, passage.end))
        holders = index.books_containing(places)
        described = {}
        for passage, holding in zip(present, holders, strict=True):
            ids = self._ids_of_holding_books(holding, -passage.minus_words)
            described[passage] = self._record_of(passage, near=False, books=ids)
        none = ProtectedPassage(0)
        return [described[passage] if passage else none for passage in ranked]

    def _ids_of_holding_books(
        self, holding: Sequence[int], words: int
    ) -> tuple[str, ...]:
        """Return the ids of the pair's books among these, protected ones first."""
        ids: dict[str, None] = {}  # in order
        for number, least, name in self._names:
            if words >= least and number in holding:
                ids[name] = None
        return tuple(ids)

    def _describe_near(self, passage: RankedPassage | None) -> ProtectedPassage:
        if passage is None:
            return ProtectedPassage(0)
        book = self._book(passage.rank)
        return self._record_of(passage, near=True, books=(book.id,))

    def _record_of(
        self,
        passage: RankedPassage,
        *,
        near: bool,
        books: tuple[str, ...],
    ) -> ProtectedPassage:
        book = self._book(passage.rank)
        layout = book.layout_of(near=near)
        excerpt = layout.excerpt_at(passage.start)
        return ProtectedPassage(
            words=-passage.minus_words,
            start=passage.start,
            end=passage.end,
            book=book.id,
            excerpt_at=excerpt,
            skipped=passage.start - layout.bounds[excerpt][0],
            excerpt_id=self._excerpt_ids[passage.excerpt],
            generation=passage.ordinal,
            place=passage.place,
            origin=_ORIGINS[passage.origin],
            books=books,
        )
