"""Text that a test book shares with books that would make its verdict worthless.

A model that was fine-tuned on a book's text says nothing about what it memorized
before; common texts that contain most of a book, and a copy of it that is expected to
leak, would excuse what is tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError
from pytest_memleak.scoring.excused_words import SHARED_RUN as EXCUSED_RUN
from pytest_memleak.scoring.shared_words import LONG_RUN, shared_word_positions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Book, Pair, Scoring

# Two books by one author may share a motto.
_SHARED_SHARE = 0.01
# What excuses words is a passage that anyone may quote, not the tested book.
_EXCUSED_SHARE = 0.5


def validate_no_shared_text(book: Book, pair: Pair, suite_run: SuiteRun) -> None:
    """Raise BookError for a test book whose verdict would mean nothing.

    A training book of the pair contains text of it; so does a book that the model is
    expected to leak, or is part of it, so that its passages would be excused; or the
    common texts together excuse half of any test book of the suite or, with the
    training books, of the pair's.
    """
    _validate_not_trained_on(book, pair, suite_run)
    _validate_not_expected_to_leak(book, pair, suite_run)
    _validate_not_excused(book, pair, suite_run)


def _validate_not_trained_on(book: Book, pair: Pair, suite_run: SuiteRun) -> None:
    for training in suite_run.books.training_books(pair.model):
        what, share = _max_shared_share(book, training, pair.scoring)
        if share >= _SHARED_SHARE:
            raise BookError(
                f"{what} shares {share:.1%} of its words, in runs of {LONG_RUN} "
                f"or more, with {training.id!r}, which the model "
                f"{pair.model.id!r} is fine-tuned on",
                location=_place(pair.suite, book),
                hint="test with a book that the model wasn't trained on",
            )


def _validate_not_expected_to_leak(
    book: Book,
    pair: Pair,
    suite_run: SuiteRun,
) -> None:
    if pair.expected == "leak" or pair.control:
        return
    for source in suite_run.suite.books_expected_to_leak(pair.model):
        leaking = suite_run.books.cut_into_excerpts(source)
        what, share = _max_shared_share(book, leaking, pair.scoring)
        _, part = _max_shared_share(leaking, book, pair.scoring)
        if share >= _SHARED_SHARE or part >= _EXCUSED_SHARE:
            raise BookError(
                f"{what} shares {share:.1%} of its words, in runs of {LONG_RUN} "
                f"or more, with {source.id!r} ({part:.1%} of that), which the "
                f"model {pair.model.id!r} is expected to leak",
                location=_place(pair.suite, book),
                hint="let another book, or another model, be the positive control",
            )


def _validate_not_excused(book: Book, pair: Pair, suite_run: SuiteRun) -> None:
    suite = suite_run.suite
    common = [source.id for source in suite.books if source.role == "common"]
    of_pair = suite.books_that_excuse_words(pair)
    excusing_by_book: list[tuple[Book, Sequence[str]]] = [(book, of_pair)]
    for other in suite_run.books.other_test_books(book):
        excusing_by_book.append((other, common))
    for tested, excusing in excusing_by_book:
        share = suite_run.books.excused_share(tested, excusing)
        if share >= _EXCUSED_SHARE:
            raise BookError(
                f"{_excusing_texts(pair, excusing)} excuse {share:.1%} of its "
                f"words (runs of {EXCUSED_RUN} or more)",
                location=_place(pair.suite, tested),
                hint="list in [[common]] only passages that anyone may quote",
            )


def _excusing_texts(pair: Pair, excusing: Sequence[str]) -> str:
    """Name the texts that excuse words of a book."""
    if any(name in pair.model.finetune_books for name in excusing):
        return f"[[common]] texts and what {pair.model.id!r} is fine-tuned on"
    return "[[common]] texts"


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
    shared, layout = shared_word_positions(book, other, scoring)
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
