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
from pytest_memleak.records.generation import finish_reason_from_word
from pytest_memleak.scoring.keyed_texts import keyed
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.word_ranges import count_up
from pytest_memleak.scoring.words import has_unspaced, in_latin_1, words
from pytest_memleak.verdict.prose import FORWARD, REVERSED, Prose
from pytest_memleak.verdict.refusal_phrases import MOST_WORDS, has_refusal_phrase
from pytest_memleak.verdict.shingles import RunSet, WordNumbers, digest64, run_hashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records import Book, Generation, WordMode
    from pytest_memleak.scoring.array_types import Counts, Flags
    from pytest_memleak.scoring.word_hashes import Keyed
    from pytest_memleak.scoring.word_ranges import Positions
    from pytest_memleak.verdict.shingles import Keys

    NumbersAndRuns = tuple[Positions, Keys]
    GenerationsAndPlaces = tuple[Positions, Positions]

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


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
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
    unreadable: whether a stretch of it isn't the book's prose, much isn't in words, or
        it has a word of over 40 letters that the book doesn't have
    recites:    whether it contains 20 words of the book in a row
    runs:       number of its 8-word runs that are kept
    """

    excerpt: Counts
    expected: Counts
    ended: Counts
    words: Counts
    own: Counts
    blank: Flags
    few: Flags
    listed: Flags
    opening: Keys
    key: Keys
    common: Counts
    forward: Counts
    reversed: Counts
    unreadable: Flags
    recites: Flags
    runs: Counts

    def __len__(self) -> int:
        return len(self.excerpt)

    @classmethod
    def concatenated(cls, parts: Sequence[GenerationFeatures]) -> GenerationFeatures:
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
) -> Iterator[NumbersAndRuns]:
    """Yield, per excerpt, the numbers of its chosen generations and all their runs.

    runs: the generations' 8-word runs, `readings.runs` of each.
    """
    ends = readings.runs.cumsum()
    starts = ends - readings.runs
    for numbers in _numbers_by_excerpt(readings.excerpt, chosen):
        first = numbers[0]
        last = numbers[-1]
        is_contiguous = last - first == len(numbers) - 1
        if is_contiguous:  # most are
            yield numbers, runs[starts[first] : ends[last]]
            continue
        own_starts = starts[numbers].tolist()
        own_ends = ends[numbers].tolist()
        slices = map(slice, own_starts, own_ends)
        own_runs = [runs[part] for part in slices]
        yield numbers, np.concatenate(own_runs)


def _numbers_by_excerpt(excerpt: Counts, chosen: Flags) -> list[Positions]:
    """Return the numbers of the chosen generations of each excerpt that has any."""
    numbers = np.flatnonzero(chosen)
    if not len(numbers):
        return []
    order = np.argsort(excerpt[numbers], kind="stable")
    numbers = numbers[order]
    step = np.diff(excerpt[numbers])
    first_of_next = np.flatnonzero(step) + 1
    return np.split(numbers, first_of_next)


class _TextShape(NamedTuple):
    """What a text's words in mode unicode tell, as `GenerationFeatures` has it."""

    blank: bool = False
    few: bool = False
    listed: bool = False
    opening: int = 0


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
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
    counts: Counts


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class _ProseSums:
    """Sums of what is common in the book over stretches of some generations' words.

    common:   of the commonest words
    forward:  of the commonest word pairs, by their first word
    backward: of word pairs whose reverse is among the commonest
    """

    common: _Sums
    forward: _Sums
    backward: _Sums

    def disordered(self, start: Positions, pairs: Counts) -> Flags:
        """Tell where under 0.4 of the pairs are in the book's order."""
        forward = self.forward(start, pairs)
        backward = self.backward(start, pairs)
        both = forward + backward
        is_judged = both >= _FEWEST_PAIRS
        is_low = 10 * forward < 4 * both
        disordered: Flags = is_judged & is_low
        return disordered


class FeatureReader:
    """A reader of generations for one book, compared with its prose."""

    def __init__(
        self,
        book: Book,
        mode: WordMode,
        prose: Prose,
    ) -> None:
        self._mode = mode
        self._prose = prose
        self._marked = WordNumbers(prose.marks)
        texts = [excerpt.text for excerpt in book.excerpts]
        excerpt_keys: list[Keys] = []
        self._characters_in_words = 0
        self._long_words: set[str] = set()
        for batch in batches_of(texts, len):
            batch_words = keyed(batch, mode)
            long_words = _long_words_by_text(batch_words, batch)
            self._long_words.update(*long_words.values())
            excerpt_keys += batch_words.each()
            characters = _characters_in_words(batch_words)
            self._characters_in_words += int(characters.sum())
        self._characters = int(_count_characters(texts).sum())
        # Prompts that request no excerpt expect no length.
        lengths = [len(keys) for keys in excerpt_keys] + [0] * len(book.prompts)
        self._lengths = _numbers(lengths)
        part_keys = _keys_between_breaks(excerpt_keys, book.breaks)
        self._recitable = RunSet(run_hashes(keys, _RECITED) for keys in part_keys)
        self._book_runs = RunSet(run_hashes(keys, RUN) for keys in part_keys)
        self._read_instructions(book)

    def _read_instructions(self, book: Book) -> None:
        """Keep the runs of all instructions, and these runs with their excerpts."""
        instructions = book.given_texts
        instruction_words = keyed(instructions, self._mode)
        every_run = []
        every_mixed = []
        for number, keys in enumerate(instruction_words.each()):
            runs = run_hashes(keys, RUN)
            excerpt = np.full(len(runs), number)
            every_run.append(runs)
            every_mixed.append(_mixed_with_excerpt(runs, excerpt))
        self._instruction_runs = RunSet(every_run)
        self._runs_of_excerpts = RunSet(every_mixed)

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
        excerpt = _numbers(excerpts)
        runs = _runs_of(keyed_texts)
        sums = self._prose_sums(keyed_texts.keys)
        latin_1 = [*map(in_latin_1, texts)]
        shapes = [*map(self._shape, texts, latin_1, counts.tolist())]
        endings = [_how_it_ended(generation) for generation in generations]
        hashes = [*map(_hash_of_letters, texts, latin_1)]
        from_instruction = self._words_from_instruction(runs, excerpt)
        unreadable = self._has_unreadable_stretch(keyed_texts, sums)
        unreadable |= self._has_few_characters_in_words(keyed_texts, texts)
        unreadable |= self._has_long_word(keyed_texts, texts)
        features = GenerationFeatures(
            excerpt=excerpt,
            expected=self._lengths[excerpt],
            ended=_numbers(endings),
            words=counts,
            own=counts - from_instruction,
            blank=_flags([shape.blank for shape in shapes]),
            few=_flags([shape.few for shape in shapes]),
            listed=_flags([shape.listed for shape in shapes]),
            opening=_keys([shape.opening for shape in shapes]),
            key=_keys(hashes),
            common=sums.common(starts, counts),
            forward=sums.forward(starts, pairs),
            reversed=sums.backward(starts, pairs),
            unreadable=unreadable,
            recites=self._has_long_run_of_book(keyed_texts, runs),
            runs=runs.counts,
        )
        return features, runs.hashes

    def _shape(
        self,
        text: str,
        latin_1: bytes | None,
        word_count: int,
    ) -> _TextShape:
        """Tell whether a text is blank, has few words, and refuses; hash its opening.

        word_count: in the suite's mode
        """
        counts_suffice = self._mode == "unicode" or _counts_no_fewer_in_unicode(latin_1)
        if word_count >= MOST_WORDS and counts_suffice:
            return _TextShape()
        seen = words(text, "unicode")
        if not seen:
            return _TextShape(blank=True, few=True)
        if len(seen) >= MOST_WORDS:
            return _TextShape()
        opening = " ".join(seen[:_OPENING])
        data = opening.encode("utf-8", "surrogatepass")
        return _TextShape(
            few=True,
            listed=has_refusal_phrase(text),
            opening=digest64(data),
        )

    def _words_from_instruction(self, runs: _Runs, excerpt: Counts) -> Counts:
        """Count each generation's words in runs that its own instruction has.

        excerpt: of each generation
        """
        hits = self._instruction_runs.places(runs.hashes)
        generation = runs.generation[hits]
        mixed = _mixed_with_excerpt(runs.hashes[hits], excerpt[generation])
        of_own_excerpt = self._runs_of_excerpts.places(mixed)
        hits = hits[of_own_excerpt]
        generation = generation[of_own_excerpt]
        new_words = _words_not_in_next_run(runs.place[hits], generation)
        counts = np.bincount(generation, new_words, minlength=len(excerpt))
        return counts.astype(np.int64)

    def _prose_sums(self, keys: Keys) -> _ProseSums:
        prose = self._prose
        marks = self._marked.of(keys)
        is_common = (marks > 0) & (marks <= prose.commonest)
        pairs = marks[:-1] * len(prose.order)
        pairs += marks[1:]
        order_of_pairs = prose.order.ravel()
        order = order_of_pairs[pairs]
        return _ProseSums(
            common=_Sums(is_common),
            forward=_Sums(order == FORWARD),
            backward=_Sums(order == REVERSED),
        )

    def _has_unreadable_stretch(self, keyed_texts: Keyed, sums: _ProseSums) -> Flags:
        """Tell which generations have a stretch that isn't the book's prose."""
        starts = keyed_texts.ends[:-1] + 1
        counts = keyed_texts.lengths()
        unreadable = np.zeros(len(counts), dtype=np.bool_)
        if not self._prose.can_judge_answers:
            return unreadable
        generation, begin = _stretches(starts, counts)
        size = np.minimum(counts[generation], _STRETCH)
        letters = _Sums(keyed_texts.characters_per_word() == 1)
        mostly_letters = 2 * letters(begin, size) > size
        is_strange = self._has_few_common_words(sums, begin, size)
        is_strange |= sums.disordered(begin, size - 1)
        is_strange |= mostly_letters
        unreadable[generation[is_strange]] = True
        # Stretches have too few pairs where book and generation are of different times.
        pairs = np.maximum(counts - 1, 0)
        return unreadable | sums.disordered(starts, pairs)

    def _has_few_common_words(
        self,
        sums: _ProseSums,
        begin: Positions,
        size: Counts,
    ) -> Flags:
        """Tell where common words are under 0.2 of their share in the book."""
        common = self._prose.common
        words = sums.common(begin, size)
        required = common.numerator * size
        present = 5 * words * common.denominator
        few_common: Flags = present < required
        return few_common

    def _has_few_characters_in_words(
        self, keyed_texts: Keyed, texts: Sequence[str]
    ) -> Flags:
        """Tell which generations have too few of their characters in words.

        That is a share under two thirds of the book's. Blanks don't count. What isn't a
        word, or is one of over 40 letters, may be a cipher.
        """
        if not self._prose.can_judge_answers:
            return np.zeros(len(texts), dtype=np.bool_)
        starts = keyed_texts.ends[:-1] + 1
        in_words = _Sums(_characters_in_words(keyed_texts))
        own = in_words(starts, keyed_texts.lengths())
        expected = self._characters_in_words * _count_characters(texts)
        present = own * self._characters
        unwritten: Flags = 3 * present < 2 * expected
        return unwritten

    def _has_long_word(self, keyed_texts: Keyed, texts: Sequence[str]) -> Flags:
        """Tell which generations have a word of over 40 letters that isn't the book's.

        It may be a passage without the blanks.
        """
        has_long_word = np.zeros(len(texts), dtype=np.bool_)
        if not self._prose.can_judge_answers:
            return has_long_word
        for number, long_words in _long_words_by_text(keyed_texts, texts).items():
            has_long_word[number] = not long_words <= self._long_words
        return has_long_word

    def _has_long_run_of_book(self, keyed_texts: Keyed, runs: _Runs) -> Flags:
        """Tell which generations contain 20 words of the book in a row."""
        places = self._book_runs.places(runs.hashes)
        generation = runs.generation[places]
        hits = np.bincount(generation, minlength=keyed_texts.texts)
        suspects = np.flatnonzero(hits > _RECITED - RUN)
        recites = np.zeros(keyed_texts.texts, dtype=np.bool_)
        for number in suspects.tolist():
            long_runs = run_hashes(keyed_texts.of(number), _RECITED)
            recited = self._recitable.places(long_runs)
            recites[number] = len(recited) > 0
        return recites


def _keys_between_breaks(
    excerpt_keys: Sequence[Keys],
    breaks: Sequence[int],
) -> list[Keys]:
    """Return the words of each part of the book that runs may cross."""
    bounds = (0, *breaks, len(excerpt_keys))
    part_keys = []
    for first, end in pairwise(bounds):
        own = excerpt_keys[first:end]
        part_keys.append(np.concatenate([_NO_KEYS, *own]))
    return part_keys


def _runs_of(keyed_texts: Keyed) -> _Runs:
    starts = keyed_texts.ends[:-1] + 1
    words_of_texts = keyed_texts.lengths()
    counts = np.maximum(words_of_texts - RUN + 1, 0)
    place = count_up(starts, counts)
    hashes = run_hashes(keyed_texts.keys, RUN)
    numbers = np.arange(keyed_texts.texts)
    return _Runs(
        hashes=hashes[place],
        place=place,
        generation=numbers.repeat(counts),
        counts=counts,
    )


def _words_not_in_next_run(place: Positions, generation: Positions) -> Positions:
    """Count each run's words, of runs that overlap those between the starts alone.

    place: of each run's first word; generation: of each run
    """
    new_words = np.full(len(place), RUN)
    if len(place):
        distance = np.diff(place)
        is_same = generation[1:] == generation[:-1]
        distance[~is_same] = RUN
        new_words[:-1] = np.minimum(RUN, distance)
    return new_words


def _stretches(starts: Positions, counts: Counts) -> GenerationsAndPlaces:
    """Return each stretch's generation, and the place of its first word.

    The last stretch ends with its generation, so that the generation's end counts.
    """
    rounded_up = counts + _STRETCH - 1
    stretches = rounded_up // _STRETCH
    numbers = np.arange(len(counts))
    generation = numbers.repeat(stretches)
    first = np.zeros(len(counts), dtype=np.intp)
    nth = count_up(first, stretches)
    last = np.maximum(counts - _STRETCH, 0)
    offset = np.minimum(_STRETCH * nth, last[generation])
    place = starts[generation] + offset
    return generation, place


class _Sums:
    """Sums of a row of flags or numbers over any stretches of it."""

    def __init__(self, row: Flags | Counts) -> None:
        sums = row.cumsum(dtype=np.int64)
        self._until = np.concatenate(([0], sums))

    def __call__(self, start: Positions, length: Counts) -> Counts:
        last = len(self._until) - 1
        begin = np.minimum(start, last)
        end = np.minimum(start + length, last)
        until_begin = self._until[begin]
        until_end = self._until[end]
        sums: Counts = until_end - until_begin
        return sums


def _characters_in_words(keyed_texts: Keyed) -> Positions:
    """Count each word's characters, without words of over 40 and ends of texts."""
    length = keyed_texts.characters_per_word()
    length[length > _LONGEST_WORD] = 0
    length[keyed_texts.ends] = 0
    return length


def _long_words_by_text(
    keyed_texts: Keyed, texts: Sequence[str]
) -> dict[int, set[str]]:
    """Return the words of over 40 letters by their text's number, where there are any.

    Letters of scripts without spaces don't count, and parts between underscores, as in
    addresses, are words of their own.
    """
    assert keyed_texts.mode is not None  # noqa: S101 - folded words are never read here
    length = keyed_texts.characters_per_word()
    length[keyed_texts.ends] = 0
    place = np.flatnonzero(length > _LONGEST_WORD)
    long_words: dict[int, set[str]] = {}
    for number in {*keyed_texts.text_of(place).tolist()}:
        parts: set[str] = set()
        for word in words(texts[number], keyed_texts.mode):
            if len(word) > _LONGEST_WORD:
                parts.update(word.split("_"))
        long_parts = {part for part in parts if _count_letters(part) > _LONGEST_WORD}
        if long_parts:
            long_words[number] = long_parts
    return long_words


def _count_letters(word: str) -> int:
    """Count a word's letters of scripts with spaces."""
    return sum(letter.isalpha() and not has_unspaced(letter) for letter in word)


def _count_characters(texts: Sequence[str]) -> Counts:
    """Count each text's characters other than blanks."""
    lengths = _numbers([len(text) for text in texts])
    ends = lengths.cumsum()
    one_byte_each = "".join(texts).encode("latin-1", "replace")
    characters = np.frombuffer(one_byte_each, dtype=np.uint8)
    is_blank = (characters == _SPACE) | (characters == _NEW_LINE)
    blanks = np.flatnonzero(is_blank)
    blanks_until_end = blanks.searchsorted(ends)
    return lengths - np.diff(blanks_until_end, prepend=0)


def _how_it_ended(generation: Generation) -> int:
    """Return how it ended; without text, a limit of tokens can have ended it, too."""
    reason = generation.finish_reason
    if reason is FinishReason.EMPTY and not generation.text.strip():
        was_cut = finish_reason_from_word(generation.finish_word) is FinishReason.LENGTH
        return LENGTH if was_cut else ENDED
    return _HOW_IT_ENDED.get(reason, WITHHELD)


def _mixed_with_excerpt(runs: Keys, excerpt: Counts) -> Keys:
    """Mix the excerpt's number into the hashes, so that excerpts share none."""
    factor = excerpt.astype(np.uint64) + np.uint64(1)
    number = factor * np.uint64(_OTHERS)
    mixed: Keys = runs ^ number
    return mixed


def _counts_no_fewer_in_unicode(latin_1: bytes | None) -> bool:
    """Tell whether mode unicode counts at least as many words as mode paper."""
    return latin_1 is not None and b"\xad" not in latin_1


def _hash_of_letters(text: str, latin_1: bytes | None) -> int:
    """Hash the text's letters and marks, after NFKC and case folding."""
    if latin_1 is not None and latin_1.isascii():
        letters = latin_1.translate(_LOWER_CASE, _NO_LETTERS)
        return digest64(letters)
    text = unicodedata.normalize("NFKC", text).casefold()
    for character in set(text):
        category = unicodedata.category(character)
        if category[0] not in "LM":
            text = text.replace(character, "")
    return digest64(text.encode("utf-8", "surrogatepass"))


def _flags(values: Sequence[bool]) -> Flags:
    return np.array(values, dtype=np.bool_)


def _numbers(values: Sequence[int]) -> Counts:
    return np.array(values, dtype=np.int64)


def _keys(hashes: Sequence[int]) -> Keys:
    return np.array(hashes, dtype=np.uint64)
