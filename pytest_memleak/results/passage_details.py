"""Passages of any protected book in a pair's generations, for reports and evidence."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import Book, Origin
from pytest_memleak.records.measurement import Passage
from pytest_memleak.results.quotes import passage_rate, quote_passage, shown_title
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.measure_table import (
    MEASURES,
    NV_LONGEST_PASSAGE,
    PASSAGES_OVER,
)
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.records import WordMode
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.scoring.protected_passages import (
        ProtectedPassage,
        ProtectedPassages,
    )
    from pytest_memleak.verdict.evaluation import Evaluation

_FURTHER = 5


def listed_passages(evaluation: Evaluation, quoted: int | None) -> tuple[Passage, ...]:
    """List the longest passages, five more, and those excused.

    quoted: words of each, None for all
    """
    if evaluation.analysis is None or evaluation.analysis.passages is None:
        return ()
    passages = evaluation.analysis.passages
    listed: list[Passage] = []
    for kind, passage in _passages_to_list(passages):
        if passage.start is not None:
            excused = passage in (passages.excused, passages.nv_excused)
            listed.append(_passage(kind, passage, evaluation, quoted, excused=excused))
    return tuple(listed)


def passage_details(evaluation: Evaluation) -> dict[str, Any]:
    """Return the passages' places and the number of them per book."""
    if evaluation.analysis is None or evaluation.analysis.passages is None:
        return {}
    passages = evaluation.analysis.passages
    over = Counter(_book_id(passage.book, evaluation) for passage in passages.passages)
    details = {
        name: _place(passage, evaluation) for name, passage in passages.longest.items()
    }
    details[PASSAGES_OVER.name] = {"books": dict(sorted(over.items()))}
    own, others = passages.apart()
    for name, value in own.items():
        details[name] |= {"of_own": value, "of_others": others[name]}
    for name, passage in (
        ("excused_passage", passages.excused),
        ("nv_excused_passage", passages.nv_excused),
    ):
        details[name] = {"value": passage.words} | _place(passage, evaluation)
    return details


def _passages_to_list(
    passages: ProtectedPassages,
) -> Iterator[tuple[str, ProtectedPassage]]:
    """Yield each passage to list with its kind."""
    for name, passage in passages.longest.items():
        yield MEASURES[name].title, passage
    near = passages.of_others.get(NV_LONGEST_PASSAGE.name)
    if near not in (None, passages.nv_longest_passage):
        yield "near-verbatim passage", near
    listed = [passages.longest_passage]
    for passage in _longest_of_each_book_first(passages.passages):
        if not any(_within(passage, other) for other in listed):
            listed.append(passage)
    for passage in listed[1:][:_FURTHER]:
        yield "passage", passage
    yield "passage", passages.excused
    yield "near-verbatim passage", passages.nv_excused


def _longest_of_each_book_first(
    passages: Iterable[ProtectedPassage],
) -> list[ProtectedPassage]:
    """Order passages: the longest of each book, then the others, each by length."""
    longest: dict[str | None, ProtectedPassage] = {}
    others: list[ProtectedPassage] = []
    for passage in sorted(passages, key=lambda passage: -passage.words):
        if passage.book in longest:
            others.append(passage)
        else:
            longest[passage.book] = passage
    return [*longest.values(), *others]


def _within(passage: ProtectedPassage, other: ProtectedPassage) -> bool:
    """Tell whether a passage lies in another's words of the same book."""
    if passage.book != other.book:
        return False
    starts_within = (other.start or 0) <= (passage.start or 0)
    return starts_within and (passage.end or 0) <= (other.end or 0)


def _passage(
    kind: str,
    passage: ProtectedPassage,
    evaluation: Evaluation,
    quoted: int | None,
    *,
    excused: bool,
) -> Passage:
    book = _book(passage.book, evaluation)
    start = passage.start or 0
    end = passage.end or 0
    near = "near-verbatim" in kind
    mode = evaluation.pair.scoring.word_mode
    of_other = book.id != evaluation.pair.book.id
    elsewhere = of_other or passage.excerpt_id != passage.excerpt_at
    holder = evaluation.near_verbatim.get(passage.holder) if near else None
    split = passage_words if near else partial(words, mode=mode)
    answers = _readings(holder.text, mode) if holder else []
    at = _number_of_excerpt(passage, book)
    quote, answer = quote_passage(
        book.excerpts[at:],
        split,
        passage.skipped,
        end - start,
        quoted,
        place=passage.place or 0,
        answers=answers,
    )
    return Passage(
        kind=kind,
        words=passage.words,
        start=start,
        end=end,
        chapter=shown_title(book.excerpts[at].chapter),
        excerpt_id=passage.excerpt_at or "",
        generation=passage.generation if passage.origin is Origin.SAMPLED else None,
        quote=quote,
        book=book.id if of_other else None,
        title=book.title if of_other else None,
        prompted_excerpt=passage.excerpt_id if elsewhere else None,
        source=_source(passage),
        others=_others(passage, evaluation),
        excused=excused,
        rate=None if near or elsewhere else _rate(passage, evaluation),
        answer=answer,
    )


def _number_of_excerpt(passage: ProtectedPassage, book: Book) -> int:
    excerpt_ids = [excerpt.id for excerpt in book.excerpts]
    return excerpt_ids.index(passage.excerpt_at or "")


def _readings(text: str, mode: WordMode) -> list[str]:
    """Return the texts that near-verbatim matching reads a generation as."""
    from pytest_memleak.scoring.further_readings import further_readings  # with numpy
    from pytest_memleak.scoring.keyed_texts import keyed

    further = further_readings([text], keyed([text], mode), {0})[1]
    return [text, *further, " ".join(words(text, mode))]


def _source(passage: ProtectedPassage) -> str:
    """Name its generation, unless that is one of the sampled rounds."""
    if passage.origin is Origin.SAMPLED:
        return ""
    if passage.origin is Origin.CANARY:
        return f"canary {(passage.generation or 0) + 1}, for {passage.excerpt_id}"
    return f"{passage.origin.label} generation for {passage.excerpt_id}"


def _rate(passage: ProtectedPassage, evaluation: Evaluation) -> PassageRate | None:
    """Return how often its own prompt generated a passage.

    None if the prompt contains some of it.
    """
    analysis = evaluation.analysis
    book = evaluation.book
    if not analysis or not book or passage.origin is not Origin.SAMPLED:
        return None
    if passage.start is None or passage.end is None:
        return None
    measured = analysis.measurement
    at = _number_of_excerpt(passage, book)
    in_prompts = book.words_in_prompts(at)
    start = passage.start - in_prompts
    end = passage.end - in_prompts
    borders = (*measured.excerpt_starts, measured.words)
    if start < borders[at] or end > borders[at + 1]:
        return None
    return passage_rate(analysis, start, end)


def _others(passage: ProtectedPassage, evaluation: Evaluation) -> tuple[str, ...]:
    ids = dict.fromkeys(_book_id(book, evaluation) for book in passage.books)
    return tuple(book for book in ids if book != _book_id(passage.book, evaluation))


def _book_id(name: str | None, evaluation: Evaluation) -> str:
    return _book(name, evaluation).id


def _book(name: str | None, evaluation: Evaluation) -> Book:
    """Return the book by the name that the analysis uses."""
    own = {evaluation.book.id: evaluation.book} if evaluation.book else {}
    return {**own, **evaluation.protected}[name or ""]


def _place(passage: ProtectedPassage, evaluation: Evaluation) -> dict[str, Any]:
    held = (_book_id(book, evaluation) for book in passage.books)
    return {
        "book": _book_id(passage.book, evaluation) if passage.book else None,
        "excerpt_at": passage.excerpt_at,
        "start": passage.start,
        "end": passage.end,
        "excerpt_id": passage.excerpt_id,
        "origin": passage.origin.label,
        "generation": passage.generation,
        "place": passage.place,
        "held_by": list(dict.fromkeys(held)),
    }
