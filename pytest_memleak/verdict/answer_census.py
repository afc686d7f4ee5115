"""The census of a pair's answers: of what kind each is, and how much they differ.

    census = AnswerCensus(book, asked)
    for generation in census.watch(generations): ...
    counted = census.counted()

It streams: of 25,000 generations of 400 words 80 MB of hashes are kept, and never more than
twice `_MOST_RUNS` of them; beyond that, a share of the 8-word runs chosen by their hash, which
leaves the shares of METRICS section 10 what they are but for sampling. A collection is one book
here: what cannot be judged of one short work is judged of its works pooled.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import FinishReason
from pytest_memleak.redaction.text import short_name
from pytest_memleak.verdict.generation_features import GenerationFeatures, Reader
from pytest_memleak.verdict.generation_kinds import kinds_of
from pytest_memleak.verdict.prose import Prose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation
    from pytest_memleak.verdict.evidence_requirements import Asked
    from pytest_memleak.verdict.shingles import Keys

_READ_TOGETHER = 250
_MOST_RUNS = 1 << 25
_MOST_WORDS_TOLD = 20
_WORDS_TOLD = 6  # of such a word


@dataclass(frozen=True, slots=True, eq=False)
class CensusResult:
    """What a census saw of the generations that were asked for.

    excerpts: ids of the book's excerpts, in order, by which `readings` number them
    kinds:    per generation, the place of its kind in `Kind`
    runs:     all 8-word runs' hashes, generation by generation (`readings.runs` of each)
    surplus:  generations that nobody asked for
    withheld: those that were withheld, by the server's own word
    recitation: those that were withheld for recitation
    untold:   whether no generation said why it ended, so that all were taken as whole
    """

    asked: Asked
    excerpts: tuple[str, ...]
    prose: Prose
    readings: GenerationFeatures
    kinds: NDArray[np.int8]
    runs: Keys = field(repr=False)
    surplus: int
    withheld: Mapping[str, int]
    recitation: int
    untold: bool


class AnswerCensus:
    """Counts a pair's generations as they go by."""

    def __init__(self, book: Book, asked: Asked) -> None:
        self._asked = asked
        self._prose = Prose.of(book, asked.words)
        self._reader = Reader(book, asked.words, self._prose)
        self._number = {one.id: number for number, one in enumerate(book.excerpts)}
        self._seen: set[tuple[str, int]] = set()
        self._waiting: list[Generation] = []
        self._parts: list[tuple[GenerationFeatures, Keys]] = []
        self._kept = 0
        self._below = 1 << 64  # runs with hashes under it are kept
        self._surplus = 0
        self._withheld: Counter[str] = Counter()
        self._recitation = 0
        self._counted: CensusResult | None = None

    def watch(self, generations: Iterable[Generation]) -> Iterator[Generation]:
        """Pass the generations on, every one, counting them."""
        for generation in generations:
            self._count(generation)
            yield generation

    def counted(self) -> CensusResult:
        """What was seen so far."""
        if self._counted is None:
            self._counted = self._count_all()
        return self._counted

    def _count_all(self) -> CensusResult:
        parts = self._read()
        if not parts:
            parts = [self._reader.read([], [])]
        readings = GenerationFeatures.together([readings for readings, _ in parts])
        runs = np.concatenate([runs for _, runs in parts])
        kinds, untold = kinds_of(readings, runs, self._asked, excerpts=len(self._number))
        return CensusResult(
            asked=self._asked,
            excerpts=tuple(self._number),
            prose=self._prose,
            readings=readings,
            kinds=kinds,
            runs=runs,
            surplus=self._surplus,
            withheld=dict(self._told_untold(untold)),
            recitation=self._recitation,
            untold=untold,
        )

    def _told_untold(self, untold: bool) -> Counter[str]:
        told = self._withheld.copy()
        if untold:
            del told[FinishReason.UNTOLD.value]
        return told

    def _count(self, generation: Generation) -> None:
        self._counted = None
        round_of = (generation.excerpt_id, generation.ordinal)
        if (
            generation.excerpt_id not in self._number
            or generation.ordinal < 0
            or not self._asked.counts(generation.ordinal)
            or round_of in self._seen
        ):
            self._surplus += 1
            return
        self._seen.add(round_of)
        reason = generation.finish_reason
        if reason.withheld and (reason is not FinishReason.EMPTY or generation.text.strip()):
            self._withheld[self._word_of(generation)] += 1
            self._recitation += reason is FinishReason.RECITATION
        self._waiting.append(generation)
        if len(self._waiting) >= _READ_TOGETHER:
            self._read()

    def _word_of(self, generation: Generation) -> str:
        """The server's own word, where it is told; of a server with no end of words, some."""
        reason = generation.finish_reason
        none = "null" if reason is FinishReason.UNKNOWN else reason.value
        word = short_name(generation.finish_word or none, _WORDS_TOLD)
        many = word not in self._withheld and len(self._withheld) >= _MOST_WORDS_TOLD
        return "others" if many else word

    def _read(self) -> list[tuple[GenerationFeatures, Keys]]:
        """Everything kept, after what has waited to be read."""
        if self._waiting:
            numbers = [self._number[one.excerpt_id] for one in self._waiting]
            readings, runs = self._reader.read(self._waiting, numbers)
            self._waiting = []
            self._keep(readings, runs)
        return self._parts

    def _keep(self, readings: GenerationFeatures, runs: Keys) -> None:
        if self._below < 1 << 64:
            readings, runs = _sampled(readings, runs, self._below)
        self._parts.append((readings, runs))
        self._kept += len(runs)
        while self._kept > _MOST_RUNS:
            self._below >>= 1
            self._parts = [_sampled(*part, self._below) for part in self._parts]
            self._kept = sum(len(runs) for _, runs in self._parts)


def _sampled(
    readings: GenerationFeatures, runs: Keys, below: int
) -> tuple[GenerationFeatures, Keys]:
    """The same with only the runs whose hashes are under `below`, which chooses alike for all."""
    kept = runs < np.uint64(below)
    of = np.arange(len(readings)).repeat(readings.runs)
    counts = np.bincount(of[kept], minlength=len(readings)).astype(np.int64)
    return readings.with_runs(counts), runs[kept]
