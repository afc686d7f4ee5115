"""In how many of a named prompt's samples a passage over the limit came.

Each prompt is counted alone: a prompt that someone names is evidence about itself
(docs/method.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.records import Generation
from pytest_memleak.records.measurement import place_in_book
from pytest_memleak.records.prompt_rates import PromptRate
from pytest_memleak.results.quotes import shown_title
from pytest_memleak.scoring.confidence_bounds import one_sided_ends
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_memleak.pipeline.catalog import CatalogMatches
    from pytest_memleak.pipeline.sample_readers import SampledGenerations
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Book, Pair
    from pytest_memleak.scoring.protected_passages import (
        ProtectedPassage,
        ProtectedPassages,
    )

_CONFIDENCE = 0.95


def prompt_rates(
    pair: Pair,
    own: SampledGenerations,
    suite_run: SuiteRun,
    catalog: CatalogMatches,
) -> Iterator[PromptRate]:
    """Yield the rate of each prompt that has samples, in the order of the file."""
    protected, resources = suite_run.protected, suite_run.resources
    claimed_answers = suite_run.books.claimed_answers(pair)
    # A negative control's own passages count here.
    counted = replace(pair, book=replace(pair.book, role="test"))
    books = protected.for_pair(
        counted,
        own.book,
        catalog.books,
        min_passage_words=catalog.least,
    )

    def passages_in(generations: Sequence[Generation]) -> ProtectedPassages | None:
        scoring = pair.scoring
        tally = resources.tally_generations(
            own.book, scoring, generations, protected=books
        )
        return tally.passages()

    def place_of(passage: ProtectedPassage) -> str:
        if not passage.book:
            return ""
        book = protected.book_by_name(passage.book, own.book, catalog.books)
        return _place_in(book, passage, own_id=pair.book.id)

    for prompt in own.book.prompts:
        generations = list(own.of_excerpts([prompt.id]))
        passages = passages_in(generations) if generations else None
        if passages is None:
            continue
        rate = _prompt_rate(prompt.id, passages, pair, len(generations), place_of)
        if prompt.id in claimed_answers:
            claim = Generation(prompt.id, 0, claimed_answers[prompt.id])
            rate = _add_claimed_answer(rate, passages_in([claim]), place_of)
        yield rate


def _add_claimed_answer(
    rate: PromptRate,
    claimed: ProtectedPassages | None,
    place_of: Callable[[ProtectedPassage], str],
) -> PromptRate:
    """Add what the claimed answer holds."""
    if claimed is None:
        return rate
    longest = _longest_passage(claimed)
    return replace(
        rate,
        claimed_words=longest.words,
        claimed_place=place_of(longest),
    )


def _longest_passage(passages: ProtectedPassages) -> ProtectedPassage:
    """Return the longest passage, verbatim or near-verbatim."""
    verbatim, near = passages.longest_passage, passages.nv_longest_passage
    return near if near.words > verbatim.words else verbatim


def _prompt_rate(
    prompt: str,
    passages: ProtectedPassages,
    pair: Pair,
    samples: int,
    place_of: Callable[[ProtectedPassage], str],
) -> PromptRate:
    threshold = pair.scoring.effective_threshold
    most = pair.limits.get(LONGEST_PASSAGE.name, threshold)
    nv_most = pair.limits.get(NV_LONGEST_PASSAGE.name, threshold)
    by_round = zip(passages.by_round, passages.nv_by_round, strict=True)
    hits = sum(words > most or nv_words > nv_most for words, nv_words in by_round)
    low, high = one_sided_ends(hits, samples, confidence=_CONFIDENCE)
    longest = _longest_passage(passages)
    return PromptRate(
        id=prompt,
        hits=hits,
        samples=samples,
        low=low,
        high=high,
        words=longest.words,
        place=place_of(longest),
    )


def _place_in(book: Book, passage: ProtectedPassage, *, own_id: str) -> str:
    """Name a passage's place, and its book if that isn't the pair's own."""
    excerpts = {excerpt.id: excerpt for excerpt in book.excerpts}
    excerpt = excerpts[passage.excerpt_at or ""]
    place = place_in_book(
        chapter=shown_title(excerpt.chapter),
        excerpt_id=excerpt.id,
        start=passage.start or 0,
        end=passage.end or 0,
    )
    return place if book.id == own_id else f"{book.id}: {place}"
