"""The four measures of memorization, in one pass over the generations (METRICS section 3)."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import RecordsError, SettingsError
from pytest_memleak.records import Block, Coverage, Measurement, Span
from pytest_memleak.scoring.borders import find_matches_within
from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.matches import Interval, find_matches, without

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Excerpt, Generation, Scoring

__all__ = ["Tally", "measure"]


def measure(
    book: Book,
    generations: Iterable[Generation],
    scoring: Scoring,
) -> Measurement:
    """Measure how much of `book` its `generations` give back.

    Raises SettingsError for settings out of range, BookError for a book that cannot be
    measured, RecordsError for a generation that belongs to none of its excerpts or comes twice.
    """
    tally = Tally(book, scoring)
    for generation in generations:
        tally.add(generation)
    return tally.measurement()


@dataclass(slots=True)
class _Tail:
    """The longest run with the own excerpt that ends at one word, and where it came from."""

    start: int
    excerpt_id: str
    ordinal: int


@dataclass(slots=True)
class _PerExcerpt:
    """What is known of an excerpt while its generations go by."""

    start: int
    end: int
    asked: tuple[Interval, ...]  # the book's intervals that its instruction already contains
    pieces: dict[Interval, list[Interval]] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)


class Tally:
    """Counts matches generation by generation; `measurement` may be asked for at any time.

    index:       of the book
    rounds:      per ordinal, the memorized pieces that its generations cover
    own_lengths: how many runs with the own excerpt there are of each length, all generations
    """

    def __init__(self, book: Book, scoring: Scoring) -> None:
        _check(scoring)
        self._scoring = scoring
        self.index = Index(book, k=scoring.k, mode=scoring.words)
        self.rounds: dict[int, set[Interval]] = {}
        self.own_lengths: Counter[int] = Counter()
        self._instructions = _InstructionIndex(book, self.index, trim=scoring.trim)
        self._book = book
        self._excerpts: dict[str, _PerExcerpt] = {}
        self._tails: dict[int, _Tail] = {}
        self._longest = Span(0)
        self._longest_rank: tuple[int, ...] = (0,)
        self._count = 0
        self._by_id = {excerpt.id: excerpt for excerpt in book.excerpts}

    def add(self, generation: Generation) -> set[Interval]:
        """Match one generation and count what it gives back; returns its matches, untrimmed."""
        excerpt = self._excerpt(generation)
        self._count += 1
        matches = find_matches_within(self.index, self.index.code_text(generation.text))
        covered = self.rounds.setdefault(generation.ordinal, set())
        for match in matches:
            covered.update(self._memorized(match, excerpt))
            if match[0] < excerpt.end and excerpt.start < match[1]:
                self._regurgitated(match, excerpt, generation)
        return matches

    def measurement(self) -> Measurement:
        """The measures of all generations so far."""
        scoring = self._scoring
        coverage = self._coverage()
        spans = self._spans_over()
        reach = np.frombuffer(coverage.reach, dtype=np.intc)
        return Measurement(
            words=self.index.total,
            k=scoring.k,
            trim=scoring.trim,
            span_threshold=scoring.span_threshold,
            word_mode=scoring.words,
            generations=self._count,
            bmc=int(np.count_nonzero(reach)) / self.index.total,
            longest_block=_longest_run(reach > 0, self.index.borders),
            longest_span=self._longest,
            spans_over=len(spans),
            spans=spans,
            coverage=coverage,
            excerpt_starts=tuple(start for start, _ in self.index.bounds.values()),
        )

    def _excerpt(self, generation: Generation) -> _PerExcerpt:
        excerpt_id = generation.excerpt_id
        if excerpt_id not in self._excerpts:
            if excerpt_id not in self._by_id:
                raise RecordsError(
                    f"a generation is for the excerpt {excerpt_id!r}, which the book does not have",
                    place=f"book {self._book.id!r}",
                    hint="score generations against the book they were prompted with",
                )
            start, end = self.index.bounds[excerpt_id]
            asked = self._instructions.asked(self._by_id[excerpt_id])
            self._excerpts[excerpt_id] = _PerExcerpt(start, end, asked)
        excerpt = self._excerpts[excerpt_id]
        if generation.ordinal in excerpt.seen:
            raise RecordsError(
                f"generation {generation.ordinal} of excerpt {excerpt_id!r} comes twice",
                place=f"book {self._book.id!r}",
            )
        excerpt.seen.add(generation.ordinal)
        return excerpt

    def _memorized(self, match: Interval, excerpt: _PerExcerpt) -> list[Interval]:
        """The match without what the instruction gave away."""
        if not excerpt.asked:
            return [match]
        if match not in excerpt.pieces:
            excerpt.pieces[match] = without(
                match, excerpt.asked, overlap=self._scoring.trim, keep=self._scoring.k
            )
        return excerpt.pieces[match]

    def _regurgitated(self, match: Interval, excerpt: _PerExcerpt, generation: Generation) -> None:
        """Count the part of the match that lies in the generation's own excerpt."""
        start, end = max(match[0], excerpt.start), min(match[1], excerpt.end)
        length = end - start
        if length < self._scoring.k:
            return
        self.own_lengths[length] += 1
        rank = (-length, excerpt.start, generation.ordinal, start)
        if rank < self._longest_rank:
            self._longest_rank = rank
            self._longest = Span(length, start, end, generation.excerpt_id, generation.ordinal)
        if length > self._scoring.span_threshold:
            tail = self._tails.get(end)
            if tail is None or (start, generation.ordinal) < (tail.start, tail.ordinal):
                self._tails[end] = _Tail(start, generation.excerpt_id, generation.ordinal)

    def _coverage(self) -> Coverage:
        total = self.index.total
        reach = np.zeros(total, dtype=np.intc)
        rounds = np.zeros(total, dtype=np.intc)
        for covered in self.rounds.values():
            rounds += _mask(covered, total)
        pieces = set().union(*self.rounds.values())
        for start, end in sorted(pieces, key=_length):
            reach[start:end] = end - start
        return Coverage(_as_array(reach), _as_array(rounds))

    def _spans_over(self) -> tuple[Span, ...]:
        """Distinct spans over T, longest first: greedy over the runs and their suffixes.

        Of the runs with one end only the longest matters, since the others are its suffixes.
        A run that overlaps a span already taken gives way to its longest suffix that does not.
        """
        threshold = self._scoring.span_threshold
        heap = [(tail.start - end, tail.start, end) for end, tail in self._tails.items()]
        heapify(heap)
        owner: dict[int, Interval] = {}
        spans = []
        while heap:
            length, start, end = heappop(heap)
            taken = owner.get(end - 1) or _first_overlap(owner, start, end)
            if taken is None:
                tail = self._tails[end]
                spans.append(Span(-length, start, end, tail.excerpt_id, tail.ordinal))
                owner.update(dict.fromkeys(range(start, end), (start, end)))
            elif end - taken[1] > threshold:
                heappush(heap, (taken[1] - end, taken[1], end))
        return tuple(spans)


class _InstructionIndex:
    """Which of the book's m-grams an excerpt's instruction contains."""

    def __init__(self, book: Book, index: Index, *, trim: int) -> None:
        self._index: Index | None = index if trim == index.k else None
        if trim not in (0, index.k) and trim <= index.total:
            self._index = Index(book, k=trim, mode=index.mode)

    def asked(self, excerpt: Excerpt) -> tuple[Interval, ...]:
        """Matches of at least m words of the instruction with the book, ascending."""
        if self._index is None or not excerpt.instruction:
            return ()
        coded = self._index.code_text(excerpt.instruction)
        return tuple(sorted(find_matches(self._index, coded)))


def _check(scoring: Scoring) -> None:
    for name, value, least in (
        ("k", scoring.k, 1),
        ("trim", scoring.trim, 0),
        ("span_threshold", scoring.span_threshold, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SettingsError(f"{name} must be a whole number of at least {least}, not {value!r}")
    if scoring.words not in ("paper", "unicode"):
        raise SettingsError(f"words must be 'paper' or 'unicode', not {scoring.words!r}")


def _first_overlap(owner: dict[int, Interval], start: int, end: int) -> Interval | None:
    """The last taken span that overlaps [start, end), which does not hold its last word."""
    return next((owner[place] for place in range(end - 1, start - 1, -1) if place in owner), None)


def _length(interval: Interval) -> int:
    return interval[1] - interval[0]


def _mask(intervals: set[Interval], total: int) -> NDArray[np.bool_]:
    """Per word, whether any of the intervals covers it."""
    edges = np.array(list(intervals), dtype=np.intp).reshape(-1, 2)
    steps = np.bincount(edges[:, 0], minlength=total + 1)
    steps -= np.bincount(edges[:, 1], minlength=total + 1)
    return np.cumsum(steps[:-1]) > 0


def _longest_run(mask: NDArray[np.bool_], borders: tuple[int, ...]) -> Block:
    """The longest run of True that lies across no border; the first of equals."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    inner = np.array([at for at in borders if 0 < at < len(mask)], dtype=np.intp)
    cuts = inner[mask[inner - 1] & mask[inner]]
    starts, ends = (np.sort(np.concatenate((some, cuts))) for some in (starts, ends))
    if not len(starts):
        return Block(0)
    longest = int(np.argmax(ends - starts))
    start, end = int(starts[longest]), int(ends[longest])
    return Block(end - start, start, end)


def _as_array(values: NDArray[np.intc]) -> array[int]:
    return array("i", values.tobytes())
