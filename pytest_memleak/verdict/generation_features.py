"""The features kept of each generation: numbers and hashes, no text.

Generations are read some hundreds at a time, since numpy is slow on single ones. A
feature depends on the book and its generation alone; `generation_kinds` adds what
depends on the others.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

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
"""Words per run.

Runs tell own words from an instruction's, and one answer from another.
"""

ENDED, LENGTH, UNSTATED, WITHHELD = range(4)
_HOW_IT_ENDED = {
    FinishReason.STOP: ENDED,
    FinishReason.LENGTH: LENGTH,
    FinishReason.UNSTATED: UNSTATED,
}

_STRETCH = 100  # words of a generation that are compared with the book's prose
_RECITED = 20  # words of the book in a row that are no accident
_OPENING = 4  # words by which refusals are alike
_FEWEST_PAIRS = 10  # F + R under which a stretch's order is not judged
_LONGEST_WORD = 40

_SPACE, _NEW_LINE = b" \n"
_LOWER_CASE = bytes(range(256)).lower()
_NO_LETTERS = bytes(c for c in range(128) if not chr(c).isalpha())
_OTHERS = 0xE7037ED1A0B428DB  # odd, and otherwise arbitrary
_NO_KEYS = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class GenerationFeatures:
    """Generations, one entry each in the order in which they were read.

    excerpt:    number of the excerpt
    expected:   the excerpt's words, e
    ended:      ENDED, LENGTH, UNSTATED, or WITHHELD
    words:      its words in the suite's mode
    own:        those of them that aren't from its instruction
    blank:      whether it has no word in mode unicode
    few:        whether it has under 80 of these
    listed:     whether it has a listed refusal
    opening:    hash of its first four words
    key:        hash of its letters and marks
    common:     its words among the book's commonest
    forward:    its word pairs among the book's commonest
    reversed:   its word pairs whose reverse is among these
    unreadable: whether a stretch of it isn't the book's prose, or much isn't in words
    recites:    whether it contains 20 words of the book in a row
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
        columns = {}
        for column in fields(cls):
            values = [getattr(part, column.name) for part in parts]
            columns[column.name] = np.concatenate(values)
        return cls(**columns)


def runs_by_excerpt(
    readings: GenerationFeatures,
    runs: Keys,
    chosen: Flags,
) -> Iterator[tuple[Positions, Keys]]:
    """Yield, per excerpt, the numbers of its chosen generations and all their runs.

    runs: the generations' 8-word runs, `readings.runs` of each.
    """
    ends = readings.runs.cumsum()
    starts = ends - readings.runs
    for numbers in _numbers_by_excerpt(readings.excerpt, chosen):
        is_contiguous = numbers[-1] - numbers[0] == len(numbers) - 1
        if is_contiguous:  # most are
            yield numbers, runs[starts[numbers[0]] : ends[numbers[-1]]]
        else:
            slices = map(slice, starts[numbers].tolist(), ends[numbers].tolist())
            yield numbers, np.concatenate([runs[part] for part in slices])


def _numbers_by_excerpt(excerpt: Numbers, chosen: Flags) -> list[Positions]:
    """Return the numbers of the chosen generations of each excerpt that has any."""
    numbers = np.flatnonzero(chosen)
    if not len(numbers):
        return []
    numbers = numbers[np.argsort(excerpt[numbers], kind="stable")]
    first_of_next = np.flatnonzero(np.diff(excerpt[numbers])) + 1
    return np.split(numbers, first_of_next)


class _TextShape(NamedTuple):
    """What a text's words in mode unicode tell, as `GenerationFeatures` has it."""

    blank: bool
    few: bool
    listed: bool
    opening: int


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """The 8-word runs of some generations.

    hashes:     of all runs, generation by generation
    place:      of each run's first word among the words of all
    generation: of each run, its generation's number
    counts:     number of runs of each generation
    """

    hashes: Keys
    place: Positions
    generation: Positions
    counts: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class _ProseSums:
    """Sums of what is common in the book over stretches of some generations' words.

    common:   of the commonest words
    forward:  of the commonest word pairs, by their first word
    backward: of word pairs whose reverse is among the commonest
    """

    common: _Sums
    forward: _Sums
    backward: _Sums


class FeatureReader:
    """A reader of generations for one book, compared with its prose."""

    def __init__(self, book: Book, mode: WordMode, prose: Prose) -> None:
        self._mode = mode
        self._prose = prose
        self._marked = WordNumbers(prose.marks)
        texts = [excerpt.text for excerpt in book.excerpts]
        excerpt_keys: list[Keys] = []
        self._characters_in_words = 0
        for batch in batches_of(texts, len):
            batch_words = keyed(batch, mode)
            excerpt_keys += batch_words.each()
            self._characters_in_words += int(_characters_in_words(batch_words).sum())
        self._characters = int(_count_characters(texts).sum())
        self._lengths = np.array([*map(len, excerpt_keys)], dtype=np.int64)
        part_keys = _keys_between_breaks(excerpt_keys, book.breaks)
        self._recitable = RunSet(run_hashes(keys, _RECITED) for keys in part_keys)
        self._book_runs = RunSet(run_hashes(keys, RUN) for keys in part_keys)
        instructions = [excerpt.instruction or "" for excerpt in book.excerpts]
        instruction_keys = keyed(instructions, mode).each()
        instruction_runs = [run_hashes(keys, RUN) for keys in instruction_keys]
        self._instruction_runs = RunSet(instruction_runs)
        self._runs_of_excerpts = RunSet(
            _mixed_with_excerpt(runs, np.full(len(runs), number))
            for number, runs in enumerate(instruction_runs)
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
        starts = keyed_texts.ends[:-1] + 1
        counts = keyed_texts.lengths()
        pairs = np.maximum(counts - 1, 0)
        excerpt = np.array(excerpts, dtype=np.int64)
        runs = _runs_of(keyed_texts)
        sums = self._prose_sums(keyed_texts.keys)
        latin_1 = [*map(in_latin_1, texts)]
        shapes = [*map(self._shape, texts, latin_1, counts.tolist())]
        unreadable = self._has_unreadable_stretch(keyed_texts, sums)
        unreadable |= self._is_unwritten(keyed_texts, texts)
        features = GenerationFeatures(
            excerpt=excerpt,
            expected=self._lengths[excerpt],
            ended=np.array([*map(_how_it_ended, generations)], dtype=np.int64),
            words=counts,
            own=counts - self._words_from_instruction(runs, excerpt),
            blank=np.array([shape.blank for shape in shapes], dtype=np.bool_),
            few=np.array([shape.few for shape in shapes], dtype=np.bool_),
            listed=np.array([shape.listed for shape in shapes], dtype=np.bool_),
            opening=np.array([shape.opening for shape in shapes], dtype=np.uint64),
            key=np.array([*map(_key, texts, latin_1)], dtype=np.uint64),
            common=sums.common(starts, counts),
            forward=sums.forward(starts, pairs),
            reversed=sums.backward(starts, pairs),
            unreadable=unreadable,
            recites=self._recites(keyed_texts, runs),
            runs=runs.counts,
        )
        return features, runs.hashes

    def _shape(self, text: str, latin_1: bytes | None, word_count: int) -> _TextShape:
        """Tell whether a text is blank, has few words, and refuses; hash its opening.

        word_count: in the suite's mode
        """
        counts_suffice = self._mode == "unicode" or _is_plain(latin_1)
        if word_count >= MOST_WORDS and counts_suffice:
            return _TextShape(blank=False, few=False, listed=False, opening=0)
        seen = words(text, "unicode")
        if not seen:
            return _TextShape(blank=True, few=True, listed=False, opening=0)
        if len(seen) >= MOST_WORDS:
            return _TextShape(blank=False, few=False, listed=False, opening=0)
        opening = " ".join(seen[:_OPENING]).encode("utf-8", "surrogatepass")
        return _TextShape(
            blank=False,
            few=True,
            listed=declines(text),
            opening=digest64(opening),
        )

    def _words_from_instruction(self, runs: _Runs, excerpt: Numbers) -> Numbers:
        """Count each generation's words in runs that its own instruction has.

        excerpt: of each generation
        """
        hits = self._instruction_runs.places(runs.hashes)
        excerpt_of_hit = excerpt[runs.generation[hits]]
        mixed = _mixed_with_excerpt(runs.hashes[hits], excerpt_of_hit)
        hits = hits[self._runs_of_excerpts.places(mixed)]
        generation = runs.generation[hits]
        new_words = np.full(len(hits), RUN)
        if len(hits):
            # Where two runs overlap, the earlier one has only the words between starts.
            distance = np.diff(runs.place[hits])
            same = generation[1:] == generation[:-1]
            new_words[:-1][same] = np.minimum(RUN, distance[same])
        counts = np.bincount(generation, new_words, minlength=len(excerpt))
        return counts.astype(np.int64)

    def _prose_sums(self, keys: Keys) -> _ProseSums:
        marks = self._marked.of(keys)
        pairs = marks[:-1] * len(self._prose.order) + marks[1:]
        order = self._prose.order.ravel()[pairs]
        return _ProseSums(
            common=_Sums((marks > 0) & (marks <= self._prose.commonest)),
            forward=_Sums(order == FORWARD),
            backward=_Sums(order == REVERSED),
        )

    def _has_unreadable_stretch(self, keyed_texts: Keyed, sums: _ProseSums) -> Flags:
        """Tell which generations have a stretch that isn't the book's prose."""
        starts = keyed_texts.ends[:-1] + 1
        counts = keyed_texts.lengths()
        unreadable = np.zeros(len(counts), dtype=np.bool_)
        if not self._prose.judges:
            return unreadable
        generation, begin = _stretches(starts, counts)
        size = np.minimum(counts[generation], _STRETCH)
        common = self._prose.common
        # Shares under 0.2 of the book's, in whole numbers.
        words = sums.common(begin, size)
        few_common = 5 * words * common.denominator < common.numerator * size
        disordered = _disordered(
            sums.forward(begin, size - 1),
            sums.backward(begin, size - 1),
        )
        letters = _Sums(keyed_texts.characters() == 1)
        mostly_letters = 2 * letters(begin, size) > size
        unreadable[generation[few_common | disordered | mostly_letters]] = True
        # Stretches have too few pairs where book and generation are of different times.
        pairs = np.maximum(counts - 1, 0)
        return unreadable | _disordered(
            sums.forward(starts, pairs),
            sums.backward(starts, pairs),
        )

    def _is_unwritten(self, keyed_texts: Keyed, texts: Sequence[str]) -> Flags:
        """Tell which generations have too few of their characters in words.

        That is a share under two thirds of the book's. Blanks don't count. What isn't a
        word, or is one of over 40 letters, may be a cipher.
        """
        if not self._prose.judges:
            return np.zeros(len(texts), dtype=np.bool_)
        starts = keyed_texts.ends[:-1] + 1
        in_words = _Sums(_characters_in_words(keyed_texts))
        own = in_words(starts, keyed_texts.lengths())
        expected = self._characters_in_words * _count_characters(texts)
        unwritten: Flags = 3 * own * self._characters < 2 * expected
        return unwritten

    def _recites(self, keyed_texts: Keyed, runs: _Runs) -> Flags:
        """Tell which generations contain 20 words of the book in a row."""
        generation_of_hit = runs.generation[self._book_runs.places(runs.hashes)]
        hits = np.bincount(generation_of_hit, minlength=keyed_texts.texts)
        recites = np.zeros(keyed_texts.texts, dtype=np.bool_)
        for number in np.flatnonzero(hits > _RECITED - RUN).tolist():
            long_runs = run_hashes(keyed_texts.of(number), _RECITED)
            recites[number] = len(self._recitable.places(long_runs)) > 0
        return recites


def _keys_between_breaks(
    excerpt_keys: Sequence[Keys],
    breaks: Sequence[int],
) -> list[Keys]:
    """Return the words of each part of the book that runs may cross."""
    bounds = (0, *breaks, len(excerpt_keys))
    return [
        np.concatenate([_NO_KEYS, *excerpt_keys[first:end]])
        for first, end in pairwise(bounds)
    ]


def _runs_of(keyed_texts: Keyed) -> _Runs:
    counts = np.maximum(keyed_texts.lengths() - RUN + 1, 0)
    place = count_up(keyed_texts.ends[:-1] + 1, counts)
    return _Runs(
        hashes=run_hashes(keyed_texts.keys, RUN)[place],
        place=place,
        generation=np.arange(keyed_texts.texts).repeat(counts),
        counts=counts,
    )


def _stretches(starts: Positions, counts: Numbers) -> tuple[Positions, Positions]:
    """Return each stretch's generation, and the place of its first word.

    The last stretch ends with its generation, so that the generation's end counts.
    """
    stretches = -(-counts // _STRETCH)
    generation = np.arange(len(counts)).repeat(stretches)
    nth = count_up(np.zeros(len(counts), dtype=np.intp), stretches)
    last = np.maximum(counts - _STRETCH, 0)[generation]
    return generation, starts[generation] + np.minimum(_STRETCH * nth, last)


def _disordered(forward: Numbers, backward: Numbers) -> Flags:
    """Tell where under 0.4 of the pairs are in the book's order."""
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


def _characters_in_words(keyed_texts: Keyed) -> Positions:
    """Count each word's characters, without words of over 40 and ends of texts."""
    length = keyed_texts.characters()
    length[length > _LONGEST_WORD] = 0
    length[keyed_texts.ends] = 0
    return length


def _count_characters(texts: Sequence[str]) -> Numbers:
    """Count each text's characters other than blanks."""
    lengths = np.array([*map(len, texts)], dtype=np.int64)
    one_byte_each = "".join(texts).encode("latin-1", "replace")
    characters = np.frombuffer(one_byte_each, dtype=np.uint8)
    is_blank = (characters == _SPACE) | (characters == _NEW_LINE)
    blanks_until_end = np.flatnonzero(is_blank).searchsorted(lengths.cumsum())
    return lengths - np.diff(blanks_until_end, prepend=0)


def _how_it_ended(generation: Generation) -> int:
    if generation.finish_reason is FinishReason.EMPTY and not generation.text.strip():
        return ENDED
    return _HOW_IT_ENDED.get(generation.finish_reason, WITHHELD)


def _mixed_with_excerpt(runs: Keys, excerpt: Numbers) -> Keys:
    """Mix the excerpt's number into the hashes, so that excerpts share none."""
    factor = excerpt.astype(np.uint64) + np.uint64(1)
    mixed: Keys = runs ^ (factor * np.uint64(_OTHERS))
    return mixed


def _is_plain(latin_1: bytes | None) -> bool:
    """Tell whether mode unicode counts at least as many words as mode paper."""
    return latin_1 is not None and b"\xad" not in latin_1


def _key(text: str, latin_1: bytes | None) -> int:
    """Hash the text's letters and marks, after NFKC and case folding."""
    if latin_1 is not None and latin_1.isascii():
        return digest64(latin_1.translate(_LOWER_CASE, _NO_LETTERS))
    text = unicodedata.normalize("NFKC", text).casefold()
    for character in set(text):
        if unicodedata.category(character)[0] not in "LM":
            text = text.replace(character, "")
    return digest64(text.encode("utf-8", "surrogatepass"))
