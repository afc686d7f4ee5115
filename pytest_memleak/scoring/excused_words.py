"""Excused words: a protected book's words that texts which may be quoted hold, too.

Defined in docs/method.md. Limits apply to the book without them: after matching, they
are deleted from its positions, and what meets across them joins.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from pytest_memleak.records.measurement import Block
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.word_ranges import coverage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Measurement, Scoring
    from pytest_memleak.scoring.book_layout import Layout
    from pytest_memleak.scoring.book_words import BookMatches
    from pytest_memleak.scoring.word_ranges import Positions

Run = TypeVar("Run", bound=Block)

SHARED_RUN = 12
"""Exact runs of so many words between two works are quotations (docs/method.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class RemainingWords:
    """Which words of a book remain, as positions.

    before: per position, and the one behind the last word, how many remain before it;
            shape (N + 1,)
    kept:   the positions that remain, ascending
    """

    before: Positions = field(repr=False)
    kept: Positions = field(repr=False)

    @classmethod
    def without(cls, is_excused: NDArray[np.bool_]) -> RemainingWords:
        """Build from which words are excused; shape (N,)."""
        before = np.zeros(len(is_excused) + 1, dtype=np.intp)
        np.cumsum(~is_excused, out=before[1:])
        return cls(before, np.flatnonzero(~is_excused))

    @property
    def total(self) -> int:
        """Return the number of words that remain."""
        return len(self.kept)

    @property
    def excused(self) -> int:
        """Return the number of words that don't."""
        return len(self.before) - 1 - len(self.kept)

    @property
    def excused_share(self) -> float:
        """Return the share of all words that don't remain."""
        return self.excused / (len(self.before) - 1)

    def words(self, start: Positions, end: Positions) -> Positions:
        """Return how many words of each interval remain."""
        return self.before[end] - self.before[start]

    def renumbered_intervals(
        self,
        start: Positions,
        end: Positions,
        *more: Positions,
    ) -> tuple[Positions, ...]:
        """Return start and end of intervals among the words that remain.

        Those of which none remains are dropped, from `more` columns as well.
        """
        start = self.before[start]
        end = self.before[end]
        remains = start < end
        return start[remains], end[remains], *(column[remains] for column in more)


def layout_of_remaining(layout: Layout, remaining: RemainingWords) -> Layout:
    """Return the layout of a book's remaining words."""
    before = remaining.before
    bounds = {
        excerpt: (int(before[start]), int(before[end]))
        for excerpt, (start, end) in layout.bounds.items()
    }
    return replace(
        layout,
        total=remaining.total,
        bounds=bounds,
        borders=np.unique(before[layout.borders]),
        ends=before[layout.ends],
    )


def placed_in_book(
    measured: Measurement,
    remaining: RemainingWords,
    layout: Layout,
) -> Measurement:
    """Return a measurement of remaining words with runs placed in the whole book.

    Their lengths are still in words that remain.

    layout: of the whole book
    """
    return replace(
        measured,
        longest_block=_run_in_whole_book(measured.longest_block, remaining),
        longest_span=_run_in_whole_book(measured.longest_span, remaining),
        spans=tuple(_run_in_whole_book(span, remaining) for span in measured.spans),
        excerpt_starts=layout.excerpt_starts,
    )


def _run_in_whole_book(run: Run, remaining: RemainingWords) -> Run:
    if run.start is None or run.end is None:
        return run
    start = int(remaining.kept[run.start])
    end = int(remaining.kept[run.end - 1]) + 1
    return replace(run, start=start, end=end)


class ExcusedBook(NamedTuple):
    """What remains of a protected book, as measured and in folded words.

    by_text: per text that excuses any, how many of the book's measured words it holds
    """

    exact: RemainingWords
    folded: RemainingWords
    by_text: Mapping[str, int]


def excused_words(
    books: Sequence[Book],
    texts: Iterable[Book],
    scoring: Scoring,
) -> dict[str, ExcusedBook]:
    """Return what remains of each book that shares a run of 12 words with a text.

    Exact and folded runs are sought apart. Raises what `SharedIndex` raises.
    """
    texts = list(texts)
    if not (books and texts):
        return {}
    index = SharedIndex(
        books,
        k=min(SHARED_RUN, scoring.k),
        mode=scoring.word_mode,
    )
    exact = [np.zeros(book.layout.total, dtype=np.bool_) for book in index.books]
    folded = [np.zeros(book.folded.total, dtype=np.bool_) for book in index.books]
    by_text: list[dict[str, int]] = [{} for _ in index.books]
    for text in texts:
        stretches = _joined_excerpts(text)
        in_text = _words_in_long_matches(
            index.matches(stretches, near=False).matches, exact
        )
        for number, is_shared in in_text.items():
            exact[number] |= is_shared
            by_text[number][text.id] = int(np.count_nonzero(is_shared))
        for number, is_shared in _words_in_long_matches(
            index.folded_matches(stretches),
            folded,
        ).items():
            folded[number] |= is_shared
    return {
        book.id: ExcusedBook(
            RemainingWords.without(exact[number]),
            RemainingWords.without(folded[number]),
            by_text[number],
        )
        for number, book in enumerate(index.books)
        if exact[number].any() or folded[number].any()
    }


def _joined_excerpts(text: Book) -> list[str]:
    """Return the text's excerpts, joined where nothing is missing between them."""
    borders = [0, *text.breaks, len(text.excerpts)]
    stretches = []
    for first, end in pairwise(borders):
        excerpts = [excerpt.text for excerpt in text.excerpts[first:end]]
        stretches.append("\n\n".join(excerpts))
    return stretches


def _words_in_long_matches(
    matches: BookMatches,
    of_books: Sequence[NDArray[np.bool_]],
) -> dict[int, NDArray[np.bool_]]:
    """Return which words of each book lie in long matches, by the book's number."""
    long = matches.where(matches.words >= SHARED_RUN)
    shared = {}
    for number in np.unique(long.book).tolist():
        of_book = long.where(long.book == number)
        words = len(of_books[number])
        shared[number] = coverage(of_book.start, of_book.end, words=words) > 0
    return shared
