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
    from collections.abc import Callable, Iterable, Iterator

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
    every_excused = (passages.excused, passages.nv_excused)
    listed: list[Passage] = []
    for kind, passage in passages_to_list(passages):
        if passage.start is None:
            continue
        record = _passage(
            kind,
            passage,
            evaluation,
            quoted,
            excused=passage in every_excused,
        )
        listed.append(record)
    return tuple(listed)


def passage_details(evaluation: Evaluation) -> dict[str, Any]:
    """Return the passages' places and the number of them per book."""
    if evaluation.analysis is None or evaluation.analysis.passages is None:
        return {}
    passages = evaluation.analysis.passages
    books = [_book_id(passage.book, evaluation) for passage in passages.passages]
    over = Counter(books)
    details: dict[str, Any] = {}
    for name, passage in passages.longest.items():
        details[name] = _place(passage, evaluation)
    details[PASSAGES_OVER.name] = {"books": dict(sorted(over.items()))}
    own, others = passages.measures_of_own_book_and_others()
    for name, value in own.items():
        details[name] |= {"of_own": value, "of_others": others[name]}
    excused = {
        "excused_passage": passages.excused,
        "nv_excused_passage": passages.nv_excused,
    }
    for name, passage in excused.items():
        details[name] = {"value": passage.words}
        details[name] |= _place(passage, evaluation)
    return details


def passages_to_list(
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
    further = listed[1:]
    for passage in further[:_FURTHER]:
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
    ends_within = (passage.end or 0) <= (other.end or 0)
    return starts_within and ends_within


def _passage(
    kind: str,
    passage: ProtectedPassage,
    evaluation: Evaluation,
    quoted: int | None,
    *,
    excused: bool,
) -> Passage:
    book = book_of_passage(passage.book, evaluation)
    start = passage.start or 0
    end = passage.end or 0
    near = "near-verbatim" in kind
    mode = evaluation.pair.scoring.word_mode
    of_other = book.id != evaluation.pair.book.id
    elsewhere = of_other or passage.excerpt_id != passage.excerpt_at
    # Another attempt's excerpts may be others.
    is_prompted_here = passage.origin is not Origin.ATTEMPT
    split: Callable[[str], list[str]] = partial(words, mode=mode)
    answers = []
    if near:
        split = passage_words
        holder = evaluation.near_verbatim.get(passage.holder)
        if holder:
            answers = _readings(holder.text, mode)
    at = _number_of_excerpt(passage, book)
    quote, answer = quote_passage(
        excerpts=book.excerpts[at:],
        split=split,
        skipped=passage.skipped,
        size=end - start,
        most=quoted,
        place=passage.place or 0,
        answers=answers,
    )
    generation = None
    if passage.origin is Origin.SAMPLED:
        generation = passage.generation
    rate = None
    if not near and not elsewhere:
        rate = _rate(passage, evaluation)
    return Passage(
        kind=kind,
        words=passage.words,
        start=start,
        end=end,
        chapter=shown_title(book.excerpts[at].chapter),
        excerpt_id=passage.excerpt_at or "",
        generation=generation,
        quote=quote,
        book=book.id if of_other else None,
        title=book.title if of_other else None,
        prompted_excerpt=passage.excerpt_id if elsewhere and is_prompted_here else None,
        source=_generation_name(passage),
        others=_other_books_with(passage, evaluation),
        excused=excused,
        rate=rate,
        answer=answer,
    )


def _number_of_excerpt(passage: ProtectedPassage, book: Book) -> int:
    excerpt_ids = [excerpt.id for excerpt in book.excerpts]
    return excerpt_ids.index(passage.excerpt_at or "")


def _readings(text: str, mode: WordMode) -> list[str]:
    """Return the texts that near-verbatim matching reads a generation as."""
    from pytest_memleak.scoring.further_readings import further_readings  # with numpy
    from pytest_memleak.scoring.keyed_texts import keyed

    keyed_words = keyed([text], mode)
    _, further = further_readings([text], keyed_words, {0})
    text_words = words(text, mode)
    return [text, *further, " ".join(text_words)]


def _generation_name(passage: ProtectedPassage) -> str:
    """Name its generation, unless that is one of the sampled rounds."""
    if passage.origin is Origin.SAMPLED:
        return ""
    if passage.origin is Origin.CANARY:
        number = (passage.generation or 0) + 1
        return f"canary {number}, for {passage.excerpt_id}"
    if passage.origin is Origin.ATTEMPT:
        return "another attempt on this model"
    return f"{passage.origin.label} generation for {passage.excerpt_id}"


def _rate(passage: ProtectedPassage, evaluation: Evaluation) -> PassageRate | None:
    """Return how often its own prompt generated a passage.

    None if the prompt contains some of it.
    """
    analysis = evaluation.analysis
    book = evaluation.book
    if not analysis or not book:
        return None
    if passage.origin is not Origin.SAMPLED:
        return None
    if passage.start is None or passage.end is None:
        return None
    measured = analysis.measurement
    at = _number_of_excerpt(passage, book)
    in_prompts = book.words_in_prompts(at)
    start = passage.start - in_prompts
    end = passage.end - in_prompts
    bounds = (*measured.excerpt_starts, measured.words)
    if start < bounds[at] or end > bounds[at + 1]:
        return None
    return passage_rate(analysis, start, end)


def _other_books_with(
    passage: ProtectedPassage, evaluation: Evaluation
) -> tuple[str, ...]:
    own = _book_id(passage.book, evaluation)
    ids = dict.fromkeys(_book_id(book, evaluation) for book in passage.books)
    ids.pop(own, None)
    return tuple(ids)


def _book_id(name: str | None, evaluation: Evaluation) -> str:
    return book_of_passage(name, evaluation).id


def book_of_passage(name: str | None, evaluation: Evaluation) -> Book:
    """Return the book by the name that the analysis uses."""
    books = {}
    if evaluation.book:
        books[evaluation.book.id] = evaluation.book
    books |= evaluation.protected
    return books[name or ""]


def _place(passage: ProtectedPassage, evaluation: Evaluation) -> dict[str, Any]:
    book = None
    if passage.book:
        book = _book_id(passage.book, evaluation)
    held = [_book_id(name, evaluation) for name in passage.books]
    return {
        "book": book,
        "excerpt_at": passage.excerpt_at,
        "start": passage.start,
        "end": passage.end,
        "excerpt_id": passage.excerpt_id,
        "origin": passage.origin.label,
        "generation": passage.generation,
        "place": passage.place,
        "held_by": list(dict.fromkeys(held)),
    }
