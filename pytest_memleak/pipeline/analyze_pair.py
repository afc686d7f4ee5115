"""The analysis of everything that a pair's model wrote, and the second opinion on it."""

from __future__ import annotations

import dataclasses
from itertools import chain
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.required_samples import Purpose, all_texts
from pytest_memleak.records import Issue, Origin
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.analysis import analyse, judged_apart, judged_measures
from pytest_memleak.scoring.measure_table import asks_for
from pytest_memleak.scoring.measures import measure
from pytest_memleak.scoring.second_opinion import Sample, differences, holders
from pytest_memleak.verdict.judge import check_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.pipeline.catalog import Held
    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.sampled_generations import Stop, Written
    from pytest_memleak.records import Generation, Pair
    from pytest_memleak.scoring.analysis import Analysis
_SHOWN = 3
Name = tuple[Origin, str, int]


def analysed(
    pair: Pair,
    written: Written,
    protected: ProtectedBooks,
    resources: Resources,
    held: Held | None = None,
    *,
    texts: Iterable[Generation] | None = None,
) -> Analysis | None:
    """What the model gives back of the book, and of every protected one; None without samples.

    held: the books of the catalog that they have to be held against; texts: all that was
    written, where it is counted as it is read.
    """
    beyond = (held.books, held.least) if held else ((), 0)
    book = written[0].book
    analysis = analyse(
        book,
        all_texts(written) if texts is None else texts,
        pair.scoring,
        confidence=pair.confidence,
        near=asks_for(pair.limits, "near"),
        protected=protected.for_pair(pair, book, beyond[0], least=beyond[1]),
        limits=pair.limits,
        count=resources.count,
    )
    greedy = [part for part in written if part.draws.purpose is Purpose.GREEDY]
    if analysis is None or not greedy:
        return analysis
    likeliest = measure(greedy[0].book, greedy[0].generations(), pair.scoring)
    return dataclasses.replace(analysis, greedy=likeliest)


def stop_for(pair: Pair, protected: ProtectedBooks, resources: Resources) -> Stop | None:
    """With `stop_on_fail = true`: whether a limit is broken that more samples cannot mend.

    Where the pair's own book is excused, only what other books are recited ends the drawing.
    """
    if not pair.sampling.stop_on_fail:
        return None

    def broken(written: Written) -> bool:
        analysis = analysed(pair, written, protected, resources)
        own, others = judged_apart(analysis) if analysis else ({}, {})
        checks = check_limits(others or own, pair.limits)
        return any(check.over and check.rises for check in checks)

    return broken


def is_over_a_limit(analysis: Analysis | None, pair: Pair) -> bool:
    """Whether something observed is over the pair's limit."""
    found = judged_measures(analysis) if analysis else {}
    return any(check.over for check in check_limits(found, pair.limits))


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
