"""The passages that every report lists for a pair, and how it names them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair_result import LIKELIEST_SPAN
from pytest_memleak.scoring.measure_table import PASSAGES_OVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.records.pair_result import PairResult

_NAMED_BOOKS = 3


def passage_text(passage: Passage, place: str) -> str:
    """Name a passage by kind, length and `place`, as the report may show that."""
    return f"{passage.kind}, {amount(passage.words, 'word')}: {place}"


def reported_passages(result: PairResult) -> tuple[Passage, ...]:
    """Select the passages that reports list, the worst first.

    For a FAIL: spans of greedy generations, then passages, then spans of the pair's own
    book that no listed passage contains. Otherwise the long passages that no verdict
    mentions.
    """
    if result.plain_verdict is not Verdict.FAIL:
        return result.unasked
    likeliest = greedy_spans(result)
    own = [
        passage
        for passage in result.passages
        if not passage.book and not _is_near_verbatim(passage)
    ]
    rest = (
        span
        for span in result.spans
        if span not in likeliest
        and not any(_is_within(span, passage) for passage in own)
    )
    return (*likeliest, *result.passages, *rest)


def greedy_spans(result: PairResult) -> tuple[Passage, ...]:
    """Select the span of the greedy generations, where it exceeds a limit."""
    return tuple(span for span in result.spans if span.kind == LIKELIEST_SPAN)


def _is_within(span: Passage, passage: Passage) -> bool:
    """Whether the passage contains the span, or is what no other passage has of it."""
    if passage.start <= span.start and span.end <= passage.end:
        return True
    same = (span.excerpt_id, span.generation) == (
        passage.excerpt_id,
        passage.generation,
    )
    overlap = span.start < passage.end and passage.start < span.end
    return same and overlap and passage.prompted_excerpt is None


def unique_passages(passages: Sequence[Passage]) -> list[Passage]:
    """Drop near-verbatim passages that are listed word for word, and greedy ones that are spans."""
    exact = {
        _identity(passage) for passage in passages if not _is_near_verbatim(passage)
    }
    greedy = {
        (span.start, span.end) for span in passages if span.kind == LIKELIEST_SPAN
    }
    return [
        passage
        for passage in passages
        if not (_is_near_verbatim(passage) and _identity(passage) in exact)
        and not (
            passage.source
            and not passage.book
            and (passage.start, passage.end) in greedy
        )
    ]


def other_book_lines(
    result: PairResult, titles: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Count the long passages of the books that weren't prompted, those with the most by name.

    titles: of books by their ids, where the report has titles
    """
    over = result.measures.get(PASSAGES_OVER.name, {}).get("books", {})
    counts = [
        (titles.get(book, book), over[book]) for book in over if book != result.book.id
    ]
    named = sorted(counts, key=lambda row: -row[1])
    if further := named[_NAMED_BOOKS:]:
        total = sum(count for _, count in further)
        named[_NAMED_BOOKS:] = [(amount(len(further), "more book"), total)]
    for title, count in named:
        come = "comes" if count == 1 else "come"
        passages = (
            f"{amount(count, 'passage')} over {result.settings['span_threshold']} words"
        )
        yield f"{passages} {come} from {title}, which no prompt was about"


def _is_near_verbatim(passage: Passage) -> bool:
    return "near-verbatim" in passage.kind


def _identity(passage: Passage) -> tuple[object, ...]:
    return passage.book, passage.excerpt_id, passage.generation, passage.words
