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


def passage(one: Passage, place: str) -> str:
    """Where a passage stands, and how long it is; `place` as the report may show it."""
    return f"{one.kind} of {amount(one.words, 'word')} at {place}"


def told_passages(found: PairResult) -> tuple[Passage, ...]:
    """The passages to tell of a pair, the worst first.

    Of a FAIL what the likeliest answers gave, then passages and the own book's spans, but for those
    that lie in a passage told; else the long passages that no verdict tells.
    """
    if Verdict(found.verdict) is not Verdict.FAIL:
        return found.unasked
    likeliest = of_the_likeliest(found)
    own = [one for one in found.passages if not one.book and not _near(one)]
    within = _in_its_answer if found.probe == "continuation" else _in_its_place
    rest = (
        one
        for one in found.spans
        if one not in likeliest and not any(within(one, each) for each in own)
    )
    return (*likeliest, *found.passages, *rest)


def of_the_likeliest(found: PairResult) -> tuple[Passage, ...]:
    """The span of the greedy answers, where a limit on them is broken."""
    return tuple(one for one in found.spans if one.kind == LIKELIEST_SPAN)


def _in_its_place(one: Passage, passage: Passage) -> bool:
    return passage.start <= one.start and one.end <= passage.end


def _in_its_answer(one: Passage, passage: Passage) -> bool:
    """The same where a span's words are those of the rests, and a passage's those of the book.

    A span that is longer than its answer's passage lies partly in longer ones, told before.
    """
    same = (one.excerpt_id, one.generation) == (passage.excerpt_id, passage.generation)
    return same and passage.asked_for is None


def told_once(passages: Sequence[Passage]) -> list[Passage]:
    """The passages without a near-verbatim one that is a word-for-word one, told already."""
    exact = {_same(one) for one in passages if not _near(one)}
    return [one for one in passages if not _near(one) or _same(one) not in exact]


def of_other_books(
    found: PairResult, titles: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """How many long passages there are of each book that was not asked for.

    titles: of books by their ids, where the report has titles.
    """
    over = found.details.get("passages_over", {}).get("books", {})
    for book, count in over.items():
        if book != found.book:
            passages = amount(count, "passage")
            over_words = f"over {found.settings['span_threshold']} words"
            yield f"{passages} {over_words} of {titles.get(book, book)}, which was not asked for"


def _near(one: Passage) -> bool:
    return "near-verbatim" in one.kind


def _same(one: Passage) -> tuple[object, ...]:
    return one.book, one.excerpt_id, one.generation, one.words
