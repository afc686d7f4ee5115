"""What reports say of recitals: passages of any protected book, in any generation of a pair."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_memleak.findings.quotes import quote_anywhere
from pytest_memleak.findings.rates import rate_of
from pytest_memleak.records.finding import Passage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pytest_memleak.records import Book
    from pytest_memleak.scoring.recitals import Recital, Recitals
    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = ["recital_details", "recital_passages"]

_FURTHER = 5


def recital_passages(evaluation: Evaluation, quoted: int | None) -> tuple[Passage, ...]:
    """The longest recital, the longest near-verbatim one, five more, and those from training.

    quoted: words of each, None for all.
    """
    if evaluation.analysis is None or evaluation.analysis.recitals is None:
        return ()
    found = evaluation.analysis.recitals
    from_training = (found.in_training, found.nv_in_training)
    return tuple(
        _passage(kind, one, evaluation, quoted, from_training=one in from_training)
        for kind, one in _to_tell(found)
        if one.start is not None
    )


def recital_details(evaluation: Evaluation) -> dict[str, Any]:
    """What the evidence says beside the lengths: places, and how many book by book."""
    if evaluation.analysis is None or evaluation.analysis.recitals is None:
        return {}
    found = evaluation.analysis.recitals
    over = Counter(_book_id(one.book, evaluation) for one in found.passages)
    return {
        "longest_recital": _place(found.longest_recital, evaluation),
        "nv_longest_recital": _place(found.nv_longest_recital, evaluation),
        "recitals_over": {"books": dict(sorted(over.items()))},
        "recital_in_training": {"value": found.in_training.words}
        | _place(found.in_training, evaluation),
        "nv_recital_in_training": {"value": found.nv_in_training.words}
        | _place(found.nv_in_training, evaluation),
    }


def _to_tell(found: Recitals) -> Iterator[tuple[str, Recital]]:
    yield "longest recital", found.longest_recital
    yield "longest near-verbatim recital", found.nv_longest_recital
    longest_first = sorted(found.passages, key=lambda one: -one.words)

    def book(one: Recital) -> str | None:
        return None if one.book in found.measured else one.book

    of_each_book = {book(one): one for one in reversed(longest_first)}
    first = [one for one in longest_first if of_each_book[book(one)] is one]
    further = [one for one in longest_first if of_each_book[book(one)] is not one]
    told = [found.longest_recital]
    for one in (*first, *further):
        if not any(_within(one, other, found.measured) for other in told):
            told.append(one)
    yield from (("recital", one) for one in told[1:][:_FURTHER])
    yield "recital", found.in_training
    yield "near-verbatim recital", found.nv_in_training


def _within(one: Recital, other: Recital, measured: Collection[str]) -> bool:
    """Whether a recital lies in another of the same book.

    measured: names of one book, of the parts that are measured and of the whole, whose words are
        counted apart; so it is the same where it is the same stretch of an answer.
    """
    if one.book == other.book:
        stretches = one.start, one.end, other.start, other.end
    elif {one.book, other.book} <= set(measured) and _answer(one) == _answer(other):
        ends = ((each.place or 0) + each.words for each in (one, other))
        stretches = one.place, next(ends), other.place, next(ends)
    else:
        return False
    start, end, around_start, around_end = (each or 0 for each in stretches)
    return around_start <= start and end <= around_end


def _answer(one: Recital) -> tuple[str | None, int | None]:
    return one.excerpt_id, one.generation


def _passage(
    kind: str, one: Recital, evaluation: Evaluation, quoted: int | None, *, from_training: bool
) -> Passage:
    book = _book(one.book, evaluation)
    start, end = one.start or 0, one.end or 0
    near = "near-verbatim" in kind
    of_other = book.id != evaluation.pair.book.id
    elsewhere = of_other or one.excerpt_id != one.excerpt_at
    rated = None if near or elsewhere else evaluation.analysis
    chapters = {excerpt.id: excerpt.chapter for excerpt in book.excerpts}
    return Passage(
        kind=kind,
        words=one.words,
        start=start,
        end=end,
        chapter=chapters[one.excerpt_at or ""],
        excerpt_id=one.excerpt_at or "",
        generation=one.generation,
        quote=quote_anywhere(
            book,
            start,
            end,
            mode=evaluation.pair.scoring.words,
            folded=near,
            most=quoted,
        ),
        book=book.id if of_other else None,
        title=book.title if of_other else None,
        asked_for=one.excerpt_id if elsewhere else None,
        others=_others(one, evaluation),
        training=from_training,
        rate=rate_of(rated, start, end) if rated else None,
    )


def _others(one: Recital, evaluation: Evaluation) -> tuple[str, ...]:
    """The ids of the books that hold it, but for the one that it counts for."""
    ids = dict.fromkeys(_book_id(book, evaluation) for book in one.books)
    return tuple(book for book in ids if book != _book_id(one.book, evaluation))


def _book_id(name: str | None, evaluation: Evaluation) -> str:
    return _book(name, evaluation).id


def _book(name: str | None, evaluation: Evaluation) -> Book:
    """The book that the analysis calls so; without a suite's others, the one that was measured."""
    own = {evaluation.book.id: evaluation.book} if evaluation.book else {}
    return {**own, **evaluation.protected}[name or ""]


def _place(one: Recital, evaluation: Evaluation) -> dict[str, Any]:
    held = (_book_id(book, evaluation) for book in one.books)
    return {
        "book": _book_id(one.book, evaluation) if one.book else None,
        "excerpt_at": one.excerpt_at,
        "start": one.start,
        "end": one.end,
        "excerpt_id": one.excerpt_id,
        "generation": one.generation,
        "place": one.place,
        "held_by": list(dict.fromkeys(held)),
    }
