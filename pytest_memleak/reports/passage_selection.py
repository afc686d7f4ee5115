"""Which passages every report tells of a pair, and how it names them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair_result import LIKELIEST_SPAN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.records.pair_result import PairResult, Passage


def passage_text(passage: Passage, place: str) -> str:
    """Where a passage stands, and how long it is; `place` as the report may show it."""
    return f"{passage.kind} of {amount(passage.words, 'word')} at {place}"


def reported_passages(result: PairResult) -> tuple[Passage, ...]:
    """The passages to tell of a pair, the worst first.

    Of a FAIL what the likeliest answers gave, then passages and the own book's spans, but for those
    that lie in a passage told; else the long passages that no verdict tells.
    """
    if Verdict(result.verdict) is not Verdict.FAIL:
        return result.unasked
    likeliest = greedy_spans(result)
    own = [
        passage
        for passage in result.passages
        if not passage.book and not _is_near_verbatim(passage)
    ]
    within = _is_same_answer if result.probe == "continuation" else _is_inside
    rest = (
        span
        for span in result.spans
        if span not in likeliest and not any(within(span, passage) for passage in own)
    )
    return (*likeliest, *result.passages, *rest)


def greedy_spans(result: PairResult) -> tuple[Passage, ...]:
    """The span of the greedy answers, where a limit on them is broken."""
    return tuple(span for span in result.spans if span.kind == LIKELIEST_SPAN)


def _is_inside(span: Passage, passage: Passage) -> bool:
    return passage.start <= span.start and span.end <= passage.end


def _is_same_answer(span: Passage, passage: Passage) -> bool:
    """The same where a span's words are those of the rests, and a passage's those of the book.

    A span that is longer than its answer's passage lies partly in longer ones, told before.
    """
    same = (span.excerpt_id, span.generation) == (passage.excerpt_id, passage.generation)
    return same and passage.asked_for is None


def unique_passages(passages: Sequence[Passage]) -> list[Passage]:
    """The passages without a near-verbatim one that is a word-for-word one, told already."""
    exact = {_identity(passage) for passage in passages if not _is_near_verbatim(passage)}
    return [
        passage
        for passage in passages
        if not _is_near_verbatim(passage) or _identity(passage) not in exact
    ]


def other_book_lines(
    result: PairResult, titles: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """How many long passages there are of each book that was not asked for.

    titles: of books by their ids, where the report has titles.
    """
    over = result.details.get("passages_over", {}).get("books", {})
    for book, count in over.items():
        if book != result.book:
            passages = amount(count, "passage")
            over_words = f"over {result.settings['span_threshold']} words"
            yield f"{passages} {over_words} of {titles.get(book, book)}, which was not asked for"


def _is_near_verbatim(passage: Passage) -> bool:
    return "near-verbatim" in passage.kind


def _identity(passage: Passage) -> tuple[object, ...]:
    return passage.book, passage.excerpt_id, passage.generation, passage.words
