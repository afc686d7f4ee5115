"""Overlap of generations with one book, at one word count (docs/method.md).

For the chance level: generations in random order, the first of them up to a number of
words, matched with a book and trimmed by their own instructions.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.excused_words import layout_of_remaining
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.prompt_trimming import PromptWords, outside_prompt
from pytest_memleak.scoring.rounds import RoundCounts, Rounds
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.word_ranges import Distinct, Packing, cut
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable, Iterable, Sequence

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.excused_words import RemainingWords
    from pytest_memleak.scoring.word_ranges import Positions

    # Instruction or None, and generation.
    Answer = tuple[str | None, str]

# Jackknife groups; more would add no precision.
_GROUPS = 50


@dataclass(
    frozen=True,
    slots=True,
    order=True,
)
class ShuffledAnswer:
    """A generation with its random turn, of which the first `words` words count."""

    turn: float
    number: int
    instruction: str | None = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)
    words: int = field(compare=False)


class Overlap(NamedTuple):
    """What generations cover of a book, by group, and their longest run of its words.

    longest_span: within one excerpt, in words; 0 if under k
    """

    counts: RoundCounts
    longest_span: int


class _Texts(NamedTuple):
    """Facts of each generation; shape (generations,) each.

    group:       its jackknife group
    instruction: number of its instruction
    words:       number of its first words that count
    """

    group: Positions
    instruction: Positions
    words: Positions

    def part(self, first: int, behind: int) -> _Texts:
        return _Texts(*(column[first:behind] for column in self))


class _Pieces(NamedTuple):
    """What the generations of a batch cover of the book.

    group:      of each piece's generation, shape (pieces,)
    start, end: the book's words [start, end) of each piece
    longest:    words of the longest match, untrimmed, within one excerpt
    """

    group: Positions
    start: Positions
    end: Positions
    longest: int


class OverlapCounter:
    """A counter of what generations reproduce of one book."""

    def __init__(
        self,
        book: Book,
        scoring: Scoring,
        index: SharedIndex | None,
        remaining: RemainingWords | None = None,
    ) -> None:
        """Count by the `index` of the book alone; build it if None.

        remaining: the words that no text excuses, if any is; others don't count
        """
        if index is None:
            index = SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
        self._scoring = scoring
        self._index = index
        self._layout = index.books[0].layout
        self._remaining = remaining

    def shuffled(
        self,
        answers: Iterable[Answer],
        order: random.Random,
        *,
        at_most: float,
    ) -> tuple[list[ShuffledAnswer], int]:
        """Return generations in random order, and their words.

        Only the first of them, as many as `at_most` words need, are kept meanwhile.
        """
        heap: list[tuple[float, ShuffledAnswer]] = []  # last turn on top
        total = 0
        for number, (instruction, text) in enumerate(answers):
            turn = order.random()
            if total >= at_most and (not heap or turn > -heap[0][0]):
                continue
            text_words = words(text, self._scoring.word_mode)
            count = len(text_words)
            if not count:
                continue
            answer = ShuffledAnswer(turn, number, instruction, text, count)
            heapq.heappush(heap, (-turn, answer))
            total += count
            while total - heap[0][1].words >= at_most:
                _, last = heapq.heappop(heap)
                total -= last.words
        return sorted(answer for _, answer in heap), total

    def overlap(
        self,
        answers: list[ShuffledAnswer],
        groups: Sequence[Hashable],
    ) -> Overlap:
        """Count what the generations cover of the book; groups: of each generation."""
        instructions = [answer.instruction or "" for answer in answers]
        words_of_text = [answer.words for answer in answers]
        texts = _Texts(
            group=_numbers_by_key(groups) % _GROUPS,
            instruction=_numbers_by_key(instructions),
            words=np.array(words_of_text, dtype=np.intp),
        )
        distinct_instructions = list(dict.fromkeys(instructions))
        prompt_words = PromptWords(
            self._index.instructions(distinct_instructions, folded=False),
            trim=self._scoring.trim,
        )
        position_bits = self._layout.total.bit_length()
        packing = Packing(position_bits, position_bits)
        pieces = Distinct()
        longest = 0
        first = 0
        for batch in batches_of(answers, lambda answer: len(answer.text)):
            behind = first + len(batch)
            batch_texts = texts.part(first, behind)
            first = behind
            of_batch = self._pieces(
                [answer.text for answer in batch],
                batch_texts,
                prompt_words,
            )
            packed = packing.pack(
                high=of_batch.group,
                middle=of_batch.start,
                low=of_batch.end,
            )
            pieces.add(packed)
            longest = max(longest, of_batch.longest)
        group, start, end = packing.unpack(pieces.ascending())
        layout = self._layout
        if self._remaining is not None:
            layout = layout_of_remaining(layout, self._remaining)
            start, end, group = self._remaining.renumbered_intervals(start, end, group)
        rounds = Rounds.of_intervals(group, start, end)
        last_group = int(texts.group.max())
        counts = rounds.counts(
            words=layout.total,
            n=last_group + 1,
            excerpt_starts=layout.starts,
        )
        if self._remaining is None and longest < self._scoring.k:
            longest = 0
        return Overlap(counts, longest)

    def _pieces(
        self,
        batch: list[str],
        texts: _Texts,
        prompt_words: PromptWords,
    ) -> _Pieces:
        shared = self._index.matches(batch, near=False)
        matches = shared.matches
        text_start = shared.exact.ends[:-1] + 1  # among the batch's words
        text_end = text_start + texts.words
        match_end = matches.place + matches.words
        place_end = np.minimum(match_end, text_end[matches.text])
        words_that_count = place_end - matches.place
        is_counted = words_that_count >= self._scoring.k
        matches = matches.where(is_counted)
        place_end = place_end[is_counted]
        prompt_ranges = prompt_words.ranges(shared.exact, texts.instruction)
        remaining = outside_prompt(
            matches.place,
            place_end,
            prompt_ranges,
            trim=self._scoring.trim,
            least_words=self._scoring.k,
        )
        # From a place among the batch's words to the same word's in the book.
        to_book = matches.start - matches.place
        text = matches.text[remaining.of]
        offset = to_book[remaining.of]
        match_end_in_book = place_end + to_book
        return _Pieces(
            group=texts.group[text],
            start=remaining.start + offset,
            end=remaining.end + offset,
            longest=self._longest_in_an_excerpt(matches.start, match_end_in_book),
        )

    def _longest_in_an_excerpt(self, start: Positions, end: Positions) -> int:
        """Return the words of the longest part of these matches in one excerpt."""
        _, part_start, part_end = cut(start, end, self._layout.ends)
        words_of_part = part_end - part_start
        if self._remaining is not None:
            long_enough = words_of_part >= self._scoring.k
            words_of_part = self._remaining.words(part_start, part_end)[long_enough]
        return int(words_of_part.max(initial=0))


def cut_to_words(answers: list[ShuffledAnswer], words: int) -> list[ShuffledAnswer]:
    """Return the first `words` words of the generations, in order."""
    kept = []
    for answer in answers:
        if not words:
            break
        taken = min(answer.words, words)
        kept.append(replace(answer, words=taken))
        words -= taken
    return kept


def has_enough_instructions(answers: list[ShuffledAnswer]) -> bool:
    """Tell whether instructions suffice for jackknife groups."""
    instructions = {answer.instruction for answer in answers}
    return len(instructions) >= _GROUPS


def _numbers_by_key(keys: Sequence[Hashable]) -> Positions:
    """Return a number per key, from 0 in order of first appearance."""
    numbers: dict[Hashable, int] = {}
    for key in keys:
        numbers.setdefault(key, len(numbers))
    number_of_each = [numbers[key] for key in keys]
    return np.array(number_of_each, dtype=np.intp)
