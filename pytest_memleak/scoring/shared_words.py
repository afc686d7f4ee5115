"""Words of a book that another book shares with it, in long runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.scoring.multi_book_index import SharedIndex

if TYPE_CHECKING:
    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.book_layout import Layout

# Two books by one author may share a motto; a book and another edition of it share
# pages.
LONG_RUN = 20


def shared_word_positions(
    book: Book,
    other: Book,
    scoring: Scoring,
) -> tuple[set[int], Layout]:
    """Return the book's words that the other shares in long runs, and its layout."""
    index = SharedIndex([book], k=min(LONG_RUN, scoring.k), mode=scoring.word_mode)
    text = "\n".join(excerpt.text for excerpt in other.excerpts)
    matches = index.matches([text], near=False).matches
    long = matches.where(matches.words >= LONG_RUN)
    shared: set[int] = set()
    for start, end in zip(long.start.tolist(), long.end.tolist(), strict=True):
        shared.update(range(start, end))
    return shared, index.books[0].layout
