"""The kind of each generation, and a census of a pair's generations (docs/method.md).

    census = GenerationCensus(book, request)
    for generations in batches: census.read(generations)
    result = census.counted()

The census streams. Of 25,000 generations of 400 words it keeps 80 MB of hashes, and
never more than twice `_MOST_RUNS` of them; beyond that it samples the 8-word runs by
their hashes, which changes the shares of docs/method.md only by sampling error. A
collection counts as one book: works too short to be judged alone are judged together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.records import FinishReason, Kind
from pytest_memleak.records.generation import finish_reason_from_word
from pytest_memleak.redaction.text import count_words, server_word
from pytest_memleak.scoring.freed_memory import return_freed_memory
from pytest_memleak.scoring.keyed_texts import keyed
from pytest_memleak.scoring.word_ranges import distinct
from pytest_memleak.verdict.evidence_requirements import exact_fraction
from pytest_memleak.verdict.generation_features import (
    ENDED,
    LENGTH,
    UNSTATED,
    FeatureReader,
    GenerationFeatures,
    runs_by_excerpt,
)
from pytest_memleak.verdict.prose import Prose
from pytest_memleak.verdict.shingles import RunSet, slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation
    from pytest_memleak.scoring.array_types import Counts, Flags
    from pytest_memleak.scoring.word_hashes import Keyed
    from pytest_memleak.verdict.evidence_requirements import GenerationRequest
    from pytest_memleak.verdict.shingles import Keys

    KindNumbers = NDArray[np.int8]
    KindsAndNoReasons = tuple[KindNumbers, bool]
    RequestedAndTheirWords = tuple[Sequence[Generation], Keyed]


KINDS = tuple(Kind)

_SHARED = 3
"""What so many excerpts' answers share is not an answer to one of them."""

_SLOT_BITS = 24
_MOST_RUNS = 1 << 25
_PARTS_TOGETHER = 16
_MOST_SERVER_WORDS = 20
_WORDS_SHOWN = 6  # of a longer server word
_WORDS_OF_TABLE = 3  # at most, of a word that `finish_reason_from_word` maps


def kinds_of(
    readings: GenerationFeatures,
    runs: Keys,
    request: GenerationRequest,
    *,
    excerpts: int,
) -> KindsAndNoReasons:
    """Return each generation's place in KINDS, and whether none has a finish reason.

    runs: the generations' 8-word runs, `readings.runs` of each. excerpts: the book's.
    """
    is_unstated = readings.ended == UNSTATED
    unstated = len(readings) > 0 and bool(is_unstated.all())
    was_cut = readings.ended == LENGTH
    whole = (readings.ended == ENDED) | was_cut | unstated
    least = exact_fraction(request.limits.min_length_ratio)
    least_words = readings.expected * least.numerator
    own_is_short = readings.own * least.denominator < least_words
    words_are_enough = readings.words * least.denominator >= least_words
    few_words = whole & ~readings.blank & readings.few
    is_listed = readings.few & readings.listed
    is_half = 2 * readings.own < readings.expected
    # By the first that applies.
    rules = {
        Kind.WITHHELD: ~whole,
        # Of a reasoning model that spent its tokens, the limit is to blame.
        Kind.EMPTY: readings.blank & ~was_cut,
        Kind.REFUSAL: is_listed | _open_alike(readings, few_words),
        Kind.ECHO: words_are_enough & own_is_short,
        Kind.CUT_EARLY: was_cut & (is_half | readings.blank),
        Kind.SHORT: own_is_short,
    }
    too_short = np.logical_or.reduce(list(rules.values()))
    if excerpts >= _SHARED:
        rules[Kind.CANNED] = canned(readings, runs, ~too_short)
    rules[Kind.UNREADABLE] = readings.unreadable
    places = [KINDS.index(kind) for kind in rules]
    answer = KINDS.index(Kind.ANSWER)
    kinds = np.select(list(rules.values()), places, default=answer)
    return kinds.astype(np.int8), unstated


def _open_alike(readings: GenerationFeatures, chosen: Flags) -> Flags:
    """Tell which chosen generations open like chosen ones of three or more excerpts."""
    numbers = np.flatnonzero(chosen)
    opening = readings.opening[numbers]
    excerpt = readings.excerpt[numbers].astype(np.uint64)
    # Each column is an opening and an excerpt with it.
    columns = np.stack([opening, excerpt])
    pairs = np.unique(columns, axis=1)
    openings, excerpts_of_opening = np.unique(pairs[0], return_counts=True)
    is_shared = excerpts_of_opening >= _SHARED
    shared_openings = openings[is_shared]
    alike = np.zeros(len(readings), dtype=np.bool_)
    alike[numbers] = np.isin(opening, shared_openings)
    return alike


def canned(
    readings: GenerationFeatures,
    runs: Keys,
    chosen: Flags,
) -> Flags:
    """Tell which chosen generations are mostly runs that three or more excerpts have.

    runs: the generations' 8-word runs, `readings.runs` of each
    """
    suspects = _suspected_canned(readings, runs, chosen)
    if not suspects.any():
        return suspects
    suspected_runs = RunSet(
        excerpt_runs for _, excerpt_runs in runs_by_excerpt(readings, runs, suspects)
    )
    shared = _shared_runs(
        excerpt_runs[suspected_runs.places(excerpt_runs)]
        for _, excerpt_runs in runs_by_excerpt(readings, runs, chosen)
    )
    verified = np.zeros(len(readings), dtype=np.bool_)
    for numbers, excerpt_runs in runs_by_excerpt(readings, runs, suspects):
        hits = shared.among(excerpt_runs)
        verified[numbers] = _mostly_hits(hits, readings.runs[numbers])
    return verified


def _suspected_canned(
    readings: GenerationFeatures,
    runs: Keys,
    chosen: Flags,
) -> Flags:
    """Tell which generations may be canned, by slots instead of runs.

    Few runs share a slot with runs of so many excerpts; they are seldom half of a
    generation. Those that recite the book aren't canned.
    """
    excerpts_of_slot = np.zeros(1 << _SLOT_BITS, dtype=np.uint8)
    for _, excerpt_runs in runs_by_excerpt(readings, runs, chosen):
        run_slots = slots(excerpt_runs, _SLOT_BITS)
        seen = excerpts_of_slot[run_slots]
        is_counted = seen < _SHARED
        excerpts_of_slot[run_slots] = seen + is_counted
    suspects = np.zeros(len(readings), dtype=np.bool_)
    candidates = chosen & ~readings.recites
    for numbers, excerpt_runs in runs_by_excerpt(readings, runs, candidates):
        run_slots = slots(excerpt_runs, _SLOT_BITS)
        hits = excerpts_of_slot[run_slots] == _SHARED
        suspects[numbers] = _mostly_hits(hits, readings.runs[numbers])
    return suspects


def _shared_runs(parts: Iterable[Keys]) -> RunSet:
    """Return the runs that three or more parts have."""
    every = np.concatenate([distinct(part) for part in parts])
    every.sort()
    third = every[_SHARED - 1 :]
    first = every[: 1 - _SHARED]
    is_shared = third == first
    return RunSet([third[is_shared]])


def _mostly_hits(hits: Flags, runs: Counts) -> Flags:
    """Tell which generations have hits in over half of their runs.

    runs: number of each generation's runs
    """
    hits_so_far = hits.cumsum()
    hits_until = np.concatenate(([0], hits_so_far))
    ends = runs.cumsum()
    starts = ends - runs
    hits_until_start = hits_until[starts]
    hits_until_end = hits_until[ends]
    own_hits = hits_until_end - hits_until_start
    mostly: Flags = 2 * own_hits > runs
    return mostly


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class CensusResult:
    """What a census saw of the requested generations.

    excerpts: ids of the book's excerpts, in order, by which `readings` number them
    kinds:    per generation, the place of its kind in `Kind`
    runs:     all 8-word runs' hashes, generation by generation (`readings.runs` of
        each)
    surplus:  generations beyond the requested samples
    withheld: those that were withheld, by the server's own word
    recitation: those that were withheld for recitation; if none were requested,
        those of the surplus
    unstated: whether no generation said why it ended, so that all were taken as whole
    """

    request: GenerationRequest
    excerpts: tuple[str, ...]
    prose: Prose
    readings: GenerationFeatures
    kinds: KindNumbers
    runs: Keys = field(repr=False)
    surplus: int
    withheld: Mapping[str, int]
    recitation: int
    unstated: bool


class _Part(NamedTuple):
    """The features of some generations, and their 8-word runs."""

    readings: GenerationFeatures
    runs: Keys

    def with_runs_below(self, below: int) -> _Part:
        """Keep only runs with hashes under `below`: the same in all generations."""
        kept = self.runs < np.uint64(below)
        numbers = np.arange(len(self.readings))
        generation = numbers.repeat(self.readings.runs)
        kept_generation = generation[kept]
        counts = np.bincount(kept_generation, minlength=len(numbers))
        readings = replace(self.readings, runs=counts.astype(np.int64))
        return _Part(readings, self.runs[kept])


class GenerationCensus:
    """Counts a pair's generations as they go by."""

    def __init__(self, book: Book, request: GenerationRequest) -> None:
        self._request = request
        self._prose = Prose.of(book, request.words)
        self._book = book
        self._number: dict[str, int] = {}
        for number, prompted in enumerate(book.prompted_ids):
            self._number[prompted] = number
        self._seen: set[tuple[str, int]] = set()
        self._parts: list[_Part] = []
        self._kept = 0
        self._below = 1 << 64  # runs with hashes under it are kept
        self._surplus = 0
        self._withheld: Counter[tuple[FinishReason, str | None]] = Counter()
        self._recitation = 0
        self._counted: CensusResult | None = None

    @cached_property
    def _reader(self) -> FeatureReader:
        reader = FeatureReader(
            book=self._book,
            mode=self._request.words,
            prose=self._prose,
        )
        return_freed_memory()
        return reader

    def read(
        self,
        generations: Sequence[Generation],
    ) -> RequestedAndTheirWords:
        """Count the generations; return the requested ones, and their texts' words."""
        self._counted = None
        requested = [*filter(self._is_requested, generations)]
        texts = [generation.text for generation in requested]
        words = keyed(texts, self._request.words)
        numbers = [self._number[generation.excerpt_id] for generation in requested]
        readings, runs = self._reader.read(requested, numbers, words)
        self._keep(_Part(readings, runs))
        return requested, words

    def counted(self) -> CensusResult:
        """Return the result so far."""
        if self._counted:
            return self._counted
        if not self._parts:
            self.read([])
        every = [part.readings for part in self._parts]
        readings = GenerationFeatures.concatenated(every)
        del every
        runs = self._joined_runs()
        self._parts = [_Part(readings, runs)]
        vars(self).pop("_reader", None)  # frees its tables
        return_freed_memory()
        kinds, unstated = kinds_of(
            readings,
            runs,
            self._request,
            excerpts=len(self._number),
        )
        self._counted = CensusResult(
            request=self._request,
            excerpts=tuple(self._number),
            prose=self._prose,
            readings=readings,
            kinds=kinds,
            runs=runs,
            surplus=self._surplus,
            withheld=self._withheld_words(unstated=unstated),
            recitation=self._recitation,
            unstated=unstated,
        )
        return self._counted

    def _joined_runs(self) -> Keys:
        """Concatenate the parts' runs; free each, as memory may not hold two."""
        parts = [part.runs for part in self._parts]
        self._parts.clear()
        total = sum(map(len, parts))
        joined = np.empty(total, dtype=np.uint64)
        end = total
        while parts:
            part = parts.pop()
            start = end - len(part)
            joined[start:end] = part
            end = start
            if not len(parts) % _PARTS_TOGETHER:
                return_freed_memory()
        return joined

    def _withheld_words(self, *, unstated: bool) -> dict[str, int]:
        """Count withheld generations by the server's word; "others" from the 21st."""
        counts: Counter[str] = Counter()
        for (reason, own_word), count in self._withheld.items():
            word = _shown_word(reason, own_word)
            if word not in counts and len(counts) >= _MOST_SERVER_WORDS:
                word = "others"
            counts[word] += count
        if unstated:
            del counts[FinishReason.UNSTATED.value]
        return dict(counts)

    def _is_requested(self, generation: Generation) -> bool:
        """Tell whether it was requested, and count it."""
        reason = generation.finish_reason
        is_recitation = reason is FinishReason.RECITATION
        if self._is_surplus(generation):
            self._surplus += 1
            if not self._request.samples:
                self._recitation += is_recitation
            return False
        self._seen.add((generation.excerpt_id, generation.ordinal))
        is_empty = reason is FinishReason.EMPTY and not generation.text.strip()
        if reason.withheld and not is_empty:
            self._withheld[reason, generation.finish_word] += 1
            self._recitation += is_recitation
        return True

    def _is_surplus(self, generation: Generation) -> bool:
        """Tell whether the suite doesn't request it, or it was read before."""
        if generation.excerpt_id not in self._number:
            return True
        ordinal = generation.ordinal
        if ordinal < 0 or not self._request.counts(ordinal):
            return True
        return (generation.excerpt_id, ordinal) in self._seen

    def _keep(self, part: _Part) -> None:
        """Keep what was read of some generations."""
        if self._below < 1 << 64:
            part = part.with_runs_below(self._below)
        self._parts.append(part)
        self._kept += len(part.runs)
        while self._kept > _MOST_RUNS:
            self._below >>= 1
            self._parts = [kept.with_runs_below(self._below) for kept in self._parts]
            self._kept = sum(len(kept.runs) for kept in self._parts)


def _shown_word(reason: FinishReason, own_word: str | None) -> str:
    """Return a server's word for a withheld generation, shortened if it isn't known."""
    none = "null" if reason is FinishReason.UNKNOWN else reason.value
    word = own_word or none
    is_mapped = (
        word == none or finish_reason_from_word(word) is not FinishReason.UNKNOWN
    )
    if is_mapped and count_words(word) <= _WORDS_OF_TABLE:
        return word
    return server_word(word, _WORDS_SHOWN)
