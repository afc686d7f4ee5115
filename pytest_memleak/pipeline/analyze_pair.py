"""The analysis of all that a pair's model wrote, and the second opinion on it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from pytest_memleak.pipeline.catalog import CatalogMatches
from pytest_memleak.pipeline.extraction_conversation import extractable_text
from pytest_memleak.pipeline.required_samples import Purpose, Samples, all_generations
from pytest_memleak.records import Generation, Issue, Origin, Pair
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair_result import SecondOpinionCounts
from pytest_memleak.scoring.analysis import (
    analyze,
    judged_measures,
    judged_measures_of_own_book_and_others,
)
from pytest_memleak.scoring.extracted_words import extracted_words
from pytest_memleak.scoring.four_measures import measure
from pytest_memleak.scoring.measure_table import NEAR, with_needs
from pytest_memleak.scoring.second_opinion import (
    Sample,
    differences_by_automaton,
    generations_with_longest_runs,
)
from pytest_memleak.verdict.judge import check_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.sample_readers import (
        PairSamples,
        SampledGenerations,
        StopRule,
    )
    from pytest_memleak.scoring.analysis import Analysis, PromptedOtherwise
    from pytest_memleak.scoring.text_batches import Batch

Part = TypeVar("Part", bound=Samples)
_SHOWN = 3
GenerationKey = tuple[Origin, str, int]


def analyze_pair(
    pair: Pair,
    parts: PairSamples,
    protected: ProtectedBooks,
    resources: Resources,
    catalog: CatalogMatches | None = None,
    *,
    texts: Iterable[Batch] | None = None,
    attempts: Sequence[PromptedOtherwise] | None = None,
) -> Analysis | None:
    """Measure what the model reproduces of every protected book; None without samples.

    catalog: the matching books of the catalog; texts: the generations, if reading them
    counts them; attempts: the same of other attempts, with the book as these prompted
    for it
    """
    catalog = catalog or CatalogMatches()
    this_attempt, others = own_and_other_attempts(parts)
    if attempts is None:
        attempts = [(part.book, all_generations([part])) for part in others]
    book = parts[0].book
    analysis = analyze(
        book,
        all_generations(this_attempt) if texts is None else texts,
        pair.scoring,
        confidence=pair.confidence,
        near=bool(with_needs(pair.limits, NEAR)),
        protected=protected.for_pair(
            pair, book, catalog.books, min_passage_words=catalog.least
        ),
        limits=pair.limits,
        count=resources.tally_generations,
        other_attempts=attempts,
    )
    if analysis is None:
        return None
    if pair.probe.kind == "extraction":
        extraction = extracted_words(
            extractable_text(book),
            (generation.text for generation in _answers_in_asked_order(parts[0])),
            protected.excusing_texts(pair),
        )
        return dataclasses.replace(analysis, extraction=extraction)
    for part in parts:
        if part.required.purpose is Purpose.GREEDY:
            likeliest = measure(
                part.book,
                part.generations(),
                pair.scoring,
                protected=protected.for_pair(pair, part.book),
            )
            return dataclasses.replace(analysis, greedy=likeliest)
    return analysis


def _answers_in_asked_order(part: SampledGenerations) -> list[Generation]:
    """Return the answers of a conversation in the order in which they were asked."""
    order = {name: number for number, name in enumerate(part.prompt_ids)}
    every = [generation for generation in part.generations() if generation.text]
    return sorted(every, key=lambda generation: order[generation.excerpt_id])


def own_and_other_attempts(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """Divide what the model wrote in this attempt from what it wrote in others."""
    this_attempt: list[Part] = []
    others: list[Part] = []
    for part in parts:
        is_other = part.required.purpose is Purpose.ATTEMPT
        (others if is_other else this_attempt).append(part)
    return this_attempt, others


def stop_when_limit_exceeded(
    pair: Pair,
    protected: ProtectedBooks,
    resources: Resources,
) -> StopRule | None:
    """Return the rule for `stop_on_fail = true`: a limit is exceeded for good.

    Where the pair's own book is excused, only passages of other books stop the
    sampling.
    """
    if not pair.sampling.stop_on_fail:
        return None

    def exceeds_limit_for_good(parts: PairSamples) -> bool:
        analysis = analyze_pair(pair, parts, protected, resources)
        if analysis is None:
            return False
        own, others = judged_measures_of_own_book_and_others(analysis)
        checks = check_limits(others or own, pair.limits)
        return any(check.is_exceeded and check.rises for check in checks)

    return exceeds_limit_for_good


def exceeds_a_limit(analysis: Analysis | None, pair: Pair) -> bool:
    """Tell whether an observed value exceeds a limit of the pair."""
    if analysis is None:
        return False
    checks = check_limits(judged_measures(analysis), pair.limits)
    return any(check.is_exceeded for check in checks)


class SecondOpinion:
    """Exact matching of a sample, and of generations with the longest passages.

    counts: of generations and differences, for evidence; None until there is an
        analysis
    near_verbatim: the generations with the near-verbatim passages that reports list
    """

    def __init__(
        self,
        parts: PairSamples,
        protected: ProtectedBooks,
        catalog: CatalogMatches,
    ) -> None:
        """Take the parts to sample from, and the catalog's books that they match."""
        self.counts: SecondOpinionCounts | None = None
        self.near_verbatim: dict[GenerationKey, Generation] = {}
        self._own, *self._other_parts = parts
        self._protected, self._catalog = protected, catalog
        self._sample = Sample(self._own.required.pair.sampling.seed or 0)

    def pass_through(
        self, generations: Iterable[Generation | Batch]
    ) -> Iterator[Batch]:
        """Pass the generations on and keep the sample."""
        return self._sample.pass_through(generations)

    def issues(self, analysis: Analysis | None) -> Iterator[Issue]:
        """Yield an issue where the automaton differs from the analysis."""
        if analysis is None:
            return
        generations = self._choose_generations(analysis)
        differ = list(self._differing_generations(analysis, generations))
        self.counts = SecondOpinionCounts(len(generations), len(differ))
        if not differ:
            return
        matched = amount(len(generations), "generation")
        number = amount(len(differ), "place")
        shown = [
            f"{generation.excerpt_id}, generation {generation.ordinal}, {place}"
            for generation, place in differ[:_SHOWN]
        ]
        yield Issue(
            "second opinion",
            f"the second opinion on {matched} differs in {number}: {'; '.join(shown)}",
            "report a bug in pytest-memleak, and attach the bundle",
        )

    def _choose_generations(
        self, analysis: Analysis
    ) -> dict[GenerationKey, Generation]:
        """Return the generations to match again; keep the near-verbatim ones."""
        by_name = {}
        for generation in self._sample.generations:
            by_name[_generation_key(generation)] = generation
        rematched = by_name.keys() | generations_with_longest_runs(
            analysis, self._own.book
        )
        near = _near_verbatim_keys(analysis)
        missing = (rematched | near) - by_name.keys()
        for generation in self._reread_generations(missing):
            name = _generation_key(generation)
            if name in missing:
                by_name[name] = generation
        chosen = {}
        self.near_verbatim = {}
        for name, generation in by_name.items():
            if name in near:
                self.near_verbatim[name] = generation
            if name in rematched:
                chosen[name] = generation
        return chosen

    def _reread_generations(
        self, missing: AbstractSet[GenerationKey]
    ) -> Iterator[Generation]:
        """Yield the generations among which the missing ones are."""
        excerpt_ids = {excerpt_id for _, excerpt_id, _ in missing}
        yield from self._own.of_excerpts(excerpt_ids)
        if missing:
            yield from all_generations(self._other_parts)

    def _differing_generations(
        self,
        analysis: Analysis,
        chosen: dict[GenerationKey, Generation],
    ) -> Iterator[tuple[Generation, str]]:
        book = self._own.book
        catalog = self._catalog
        protected = self._protected.for_pair(
            self._own.required.pair,
            book,
            catalog.books,
            min_passage_words=catalog.least,
        )
        index = protected.index
        generations = list(chosen.values())
        yield from differences_by_automaton(
            (book.id, book), index, generations, analysis.own_runs
        )
        if analysis.passages is None:
            return
        passage = analysis.passages.longest_passage
        if passage.book and passage.book != book.id:
            books = self._protected.books_with_passages(analysis, book, catalog.books)
            holder = chosen[passage.holder]
            named_book = (passage.book, books[passage.book])
            yield from differences_by_automaton(named_book, index, [holder])


def _near_verbatim_keys(analysis: Analysis) -> set[GenerationKey]:
    """Return the generations with the near-verbatim passages that reports list."""
    passages = analysis.passages
    if passages is None:
        return set()
    listed = (
        passages.nv_longest_passage,
        passages.nv_excused,
        *passages.of_others.values(),
    )
    return {passage.holder for passage in listed if passage.words}


def _generation_key(generation: Generation) -> GenerationKey:
    return generation.origin, generation.excerpt_id, generation.ordinal
