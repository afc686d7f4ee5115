"""A second opinion: pyahocorasick's automaton rematches some generations with a book.

    sample = Sample(seed)
    analysis = analyze(book, sample.watch(generations), ...)
    differences((book.id, book), index, sample.generations)   -> places where the two disagree

Both paths share the words (docs/method.md) and nothing else. Here a dictionary numbers
the words, the automaton holds their k-grams, and the book streams past it, without
prefilter or keys.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import defaultdict
from hashlib import blake2b
from itertools import chain, count, pairwise, repeat
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
    """A seeded sample of the generations passed to `watch`: 1 in 100, and at least 20."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chosen: list[Generation] = []
        self._further: list[
            tuple[int, int, Generation]
        ] = []  # a heap, highest rank first

    def watch(self, generations: Iterable[Generation | Batch]) -> Iterator[Batch]:
        """Pass the generations on and keep the sample."""
        numbers = count()
        for batch in in_batches(generations):
            for generation, number in zip(batch.generations, numbers, strict=False):
                which = generation.origin, generation.ordinal, generation.excerpt_id
                data = f"{self._seed} {which}".encode("utf-8", "surrogatepass")
                rank = int.from_bytes(blake2b(data, digest_size=8).digest())
                if rank % _ONE_IN == 0:
                    self._chosen.append(generation)
                elif len(self._further) < _LEAST:
                    heapq.heappush(self._further, (-rank, number, generation))
                else:
                    heapq.heappushpop(self._further, (-rank, number, generation))
            yield batch

    @property
    def generations(self) -> list[Generation]:
        """Return the sample so far."""
        missing = max(0, _LEAST - len(self._chosen))
        return self._chosen + [
            row[-1] for row in heapq.nlargest(missing, self._further)
        ]


def holders(analysis: Analysis, book: Book) -> set[tuple[Origin, str, int]]:
    """Name the generations that contain the longest span, passage, and block."""
    measured = analysis.measurement
    sampled = Origin.SAMPLED
    names = {
        (sampled, measured.longest_span.excerpt_id, measured.longest_span.generation)
    }
    if analysis.passages:
        passage = analysis.passages.longest_passage
        names.add((passage.origin, passage.excerpt_id, passage.generation))
    runs, block = analysis.counts.runs, measured.longest_block
    start, end = block.start or 0, block.end or 0
    every_span = analysis.cross.spans if start < end else ()
    while start < end:
        around = (runs.start <= start) & (runs.end > start)
        longest = int(np.where(around, runs.end, 0).argmax())
        ordinal, reached = int(runs.round[longest]), int(runs.end[longest])
        excerpts = range(
            measured.excerpt_at(start), measured.excerpt_at(reached - 1) + 1
        )
        names |= {(sampled, book.excerpts[excerpt].id, ordinal) for excerpt in excerpts}
        spans = [
            span for span in every_span if span.start < reached and span.end > start
        ]
        names |= {
            (sampled, source, ordinal) for span in spans for source in span.sources
        }
        start = max(reached, start + 1)
    return {
        (origin, name, ordinal)
        for origin, name, ordinal in names
        if name is not None and ordinal is not None
    }


def differences(
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
    number = index.numbers[name]
    bounds = index.books[number].layout.bounds
    for batch in batches_of(generations, lambda generation: len(generation.text)):
        texts = [generation.text for generation in batch]
        second = automaton_matches(book, texts, k=index.k, mode=index.mode)
        matched = index.matches(texts, near=False)
        own = matched.matches.where(matched.matches.book == number)
        places = own.place - matched.exact.ends[own.text] - 1
        keys = zip(own.text.tolist(), places.tolist(), own.start.tolist(), strict=True)
        first: Matches = dict(zip(keys, own.words.tolist(), strict=True))
        for text, place, start in sorted(first.keys() | second.keys()):
            generation = batch[text]
            before, after = (
                matches.get((text, place, start), 0) for matches in (first, second)
            )
            sampled = generation.origin is Origin.SAMPLED
            if sampled and counted is not None and before == after:
                least, most = bounds[generation.excerpt_id]
                inside = max(start, least), min(start + after, most)
                if inside[1] - inside[0] >= index.k and not _covers(
                    counted, generation, *inside
                ):
                    before = 0
            if before != after:
                where = f"at word {place:,}, which is word {start:,} of {book.id}"
                lengths = f"{before:,} words by the measurement, {after:,} by the second opinion"
                yield generation, f"{where}: {lengths}"


def _covers(rounds: Rounds, generation: Generation, start: int, end: int) -> bool:
    first, last = rounds.round.searchsorted(
        [generation.ordinal, generation.ordinal + 1]
    )
    nth = int(rounds.start[first:last].searchsorted(start, side="right")) - 1
    return nth >= 0 and int(rounds.end[first + nth]) >= end


def automaton_matches(
    book: Book, texts: Sequence[str], *, k: int, mode: WordMode
) -> Matches:
    """Find all matches of at least `k` words (docs/method.md).

    Every k words of a text contain an anchor, a little over half as long.
    """
    text_words, starts = _joined(words(text, mode) for text in texts)
    size = k // 2 + 1
    matches: Matches = {}
    before = -1  # a part's first word is at place 1
    parts = _parts(book, mode)
    for part, anchors in _anchors(
        text_words, starts, parts, size=size, step=k - size + 1
    ):
        reached: dict[int, int] = {}  # by diagonal
        for place, at in anchors:
            ahead = at - place
            if place < reached.get(ahead, 0):
                continue
            first, end = place, place + size
            while text_words[first - 1] == part[first - 1 + ahead] is not None:
                first -= 1
            while text_words[end] == part[end + ahead] is not None:
                end += 1
            reached[ahead] = end
            if end - first >= k:
                text = bisect_right(starts, first) - 1
                matches[text, first - starts[text], first + ahead + before] = (
                    end - first
                )
        before += len(part) - 2
    return matches


def _parts(book: Book, mode: WordMode) -> Iterator[Words]:
    """Yield the words of each part that no match leaves, with None before and behind."""
    for first, end in pairwise((0, *book.breaks, len(book.excerpts))):
        excerpts = (words(excerpt.text, mode) for excerpt in book.excerpts[first:end])
        yield [None, *chain.from_iterable(excerpts), None]


def _anchors(
    text_words: Words,
    starts: list[int],
    parts: Iterable[Words],
    *,
    size: int,
    step: int,
) -> Iterator[tuple[Words, Iterator[tuple[int, int]]]]:
    """Yield each part, and where anchors of the texts occur, in the texts and in the part."""
    vocabulary = dict.fromkeys(word for word in text_words if word is not None)
    # Two characters of disjoint alphabets per word: the automaton's nodes have few
    # edges.
    codes: dict[str | None, str] = {
        word: chr(2 * _RADIX + number // _RADIX) + chr(_RADIX + number % _RADIX)
        for number, word in enumerate(vocabulary)
    }
    coded = "".join(codes.get(word, _UNKNOWN) for word in text_words)
    anchors: defaultdict[str, list[int]] = defaultdict(list)
    for start, end in pairwise([*starts, len(text_words)]):
        for place in range(start, end - size, step):
            anchors[coded[2 * place : 2 * (place + size)]].append(place)
    automaton = ahocorasick.Automaton()
    for anchor, places in anchors.items():
        automaton.add_word(anchor, places)
    automaton.make_automaton()
    for part in parts if anchors else ():
        hits = automaton.iter("".join(map(codes.get, part, repeat(_UNKNOWN))))
        yield (
            part,
            (
                (place, (last + 1) // 2 - size)
                for last, places in hits
                for place in places
            ),
        )


def _joined(texts: Iterable[list[str]]) -> tuple[Words, list[int]]:
    """Join texts with None before, between and behind; return the places of their first words."""
    joined: Words = [None]
    starts = []
    for text in texts:
        starts.append(len(joined))
        joined += [*text, None]
    return joined, starts
