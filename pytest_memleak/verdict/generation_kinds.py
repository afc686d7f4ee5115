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
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import FinishReason, Kind
from pytest_memleak.records.generation import finish_reason
from pytest_memleak.redaction.text import count_words, server_word
from pytest_memleak.scoring.freed_memory import return_freed_memory
from pytest_memleak.scoring.intervals import distinct
from pytest_memleak.scoring.keyed_texts import keyed
from pytest_memleak.verdict.evidence_requirements import exact
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
    from pytest_memleak.scoring.word_hashes import Keyed
    from pytest_memleak.verdict.evidence_requirements import GenerationRequest
    from pytest_memleak.verdict.generation_features import Flags, Numbers
    from pytest_memleak.verdict.shingles import Keys

    KindNumbers = NDArray[np.int8]


KINDS = tuple(Kind)

_SHARED = 3
"""What so many excerpts' answers share is not an answer to one of them."""

_SLOT_BITS = 24
_MOST_RUNS = 1 << 25
_PARTS_TOGETHER = 16
_MOST_SERVER_WORDS = 20
_WORDS_SHOWN = 6  # of a longer server word
_WORDS_OF_TABLE = 3  # at most, of a word that `finish_reason` maps


def kinds_of(
    readings: GenerationFeatures,
    runs: Keys,
    request: GenerationRequest,
    *,
    excerpts: int,
) -> tuple[KindNumbers, bool]:
    """Return each generation's place in KINDS, and whether none has a finish reason.

    runs: the generations' 8-word runs, `readings.runs` of each. excerpts: the book's.
    """
    unstated = len(readings) > 0 and bool((readings.ended == UNSTATED).all())
    whole = (readings.ended == ENDED) | (readings.ended == LENGTH) | unstated
    least = exact(request.limits.min_length_ratio)
    least_words = readings.expected * least.numerator
    own_is_short = readings.own * least.denominator < least_words
    words_are_enough = readings.words * least.denominator >= least_words
    few_words = whole & ~readings.blank & readings.few
    # By the first that applies.
    rules = {
        Kind.WITHHELD: ~whole,
        Kind.EMPTY: readings.blank,
        Kind.REFUSAL: readings.few & readings.listed | _open_alike(readings, few_words),
        Kind.ECHO: words_are_enough & own_is_short,
        Kind.CUT: (readings.ended == LENGTH) & (2 * readings.own < readings.expected),
        Kind.SHORT: own_is_short,
    }
    long_enough = ~np.logical_or.reduce(list(rules.values()))
    if excerpts >= _SHARED:
        rules[Kind.CANNED] = canned(readings, runs, long_enough)
    rules[Kind.UNREADABLE] = readings.unreadable
    places = [KINDS.index(kind) for kind in rules]
    kinds = np.select(list(rules.values()), places, default=KINDS.index(Kind.ANSWER))
    return kinds.astype(np.int8), unstated


def _open_alike(readings: GenerationFeatures, chosen: Flags) -> Flags:
    """Tell which chosen generations open like chosen ones of three or more excerpts."""
    numbers = np.flatnonzero(chosen)
    opening = readings.opening[numbers]
    excerpt = readings.excerpt[numbers].astype(np.uint64)
    # Each column is an opening and an excerpt with it.
    pairs = np.unique(np.stack([opening, excerpt]), axis=1)
    openings, excerpts_of_opening = np.unique(pairs[0], return_counts=True)
    shared_openings = openings[excerpts_of_opening >= _SHARED]
    alike = np.zeros(len(readings), dtype=np.bool_)
    alike[numbers] = np.isin(opening, shared_openings)
    return alike


def canned(readings: GenerationFeatures, runs: Keys, chosen: Flags) -> Flags:
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
        verified[numbers] = _mostly(hits, readings.runs[numbers])
    return verified


def _suspected_canned(readings: GenerationFeatures, runs: Keys, chosen: Flags) -> Flags:
    """Tell which generations may be canned, by slots instead of runs.

    Few runs share a slot with runs of so many excerpts; they are seldom half of a
    generation. Those that recite the book aren't canned.
    """
    excerpts_of_slot = np.zeros(1 << _SLOT_BITS, dtype=np.uint8)
    for _, excerpt_runs in runs_by_excerpt(readings, runs, chosen):
        run_slots = slots(excerpt_runs, _SLOT_BITS)
        seen = excerpts_of_slot[run_slots]
        excerpts_of_slot[run_slots] = seen + (seen < _SHARED)
    suspects = np.zeros(len(readings), dtype=np.bool_)
    candidates = chosen & ~readings.recites
    for numbers, excerpt_runs in runs_by_excerpt(readings, runs, candidates):
        hits = excerpts_of_slot[slots(excerpt_runs, _SLOT_BITS)] == _SHARED
        suspects[numbers] = _mostly(hits, readings.runs[numbers])
    return suspects


def _shared_runs(parts: Iterable[Keys]) -> RunSet:
    """Return the runs that three or more parts have."""
    every = np.concatenate([distinct(part) for part in parts])
    every.sort()
    third = every[_SHARED - 1 :]
    first = every[: 1 - _SHARED]
    return RunSet([third[third == first]])


def _mostly(hits: Flags, runs: Numbers) -> Flags:
    """Tell which generations have hits in over half of their runs.

    runs: number of each generation's runs
    """
    hits_until = np.concatenate(([0], hits.cumsum()))
    ends = runs.cumsum()
    own_hits = hits_until[ends] - hits_until[ends - runs]
    mostly: Flags = 2 * own_hits > runs
    return mostly


@dataclass(frozen=True, slots=True, eq=False)
class CensusResult:
    """What a census saw of the requested generations.

    excerpts: ids of the book's excerpts, in order, by which `readings` number them
    kinds:    per generation, the place of its kind in `Kind`
    runs:     all 8-word runs' hashes, generation by generation (`readings.runs` of
        each)
    surplus:  generations that weren't requested
    withheld: those that were withheld, by the server's own word
    recitation: those that were withheld for recitation; if none were requested,
        unrequested ones
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


class GenerationCensus:
    """Counts a pair's generations as they go by."""

    def __init__(self, book: Book, request: GenerationRequest) -> None:
        self._request = request
        self._prose = Prose.of(book, request.words)
        self._book = book
        self._number = {
            excerpt.id: number for number, excerpt in enumerate(book.excerpts)
        }
        self._seen: set[tuple[str, int]] = set()
        self._parts: list[tuple[GenerationFeatures, Keys]] = []
        self._kept = 0
        self._below = 1 << 64  # runs with hashes under it are kept
        self._surplus = 0
        self._withheld: Counter[tuple[FinishReason, str | None]] = Counter()
        self._recitation = 0
        self._counted: CensusResult | None = None

    @cached_property
    def _reader(self) -> FeatureReader:
        reader = FeatureReader(self._book, self._request.words, self._prose)
        return_freed_memory()
        return reader

    def read(
        self,
        generations: Sequence[Generation],
    ) -> tuple[Sequence[Generation], Keyed]:
        """Count the generations; return the requested ones, and their texts' words."""
        self._counted = None
        requested = [*filter(self._is_requested, generations)]
        words = keyed(
            [generation.text for generation in requested],
            self._request.words,
        )
        numbers = [self._number[generation.excerpt_id] for generation in requested]
        self._keep(*self._reader.read(requested, numbers, words))
        return requested, words

    def counted(self) -> CensusResult:
        """Return the result so far."""
        if self._counted:
            return self._counted
        if not self._parts:
            self.read([])
        readings = GenerationFeatures.together(
            [readings for readings, _ in self._parts],
        )
        runs = self._joined_runs()
        self._parts = [(readings, runs)]
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
        parts = [runs for _, runs in self._parts]
        self._parts.clear()
        joined = np.empty(sum(map(len, parts)), dtype=np.uint64)
        filled = len(joined)
        while parts:
            part = parts.pop()
            joined[filled - len(part) : filled] = part
            filled -= len(part)
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
        place = (generation.excerpt_id, generation.ordinal)
        reason = generation.finish_reason
        is_recitation = reason is FinishReason.RECITATION
        if (
            generation.excerpt_id not in self._number
            or generation.ordinal < 0
            or not self._request.counts(generation.ordinal)
            or place in self._seen
        ):
            self._surplus += 1
            if not self._request.samples:
                self._recitation += is_recitation
            return False
        self._seen.add(place)
        is_empty = reason is FinishReason.EMPTY and not generation.text.strip()
        if reason.withheld and not is_empty:
            self._withheld[reason, generation.finish_word] += 1
            self._recitation += is_recitation
        return True

    def _keep(self, readings: GenerationFeatures, runs: Keys) -> None:
        """Keep what was read of some generations."""
        if self._below < 1 << 64:
            readings, runs = _sampled(readings, runs, self._below)
        self._parts.append((readings, runs))
        self._kept += len(runs)
        while self._kept > _MOST_RUNS:
            self._below >>= 1
            self._parts = [_sampled(*part, self._below) for part in self._parts]
            self._kept = sum(len(runs) for _, runs in self._parts)


def _shown_word(reason: FinishReason, own_word: str | None) -> str:
    """Return a server's word for a withheld generation, shortened if it isn't known."""
    none = "null" if reason is FinishReason.UNKNOWN else reason.value
    word = own_word or none
    is_mapped = word == none or finish_reason(word) is not FinishReason.UNKNOWN
    if is_mapped and count_words(word) <= _WORDS_OF_TABLE:
        return word
    return server_word(word, _WORDS_SHOWN)


def _sampled(
    readings: GenerationFeatures,
    runs: Keys,
    below: int,
) -> tuple[GenerationFeatures, Keys]:
    """Keep only runs with hashes under `below`: the same runs in all generations."""
    kept = runs < np.uint64(below)
    generation = np.arange(len(readings)).repeat(readings.runs)
    counts = np.bincount(generation[kept], minlength=len(readings))
    return replace(readings, runs=counts.astype(np.int64)), runs[kept]
