"""A second opinion: pyahocorasick's automaton rematches some generations with a book.

    sample = Sample(seed)
    analysis = analyze(book, sample.watch(generations), ...)
    differences_by_automaton((book.id, book), index, sample.generations)

Both paths share the words (docs/method.md) and nothing else. Here a dictionary numbers
the words, the automaton holds their k-grams, and the book streams past it, without
prefilter or keys.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import defaultdict
from hashlib import blake2b
from itertools import count, pairwise
from typing import TYPE_CHECKING

import ahocorasick
import numpy as np

from pytest_memleak.records import Origin
from pytest_memleak.scoring.text_batches import batches_of, in_batches
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records import Book, Generation, WordMode
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.multi_book_index import SharedIndex
    from pytest_memleak.scoring.rounds import Rounds
    from pytest_memleak.scoring.text_batches import Batch

_ONE_IN = 100
_LEAST = 20
_RADIX = 1 << 7
_UNKNOWN = "\0\0"

Words = list[str | None]
Matches = dict[tuple[int, int, int], int]
"""Lengths of matches in words, by text, place in the text, and place in the book."""


class Sample:
    """A seeded sample of generations that pass through: 1 in 100, at least 20."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chosen: list[Generation] = []
        # A heap, highest rank first: minus rank, number, and generation.
        self._further: list[tuple[int, int, Generation]] = []

    def pass_through(
        self, generations: Iterable[Generation | Batch]
    ) -> Iterator[Batch]:
        """Pass the generations on and keep the sample."""
        numbers = count()
        for batch in in_batches(generations):
            for generation, number in zip(batch.generations, numbers, strict=False):
                rank = self._random_rank(generation)
                row = (-rank, number, generation)
                if rank % _ONE_IN == 0:
                    self._chosen.append(generation)
                elif len(self._further) < _LEAST:
                    heapq.heappush(self._further, row)
                else:
                    heapq.heappushpop(self._further, row)
            yield batch

    def _random_rank(self, generation: Generation) -> int:
        """Return a number that depends on the seed and on which generation it is."""
        which = generation.origin, generation.ordinal, generation.excerpt_id
        data = f"{self._seed} {which}".encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(data, digest_size=8).digest())

    @property
    def generations(self) -> list[Generation]:
        """Return the sample so far."""
        missing = max(0, _LEAST - len(self._chosen))
        further = heapq.nlargest(missing, self._further)
        return self._chosen + [generation for _, _, generation in further]


# A generation's origin, its prompted excerpt, and its ordinal.
_Name = tuple[Origin, str, int]


def generations_with_longest_runs(analysis: Analysis, book: Book) -> set[_Name]:
    """Name the generations that contain the longest span, passage, and block."""
    measured = analysis.measurement
    span = measured.longest_span
    names = {(Origin.SAMPLED, span.excerpt_id, span.generation)}
    if analysis.passages:
        passage = analysis.passages.longest_passage
        names.add((passage.origin, passage.excerpt_id, passage.generation))
    names |= _generations_with_longest_block(analysis, book)
    return {
        (origin, excerpt_id, ordinal)
        for origin, excerpt_id, ordinal in names
        if excerpt_id is not None and ordinal is not None
    }


def _generations_with_longest_block(analysis: Analysis, book: Book) -> set[_Name]:
    """Name generations that contain the longest block together."""
    runs = analysis.counts.runs
    measured = analysis.measurement
    block = measured.longest_block
    at = block.start or 0
    block_end = block.end or 0
    names: set[_Name] = set()
    if at >= block_end:
        return names
    every_span = analysis.cross.spans
    while at < block_end:
        is_around = (runs.start <= at) & (runs.end > at)
        end_of_run_around = np.where(is_around, runs.end, 0)
        longest = int(end_of_run_around.argmax())
        ordinal = int(runs.round[longest])
        reached = int(runs.end[longest])
        first = measured.excerpt_at(at)
        last = measured.excerpt_at(reached - 1)
        sources = [excerpt.id for excerpt in book.excerpts[first : last + 1]]
        for span in every_span:
            if span.start < reached and span.end > at:
                sources += span.sources
        for source in sources:
            names.add((Origin.SAMPLED, source, ordinal))
        at = max(reached, at + 1)
    return names


def differences_by_automaton(
    protected: tuple[str, Book],
    index: SharedIndex,
    generations: Sequence[Generation],
    counted: Rounds | None = None,
) -> Iterator[tuple[Generation, str]]:
    """Match the generations by automaton, and yield what differs from the normal path.

    protected: a book and its name in the index
    counted:   the words that each sampled round covers of its prompted excerpts, as
    measured
    """
    name, book = protected
    indexed = index.books[index.numbers[name]]
    bounds = indexed.layout.bounds
    for batch in batches_of(generations, lambda generation: len(generation.text)):
        texts = [generation.text for generation in batch]
        first = _measured_matches(index, name, texts)
        second = automaton_matches(
            book,
            texts,
            k=index.k,
            mode=index.mode,
        )
        for key in sorted(first.keys() | second.keys()):
            text, place, start = key
            generation = batch[text]
            before = first.get(key, 0)
            after = second.get(key, 0)
            is_sampled = generation.origin is Origin.SAMPLED
            if counted is not None and is_sampled and before == after:
                least, most = bounds.get(generation.excerpt_id, (0, 0))
                begin = max(start, least)
                end = min(start + after, most)
                is_long = end - begin >= index.k
                if is_long and not _round_covers(
                    rounds=counted,
                    generation=generation,
                    start=begin,
                    end=end,
                ):
                    before = 0
            if before != after:
                where = f"at word {place:,}, which is word {start:,} of {book.id}"
                lengths = (
                    f"{before:,} words by the measurement, "
                    f"{after:,} by the second opinion"
                )
                yield generation, f"{where}: {lengths}"


def _measured_matches(
    index: SharedIndex,
    name: str,
    texts: Sequence[str],
) -> Matches:
    """Match the texts with the book of this name as the measurement does."""
    matched = index.matches(texts, near=False)
    is_own = matched.matches.book == index.numbers[name]
    own = matched.matches.where(is_own)
    text_start = matched.exact.ends[own.text] + 1
    place_in_text = own.place - text_start
    keys = zip(
        own.text.tolist(),
        place_in_text.tolist(),
        own.start.tolist(),
        strict=True,
    )
    return dict(zip(keys, own.words.tolist(), strict=True))


def _round_covers(
    rounds: Rounds,
    generation: Generation,
    start: int,
    end: int,
) -> bool:
    """Return whether an interval of the generation's round contains the words."""
    first = int(rounds.round.searchsorted(generation.ordinal))
    behind = int(rounds.round.searchsorted(generation.ordinal + 1))
    starts = rounds.start[first:behind]
    begun = int(starts.searchsorted(start, side="right"))
    if begun == 0:
        return False
    return int(rounds.end[first + begun - 1]) >= end


def automaton_matches(
    book: Book,
    texts: Sequence[str],
    *,
    k: int,
    mode: WordMode,
) -> Matches:
    """Find all matches of at least `k` words (docs/method.md).

    Every k words of a text contain an anchor, a little over half as long.
    """
    text_words, starts = _join_with_first_places(words(text, mode) for text in texts)
    size = k // 2 + 1
    parts_with_anchors = _places_of_anchors(
        text_words,
        starts,
        _words_of_each_part(book, mode),
        size=size,
        step=k - size + 1,
    )
    matches: Matches = {}
    before = -1  # a part's first word is at place 1
    for part, anchors in parts_with_anchors:
        reached: dict[int, int] = {}  # by diagonal
        for place, at in anchors:
            ahead = at - place
            if place < reached.get(ahead, 0):
                continue
            first = place
            end = place + size
            while text_words[first - 1] == part[first - 1 + ahead] is not None:
                first -= 1
            while text_words[end] == part[end + ahead] is not None:
                end += 1
            reached[ahead] = end
            length = end - first
            if length < k:
                continue
            text = bisect_right(starts, first) - 1
            place_in_text = first - starts[text]
            place_in_book = first + ahead + before
            matches[text, place_in_text, place_in_book] = length
        before += len(part) - 2
    return matches


def _words_of_each_part(book: Book, mode: WordMode) -> Iterator[Words]:
    """Yield the words of each part that no match leaves, between two None."""
    bounds = (0, *book.breaks, len(book.excerpts))
    for first, end in pairwise(bounds):
        part: Words = [None]
        for excerpt in book.excerpts[first:end]:
            part += words(excerpt.text, mode)
        part.append(None)
        yield part


def _places_of_anchors(
    text_words: Words,
    starts: list[int],
    parts: Iterable[Words],
    *,
    size: int,
    step: int,
) -> Iterator[tuple[Words, Iterator[tuple[int, int]]]]:
    """Yield each part, and the places of anchors in the texts and in it."""
    vocabulary = dict.fromkeys(word for word in text_words if word is not None)
    # Two characters of disjoint alphabets per word: the automaton's nodes have few
    # edges.
    codes: dict[str | None, str] = {}
    for number, word in enumerate(vocabulary):
        high, low = divmod(number, _RADIX)
        codes[word] = chr(2 * _RADIX + high) + chr(_RADIX + low)
    coded = "".join(codes.get(word, _UNKNOWN) for word in text_words)
    anchors: defaultdict[str, list[int]] = defaultdict(list)
    for start, end in pairwise([*starts, len(text_words)]):
        for place in range(start, end - size, step):
            anchor_end = place + size
            anchor = coded[2 * place : 2 * anchor_end]
            anchors[anchor].append(place)
    automaton = ahocorasick.Automaton()
    for anchor, places in anchors.items():
        automaton.add_word(anchor, places)
    automaton.make_automaton()
    if not anchors:
        return
    for part in parts:
        coded_part = "".join(codes.get(word, _UNKNOWN) for word in part)
        hits = automaton.iter(coded_part)
        yield part, _places_of(hits, size)


def _places_of(
    hits: Iterable[tuple[int, list[int]]],
    size: int,
) -> Iterator[tuple[int, int]]:
    """Yield the places of anchors of `size` words in the texts and in the part.

    hits: the last character of each in the coded part, and its places in the texts
    """
    for last, places in hits:
        at = (last + 1) // 2 - size
        for place in places:
            yield place, at


def _join_with_first_places(texts: Iterable[list[str]]) -> tuple[Words, list[int]]:
    """Join texts with None around each; return the places of their first words."""
    joined: Words = [None]
    starts = []
    for text in texts:
        starts.append(len(joined))
        joined += [*text, None]
    return joined, starts
