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
        return result.passages_beside_verdict
    likeliest = greedy_spans(result)
    own = []
    for passage in result.passages:
        if not passage.book and not _is_near_verbatim(passage):
            own.append(passage)
    rest = []
    for span in result.spans:
        if span not in likeliest and not _is_within_any(span, own):
            rest.append(span)
    return (*likeliest, *result.passages, *rest)


def greedy_spans(result: PairResult) -> tuple[Passage, ...]:
    """Select the span of the greedy generations, where it exceeds a limit."""
    greedy = [span for span in result.spans if span.kind == LIKELIEST_SPAN]
    return tuple(greedy)


def _is_within_any(span: Passage, passages: Sequence[Passage]) -> bool:
    return any(_is_within(span, passage) for passage in passages)


def _is_within(span: Passage, passage: Passage) -> bool:
    """Whether the passage contains the span, or is what no other passage has of it."""
    starts_within = passage.start <= span.start
    ends_within = span.end <= passage.end
    if starts_within and ends_within:
        return True
    overlaps = span.start < passage.end and passage.start < span.end
    return (
        overlaps
        and span.excerpt_id == passage.excerpt_id
        and span.generation == passage.generation
        and passage.prompted_excerpt is None
    )


def unique_passages(passages: Sequence[Passage]) -> list[Passage]:
    """Drop passages that are listed in another way, too.

    These are near-verbatim ones that are listed word for word, and greedy ones that are
    spans.
    """
    exact = set()
    greedy_spans = set()
    for passage in passages:
        if not _is_near_verbatim(passage):
            exact.add(_identity_of_passage(passage))
        if passage.kind == LIKELIEST_SPAN:
            greedy_spans.add((passage.start, passage.end))
    unique = []
    for passage in passages:
        if _is_near_verbatim(passage) and _identity_of_passage(passage) in exact:
            continue
        place = (passage.start, passage.end)
        is_greedy = passage.source and not passage.book
        if is_greedy and place in greedy_spans:
            continue
        unique.append(passage)
    return unique


def other_book_lines(
    result: PairResult,
    titles: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """Count the long passages of the books that weren't prompted.

    Those with the most passages are named.

    titles: of books by their ids, where the report has titles
    """
    measure = result.measures.get(PASSAGES_OVER.name, {})
    over = measure.get("books", {})
    named = []
    for book, passages in over.items():
        if book != result.book.id:
            title = titles.get(book, book)
            named.append((title, passages))
    named.sort(key=lambda row: -row[1])
    further = named[_NAMED_BOOKS:]
    if further:
        total = sum(count for _, count in further)
        others = amount(len(further), "more book")
        named[_NAMED_BOOKS:] = [(others, total)]
    for title, count in named:
        come = "comes" if count == 1 else "come"
        threshold = result.settings["span_threshold"]
        yield (
            f"{amount(count, 'passage')} over {threshold} words {come} from {title}, "
            "which no prompt was about"
        )


def _is_near_verbatim(passage: Passage) -> bool:
    return "near-verbatim" in passage.kind


def _identity_of_passage(passage: Passage) -> tuple[object, ...]:
    return passage.book, passage.excerpt_id, passage.generation, passage.words
