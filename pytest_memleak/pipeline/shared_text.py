"""Text that a test book shares with training books or with common texts.

A model that was fine-tuned on a book's text says nothing about what it memorized
before, and common texts that contain most of a book would excuse what is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError
from pytest_memleak.scoring.shared_words import SHARED_RUN, shared_word_positions

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.pipeline.prepared_books import PreparedBooks
    from pytest_memleak.records import Book, Pair, Scoring

# Two books by one author may share a motto.
_SHARED_SHARE = 0.01
# A common text is a passage that anyone may quote, not the tested book.
_COMMON_SHARE = 0.5


def validate_no_shared_text(book: Book, pair: Pair, books: PreparedBooks) -> None:
    """Raise BookError for a test book whose verdict would mean nothing.

    One of which a training book of the pair contains text; or any of the suite of which
    the common texts contain half.
    """
    _validate_no_training_overlap(book, pair, books)
    _validate_not_common(book, pair, books)


def _validate_no_training_overlap(
    book: Book,
    pair: Pair,
    books: PreparedBooks,
) -> None:
    for training in books.training_books(pair.model):
        what, share = _max_shared_share(book, training, pair.scoring)
        if share >= _SHARED_SHARE:
            raise BookError(
                f"{what} shares {share:.1%} of its words, in runs of {SHARED_RUN} "
                f"or more, with {training.id!r}, which the model "
                f"{pair.model.id!r} is fine-tuned on",
                location=_place(pair.suite, book),
                hint="test with a book that the model wasn't trained on",
            )


def _validate_not_common(book: Book, pair: Pair, books: PreparedBooks) -> None:
    for tested in (book, *books.other_test_books(book)):
        share = books.share_in_common_texts(tested)
        if share >= _COMMON_SHARE:
            raise BookError(
                f"[[common]] texts excuse {share:.1%} of its words (runs of "
                f"{SHARED_RUN} or more)",
                location=_place(pair.suite, tested),
                hint="list in [[common]] only passages that anyone may quote",
            )


def _place(suite: Path, book: Book) -> str:
    return f"{suite}: book {book.id!r}"


def _max_shared_share(
    book: Book,
    other: Book,
    scoring: Scoring,
) -> tuple[str, float]:
    """Return the share of the book's words that the other contains, too, in long runs.

    For a collection, it is the highest share of any work, with that work's title.
    """
    shared, layout = shared_word_positions(book, [other], scoring)
    if not book.works:
        return "it", len(shared) / layout.total
    bounds = list(layout.bounds.values())
    share_and_title: list[tuple[float, str]] = []
    for work in book.works:
        first, _ = bounds[work.first]
        _, end = bounds[work.end - 1]
        if first < end:
            common = len(shared.intersection(range(first, end)))
            share_and_title.append((common / (end - first), work.title))
    share, title = max(share_and_title)
    return f"its work {title!r}", share
