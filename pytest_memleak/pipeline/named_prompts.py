"""In how many of a named prompt's samples a passage over the limit came.

Each prompt is counted alone: a prompt that someone names is evidence about itself
(docs/method.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.records.prompt_rates import PromptRate
from pytest_memleak.scoring.confidence_bounds import one_sided_ends
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.pipeline.catalog import CatalogMatches
    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.samples import SampledGenerations
    from pytest_memleak.records import Pair
    from pytest_memleak.scoring.protected_passages import (
        ProtectedPassage,
        ProtectedPassages,
    )

_CONFIDENCE = 0.95


def prompt_rates(
    pair: Pair,
    own: SampledGenerations,
    protected: ProtectedBooks,
    catalog: CatalogMatches,
    resources: Resources,
) -> Iterator[PromptRate]:
    """Yield the rate of each prompt that has samples, in the order of the file."""
    # A negative control's own passages count here.
    counted = replace(pair, book=replace(pair.book, role="test"))
    books = protected.for_pair(
        counted,
        own.book,
        catalog.books,
        least=catalog.least,
    )
    for prompt in own.book.prompts:
        generations = list(own.of([prompt.id]))
        if not generations:
            continue
        tally = resources.count(
            own.book,
            pair.scoring,
            generations,
            protected=books,
        )
        passages = tally.passages()
        if passages is not None:
            yield _rate(prompt.id, passages, pair, len(generations))


def _rate(
    prompt: str,
    passages: ProtectedPassages,
    pair: Pair,
    samples: int,
) -> PromptRate:
    threshold = pair.scoring.effective_threshold
    most = pair.limits.get(LONGEST_PASSAGE.name, threshold)
    nv_most = pair.limits.get(NV_LONGEST_PASSAGE.name, threshold)
    by_round = zip(passages.by_round, passages.nv_by_round, strict=True)
    hits = sum(words > most or nv_words > nv_most for words, nv_words in by_round)
    low, high = one_sided_ends(hits, samples, confidence=_CONFIDENCE)
    verbatim, near = passages.longest_passage, passages.nv_longest_passage
    longest = near if near.words > verbatim.words else verbatim
    return PromptRate(
        id=prompt,
        hits=hits,
        samples=samples,
        low=low,
        high=high,
        words=longest.words,
        place=_place(longest, pair.book.id),
    )


def _place(passage: ProtectedPassage, own: str) -> str:
    if not passage:
        return ""
    of_other = "" if passage.book == own else f"{passage.book}: "
    end = passage.skipped + passage.words
    return f"{of_other}{passage.excerpt_at}, words {passage.skipped:,}-{end:,}"
