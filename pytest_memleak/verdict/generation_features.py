"""The features kept of each generation: numbers and hashes, no text.

Generations are read some hundreds at a time, since numpy is slow on single ones. A
feature depends on the book and its generation alone; `generation_kinds` adds what
depends on the others.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import FinishReason
from pytest_memleak.scoring.intervals import count_up
from pytest_memleak.scoring.keyed_texts import keyed
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.words import in_latin_1, words
from pytest_memleak.verdict.prose import FORWARD, REVERSED, Prose
from pytest_memleak.verdict.refusals import MOST_WORDS, declines
from pytest_memleak.verdict.shingles import RunSet, WordNumbers, digest64, run_hashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation, WordMode
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.word_hashes import Keyed
    from pytest_memleak.verdict.shingles import Keys

    Numbers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

RUN = 8
"""Words per run. Runs tell own words from an instruction's, and one answer from another."""

ENDED, LENGTH, UNSTATED, WITHHELD = range(4)
_HOW_IT_ENDED = {
    FinishReason.STOP: ENDED,
    FinishReason.LENGTH: LENGTH,
    FinishReason.UNSTATED: UNSTATED,
}

_STRETCH = 100
_RECITED = 20
_OPENING = 4
_FEWEST_PAIRS = 10  # F + R under which a stretch's order is not judged
_LONGEST_WORD = 40

_SPACE, _NEW_LINE = b" \n"
_LETTERS = bytes(range(256)).lower()
_NO_LETTERS = bytes(c for c in range(128) if not chr(c).isalpha())
_OTHERS = 0xE7037ED1A0B428DB  # odd, and otherwise arbitrary
_NO_KEYS = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class GenerationFeatures:
    """Generations, one entry each in the order in which they were read.

    excerpt:    number of the excerpt; expected: its words, e
    ended:      ENDED, LENGTH, UNSTATED, or WITHHELD
    words, own: its words in the suite's mode, and those not from its instruction
    blank, few: no word, and under 80 words in mode unicode
    listed:     whether it has a listed refusal; opening: hash of its first four words
    key:        hash of its letters and marks
    common, forward, reversed: its words among the book's commonest; its word pairs
    among those,
                and those whose reverse is
    unreadable: a stretch of it isn't the book's prose, or much of it isn't in words
    recites:    it contains 20 words of the book in a row
    runs:       number of its 8-word runs that are kept
    """

    excerpt: Numbers
    expected: Numbers
    ended: Numbers
    words: Numbers
    own: Numbers
    blank: Flags
    few: Flags
    listed: Flags
    opening: Keys
    key: Keys
    common: Numbers
    forward: Numbers
    reversed: Numbers
    unreadable: Flags
    recites: Flags
    runs: Numbers

    def __len__(self) -> int:
        return len(self.excerpt)

    @classmethod
    def together(cls, parts: Sequence[GenerationFeatures]) -> GenerationFeatures:
        """Concatenate the parts."""
        columns = (
            np.concatenate([getattr(part, column.name) for part in parts])
            for column in fields(cls)
        )
        return cls(*columns)


def runs_by_excerpt(
    readings: GenerationFeatures, runs: Keys, chosen: Flags
) -> Iterator[tuple[Positions, Keys]]:
    """Yield, per excerpt, the numbers of its chosen generations and all their runs.

    runs: the generations' 8-word runs, `readings.runs` of each.
    """
    ends = readings.runs.cumsum()
    begin = ends - readings.runs
    at = np.flatnonzero(chosen)
    at = at[np.argsort(readings.excerpt[at], kind="stable")]
    for numbers in np.split(at, np.flatnonzero(np.diff(readings.excerpt[at])) + 1):
        if not len(numbers):
            return
        if numbers[-1] - numbers[0] == len(numbers) - 1:  # most are contiguous
            yield numbers, runs[begin[numbers[0]] : ends[numbers[-1]]]
        else:
            each = map(slice, begin[numbers].tolist(), ends[numbers].tolist())
            yield numbers, np.concatenate([runs[part] for part in each])


class FeatureReader:
    """A reader of generations for one book, compared with its prose."""

    def __init__(self, book: Book, mode: WordMode, prose: Prose) -> None:
        self._mode, self._prose = mode, prose
        self._marked = WordNumbers(prose.marks)
        texts = [excerpt.text for excerpt in book.excerpts]
        each: list[Keys] = []
        inside = 0
        for batch in batches_of(texts, len):
            batch_words = keyed(batch, mode)
            each += batch_words.each()
            inside += int(_inside(batch_words).sum())
        self._lengths = np.array([*map(len, each)], dtype=np.int64)
        self._shown = inside, int(_count_marks(texts).sum())
        starts = (0, *book.breaks, len(texts))
        parts = [np.concatenate([_NO_KEYS, *each[a:b]]) for a, b in pairwise(starts)]
        self._recitable = RunSet(run_hashes(part_keys, _RECITED) for part_keys in parts)
        self._book_runs = RunSet(run_hashes(part_keys, RUN) for part_keys in parts)
        instructions = keyed(
            [excerpt.instruction or "" for excerpt in book.excerpts], mode
        )
        instruction_runs = [run_hashes(keys, RUN) for keys in instructions.each()]
        self._instruction_runs = RunSet(instruction_runs)
        self._runs_by_excerpt = RunSet(
            _of_excerpt(runs, np.full(len(runs), at))
            for at, runs in enumerate(instruction_runs)
        )

    def read(
        self,
        generations: Sequence[Generation],
        excerpts: Sequence[int],
        keyed_texts: Keyed,
    ) -> tuple[GenerationFeatures, Keys]:
        """Return the features of generations, and all their runs.

        excerpts: by number; keyed_texts: the words of their texts
        """
        texts = [generation.text for generation in generations]
        starts, counts = keyed_texts.ends[:-1] + 1, keyed_texts.lengths()
        excerpt = np.array(excerpts, dtype=np.int64)
        run_counts = np.maximum(counts - RUN + 1, 0)
        at, of = count_up(starts, run_counts), np.arange(len(texts)).repeat(run_counts)
        runs = run_hashes(keyed_texts.keys, RUN)[at]
        common, forward, backward = sums = self._sums(keyed_texts.keys)
        latin_1 = [*map(in_latin_1, texts)]
        shapes = [*map(self._shape, texts, latin_1, counts.tolist())]
        blank, few, listed, opening = ([shape[n] for shape in shapes] for n in range(4))
        readings = GenerationFeatures(
            excerpt=excerpt,
            expected=self._lengths[excerpt],
            ended=np.array([*map(_how_it_ended, generations)], dtype=np.int64),
            words=counts,
            own=counts - self._given(runs, at, of, excerpt),
            blank=np.array(blank, dtype=np.bool_),
            few=np.array(few, dtype=np.bool_),
            listed=np.array(listed, dtype=np.bool_),
            opening=np.array(opening, dtype=np.uint64),
            key=np.array([*map(_key, texts, latin_1)], dtype=np.uint64),
            common=common(starts, counts),
            forward=forward(starts, np.maximum(counts - 1, 0)),
            reversed=backward(starts, np.maximum(counts - 1, 0)),
            unreadable=self._unreadable(keyed_texts, sums)
            | self._unwritten(keyed_texts, texts),
            recites=self._recites(keyed_texts, runs, of),
            runs=run_counts,
        )
        return readings, runs

    def _shape(
        self, text: str, latin_1: bytes | None, its_words: int
    ) -> tuple[bool, bool, bool, int]:
        """Tell whether a text is blank, has few words, and refuses; hash its opening."""
        if its_words >= MOST_WORDS and (self._mode == "unicode" or _is_plain(latin_1)):
            return False, False, False, 0
        seen = words(text, "unicode")
        if not seen or len(seen) >= MOST_WORDS:
            return not seen, not seen, False, 0
        opening = " ".join(seen[:_OPENING]).encode("utf-8", "surrogatepass")
        return False, True, declines(text), digest64(opening)

    def _given(
        self, runs: Keys, at: Positions, of: Positions, excerpt: Numbers
    ) -> Numbers:
        """Count each generation's words in runs of 8 or more that its own instruction has.

        at: the place of each run's first word; of: the number of its generation.
        """
        hits = self._instruction_runs.places(runs)
        hits = hits[
            self._runs_by_excerpt.places(_of_excerpt(runs[hits], excerpt[of[hits]]))
        ]
        generation, begin = of[hits], at[hits]
        width = np.full(len(hits), RUN)
        if len(hits):
            same = generation[1:] == generation[:-1]
            width[:-1][same] = np.minimum(RUN, np.diff(begin)[same])
        return np.bincount(generation, width, minlength=len(excerpt)).astype(np.int64)

    def _sums(self, keys: Keys) -> tuple[_Sums, _Sums, _Sums]:
        """Return sums of the commonest words, and of word pairs in and out of order."""
        marks = self._marked.of(keys)
        pairs = marks[:-1] * len(self._prose.order) + marks[1:]
        order = self._prose.order.ravel()[pairs]
        return (
            _Sums((marks > 0) & (marks <= self._prose.commonest)),
            _Sums(order == FORWARD),
            _Sums(order == REVERSED),
        )

    def _unreadable(
        self, keyed_texts: Keyed, sums: tuple[_Sums, _Sums, _Sums]
    ) -> Flags:
        """Tell which generations have a stretch that isn't the book's prose."""
        starts, counts = keyed_texts.ends[:-1] + 1, keyed_texts.lengths()
        none = np.zeros(len(counts), dtype=np.bool_)
        if not self._prose.judges:
            return none
        stretches = -(-counts // _STRETCH)
        of = np.arange(len(counts)).repeat(stretches)
        # The last stretch ends with the generation, so that its end counts.
        within = _STRETCH * count_up(np.zeros(len(counts), dtype=np.intp), stretches)
        begin = starts[of] + np.minimum(within, np.maximum(counts - _STRETCH, 0)[of])
        size = np.minimum(counts[of], _STRETCH)
        common, forward, backward = sums
        share = self._prose.common
        # Shares under 0.2 of the book's and under 0.4, in whole numbers.
        few_common = (
            5 * common(begin, size) * share.denominator < share.numerator * size
        )
        disordered = _disordered(forward(begin, size - 1), backward(begin, size - 1))
        lone = 2 * _Sums(keyed_texts.characters() == 1)(begin, size) > size
        none[of[few_common | disordered | lone]] = True
        # Stretches have too few pairs where book and generation are of different times.
        pairs = np.maximum(counts - 1, 0)
        return none | _disordered(forward(starts, pairs), backward(starts, pairs))

    def _unwritten(self, keyed_texts: Keyed, texts: Sequence[str]) -> Flags:
        """Tell which generations have under two thirds of the book's share of characters in words.

        Blanks don't count. What isn't a word, or is one of over 40 letters, may be a
        cipher.
        """
        if not self._prose.judges:
            return np.zeros(len(texts), dtype=np.bool_)
        inside, marks = self._shown
        own = _Sums(_inside(keyed_texts))(
            keyed_texts.ends[:-1] + 1, keyed_texts.lengths()
        )
        unwritten: Flags = 3 * own * marks < 2 * inside * _count_marks(texts)
        return unwritten

    def _recites(self, keyed_texts: Keyed, runs: Keys, of: Positions) -> Flags:
        """Tell which generations contain 20 words of the book in a row."""
        hits = np.bincount(
            of[self._book_runs.places(runs)], minlength=keyed_texts.texts
        )
        recites = np.zeros(keyed_texts.texts, dtype=np.bool_)
        for number in np.flatnonzero(hits > _RECITED - RUN).tolist():
            long_runs = run_hashes(keyed_texts.of(number), _RECITED)
            recites[number] = len(self._recitable.places(long_runs)) > 0
        return recites


def _disordered(forward: Numbers, backward: Numbers) -> Flags:
    pairs = forward + backward
    disordered: Flags = (pairs >= _FEWEST_PAIRS) & (10 * forward < 4 * pairs)
    return disordered


class _Sums:
    """Sums of a row of flags or numbers over any stretches of it."""

    def __init__(self, row: Flags | Numbers) -> None:
        self._until = np.concatenate(([0], row.cumsum(dtype=np.int64)))

    def __call__(self, start: Positions, length: Numbers) -> Numbers:
        last = len(self._until) - 1
        end = np.minimum(start + length, last)
        sums: Numbers = self._until[end] - self._until[np.minimum(start, last)]
        return sums


def _inside(keyed_texts: Keyed) -> Positions:
    """Count each word's characters; none for words of over 40 and for the ends of texts."""
    length = keyed_texts.characters()
    length[length > _LONGEST_WORD] = 0
    length[keyed_texts.ends] = 0
    return length


def _count_marks(texts: Sequence[str]) -> Numbers:
    """Count each text's characters other than blanks."""
    lengths = np.array([*map(len, texts)], dtype=np.int64)
    letters = np.frombuffer("".join(texts).encode("latin-1", "replace"), dtype=np.uint8)
    blanks = np.flatnonzero((letters == _SPACE) | (letters == _NEW_LINE))
    return lengths - np.diff(blanks.searchsorted(lengths.cumsum()), prepend=0)


def _how_it_ended(generation: Generation) -> int:
    if generation.finish_reason is FinishReason.EMPTY and not generation.text.strip():
        return ENDED
    return _HOW_IT_ENDED.get(generation.finish_reason, WITHHELD)


def _of_excerpt(runs: Keys, number: Numbers) -> Keys:
    """Mix the excerpt's number into the hashes, so that excerpts share none."""
    mixed: Keys = runs ^ (
        (number.astype(np.uint64) + np.uint64(1)) * np.uint64(_OTHERS)
    )
    return mixed


def _is_plain(latin_1: bytes | None) -> bool:
    """Tell whether mode unicode counts at least as many words as mode paper."""
    return latin_1 is not None and b"\xad" not in latin_1


def _key(text: str, latin_1: bytes | None) -> int:
    """Hash the text's letters and marks, after NFKC and case folding."""
    if latin_1 is not None and latin_1.isascii():
        return digest64(latin_1.translate(_LETTERS, _NO_LETTERS))
    text = unicodedata.normalize("NFKC", text).casefold()
    for mark in set(text):
        if unicodedata.category(mark)[0] not in "LM":
            text = text.replace(mark, "")
    return digest64(text.encode("utf-8", "surrogatepass"))
