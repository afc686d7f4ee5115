"""A pair's second opinion: some of its generations, matched again by other means."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.required_samples import all_texts
from pytest_memleak.records import Issue, Origin
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.second_opinion import Sample, differences, holders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.pipeline.catalog import Held
    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.pipeline.sampled_generations import Written
    from pytest_memleak.records import Generation
    from pytest_memleak.scoring.analysis import Analysis

_SHOWN = 3

Name = tuple[Origin, str, int]


class SecondLook:
    """Matches a sample again, and the generations that hold the longest span, passage, and block.

    counts: of generations and differences, for evidence; None until there is an analysis
    """

    def __init__(self, written: Written, protected: ProtectedBooks, held: Held) -> None:
        """held: the catalog's books that the generations are matched with."""
        self.counts: dict[str, int] | None = None
        self._answers, *self._beside = written
        self._protected, self._held = protected, held
        self._sample = Sample(self._answers.draws.pair.sampling.seed)

    def watch(self, generations: Iterable[Generation]) -> Iterator[Generation]:
        """Pass the generations on and keep the sample."""
        return self._sample.watch(generations)

    def issues(self, analysis: Analysis | None) -> Iterator[Issue]:
        """Yield an issue where the automaton differs from the analysis."""
        if analysis is None:
            return
        generations = self._chosen(analysis)
        differ = list(self._differences(analysis, generations))
        self.counts = {"generations": len(generations), "differences": len(differ)}
        if differ:
            places = [
                f"{generation.excerpt_id}, generation {generation.ordinal}, {place}"
                for generation, place in differ[:_SHOWN]
            ]
            yield Issue(
                "second opinion",
                f"the second opinion on {amount(len(generations), 'generation')} differs in "
                f"{amount(len(differ), 'place')}: {'; '.join(places)}",
                "report this bug of pytest-memleak with the bundle",
            )

    def _chosen(self, analysis: Analysis) -> dict[Name, Generation]:
        chosen = {_name(generation): generation for generation in self._sample.generations}
        missing = holders(analysis, self._answers.book) - chosen.keys()
        sampled = self._answers.of({excerpt_id for _, excerpt_id, _ in missing})
        for generation in chain(sampled, all_texts(part for part in self._beside if missing)):
            if (name := _name(generation)) in missing:
                chosen[name] = generation
        return chosen

    def _differences(
        self, analysis: Analysis, chosen: dict[Name, Generation]
    ) -> Iterator[tuple[Generation, str]]:
        book, held, protected = self._answers.book, self._held, self._protected
        pair = self._answers.draws.pair
        index = protected.for_pair(pair, book, held.books, least=held.least).index
        generations = list(chosen.values())
        yield from differences((book.id, book), index, generations, analysis.own_runs)
        passage = analysis.passages and analysis.passages.longest_passage
        if passage and passage.book and passage.book != book.id:
            its_book = protected.holding(analysis, book, held.books)[passage.book]
            holder = chosen[passage.origin, passage.excerpt_id or "", passage.generation or 0]
            yield from differences((passage.book, its_book), index, [holder])


def _name(generation: Generation) -> Name:
    return generation.origin, generation.excerpt_id, generation.ordinal
