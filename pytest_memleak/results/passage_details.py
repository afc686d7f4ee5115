"""What reports say of passages: passages of any protected book, in any generation of a pair."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import Origin
from pytest_memleak.records.pair_result import Passage
from pytest_memleak.results.quotes import quote_anywhere, rate_of
from pytest_memleak.scoring.measure_table import MEASURES
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Book
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.scoring.protected_passages import ProtectedPassage, ProtectedPassages
    from pytest_memleak.verdict.evaluation import Evaluation

_FURTHER = 5


def passage_passages(evaluation: Evaluation, quoted: int | None) -> tuple[Passage, ...]:
    """The longest passage, the longest near-verbatim one, five more, and those excused.

    quoted: words of each, None for all.
    """
    if evaluation.analysis is None or evaluation.analysis.passages is None:
        return ()
    found = evaluation.analysis.passages
    return tuple(
        _passage(kind, one, evaluation, quoted, excused=one in (found.excused, found.nv_excused))
        for kind, one in _to_tell(found)
        if one.start is not None
    )


def passage_details(evaluation: Evaluation) -> dict[str, Any]:
    """What the evidence says beside the lengths: places, and how many book by book."""
    if evaluation.analysis is None or evaluation.analysis.passages is None:
        return {}
    found = evaluation.analysis.passages
    over = Counter(_book_id(one.book, evaluation) for one in found.passages)
    told = {name: _place(one, evaluation) for name, one in found.longest.items()}
    told["passages_over"] = {"books": dict(sorted(over.items()))}
    own, others = found.apart()
    for name, value in own.items():
        told[name] |= {"of_own": value, "of_others": others[name]}
    for name, one in (("excused_passage", found.excused), ("nv_excused_passage", found.nv_excused)):
        told[name] = {"value": one.words} | _place(one, evaluation)
    return told


def _to_tell(found: ProtectedPassages) -> Iterator[tuple[str, ProtectedPassage]]:
    yield from ((MEASURES[name].title, one) for name, one in found.longest.items())
    longest_first = sorted(found.passages, key=lambda one: -one.words)
    of_each_book = {one.book: one for one in reversed(longest_first)}
    first = [one for one in longest_first if of_each_book[one.book] is one]
    further = [one for one in longest_first if of_each_book[one.book] is not one]
    told = [found.longest_passage]
    if (near := found.of_others.get("nv_longest_passage")) not in (None, found.nv_longest_passage):
        yield "near-verbatim passage", near
    for one in (*first, *further):
        if not any(_within(one, other) for other in told):
            told.append(one)
    yield from (("passage", one) for one in told[1:][:_FURTHER])
    yield "passage", found.excused
    yield "near-verbatim passage", found.nv_excused


def _within(one: ProtectedPassage, other: ProtectedPassage) -> bool:
    """Whether a passage lies in another of the same book."""
    stretches = one.start, one.end, other.start, other.end
    start, end, around_start, around_end = (each or 0 for each in stretches)
    return one.book == other.book and around_start <= start and end <= around_end


def _passage(
    kind: str, one: ProtectedPassage, evaluation: Evaluation, quoted: int | None, *, excused: bool
) -> Passage:
    book = _book(one.book, evaluation)
    start, end = one.start or 0, one.end or 0
    near = "near-verbatim" in kind
    of_other = book.id != evaluation.pair.book.id
    elsewhere = of_other or one.excerpt_id != one.excerpt_at
    chapters = {excerpt.id: excerpt.chapter for excerpt in book.excerpts}
    return Passage(
        kind=kind,
        words=one.words,
        start=start,
        end=end,
        chapter=chapters[one.excerpt_at or ""],
        excerpt_id=one.excerpt_at or "",
        generation=one.generation if one.origin is Origin.SAMPLED else None,
        quote=quote_anywhere(
            book,
            start,
            end,
            mode=evaluation.pair.scoring.word_mode,
            folded=near,
            most=quoted,
        ),
        book=book.id if of_other else None,
        title=book.title if of_other else None,
        asked_for=one.excerpt_id if elsewhere else None,
        source=_source(one),
        others=_others(one, evaluation),
        excused=excused,
        rate=None if near or elsewhere else _rate(one, book, evaluation),
    )


def _source(one: ProtectedPassage) -> str:
    """Which generation it is, where none of the sampled rounds."""
    if one.origin is Origin.CANARY:
        return f"canary {(one.generation or 0) + 1}, for {one.excerpt_id}"
    return (
        ""
        if one.origin is Origin.SAMPLED
        else (f"{one.origin.label} generation for {one.excerpt_id}")
    )


def _rate(one: ProtectedPassage, book: Book, evaluation: Evaluation) -> PassageRate | None:
    """How often its own prompt brought it back.

    book: the pair's, whole. Of an excerpt only the last words may be measured (continuation).
    """
    analysis = evaluation.analysis
    sampled = one.origin is Origin.SAMPLED
    if analysis is None or one.start is None or one.end is None or not sampled:
        return None
    measured, mode = analysis.measurement, evaluation.pair.scoring.word_mode
    at = next(nth for nth, excerpt in enumerate(book.excerpts) if excerpt.id == one.excerpt_at)
    end = sum(len(words(excerpt.text, mode)) for excerpt in book.excerpts[: at + 1])
    ends = (*measured.excerpt_starts[1:], measured.words)
    start = one.start - end + ends[at]
    if start < measured.excerpt_starts[at] or one.end > end:
        return None
    return rate_of(analysis, start, one.end - end + ends[at])


def _others(one: ProtectedPassage, evaluation: Evaluation) -> tuple[str, ...]:
    """The ids of the books that hold it, but for the one that it counts for."""
    ids = dict.fromkeys(_book_id(book, evaluation) for book in one.books)
    return tuple(book for book in ids if book != _book_id(one.book, evaluation))


def _book_id(name: str | None, evaluation: Evaluation) -> str:
    return _book(name, evaluation).id


def _book(name: str | None, evaluation: Evaluation) -> Book:
    """The book that the analysis calls so; without a suite's others, the one that was measured."""
    own = {evaluation.book.id: evaluation.book} if evaluation.book else {}
    return {**own, **evaluation.protected}[name or ""]


def _place(one: ProtectedPassage, evaluation: Evaluation) -> dict[str, Any]:
    held = (_book_id(book, evaluation) for book in one.books)
    return {
        "book": _book_id(one.book, evaluation) if one.book else None,
        "excerpt_at": one.excerpt_at,
        "start": one.start,
        "end": one.end,
        "excerpt_id": one.excerpt_id,
        "origin": one.origin.label,
        "generation": one.generation,
        "place": one.place,
        "held_by": list(dict.fromkeys(held)),
    }
