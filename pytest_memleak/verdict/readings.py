"""What is kept of each generation: numbers and hashes, no text.

Generations are read some hundreds at a time, since numpy is slow on one. What a reading says
depends on the book and the generation alone; what depends on the others is told at the end, in
`kinds`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import FinishReason
from pytest_memleak.scoring.words import words
from pytest_memleak.verdict.prose import FORWARD, REVERSED, Prose
from pytest_memleak.verdict.refusals import MOST_WORDS, declines
from pytest_memleak.verdict.shingles import (
    MARKS,
    SINGLE,
    KnownRuns,
    WordKeys,
    digest64,
    run_hashes,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation, WordMode
    from pytest_memleak.verdict.shingles import Keys, Positions

    Numbers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["ENDED", "LENGTH", "RUN", "UNTOLD", "Reader", "Readings"]

RUN = 8
"""Words of the runs that tell own words from an instruction's, and one answer from another."""

ENDED, LENGTH, UNTOLD, KEPT_BACK = range(4)
_HOW_IT_ENDED = {
    FinishReason.STOP: ENDED,
    FinishReason.LENGTH: LENGTH,
    FinishReason.UNTOLD: UNTOLD,
}

_STRETCH = 100
_RECITED = 20
_OPENING = 4
_FEWEST_PAIRS = 10  # F + R under which a stretch's order is not judged
_LONGEST_WORD = 40

_LETTERS = bytes(range(256)).lower()
_NO_LETTERS = bytes(c for c in range(128) if not chr(c).isalpha())
_COMMON_MARKS = "’‘“”—–…"


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Generations, one entry each in the order in which they were read.

    excerpt:    number of the excerpt; expected: its words, e
    ended:      ENDED, LENGTH, UNTOLD or withheld
    words, own: its words in the suite's mode, and those not from its instruction
    blank, few: no word, and under 80 words in mode unicode
    listed:     whether the list of refusals knows it; opening: hash of its first four words
    key:        hash of its letters and marks
    common, forward, reversed: its words among the book's commonest; its word pairs among them, and
                those whose reverse is
    unreadable: a stretch of it is not in the book's prose, or much of it stands in no word
    recites:    it holds 20 words of the book in a row
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

    def with_runs(self, runs: Numbers) -> Readings:
        """The same, of which so many runs are kept."""
        return replace(self, runs=runs)

    @classmethod
    def together(cls, parts: Sequence[Readings]) -> Readings:
        """All of them, in their order."""
        columns = (
            np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(cls)
        )
        return cls(*columns)


class Reader:
    """Reads generations for one book, held against its prose."""

    def __init__(self, book: Book, mode: WordMode, prose: Prose) -> None:
        self._mode, self._prose = mode, prose
        self._keys = WordKeys(prose.marks)
        texts = [words(excerpt.text, mode) for excerpt in book.excerpts]
        self._lengths = np.array([len(one) for one in texts], dtype=np.int64)
        shown = [_shown(one.text, its) for one, its in zip(book.excerpts, texts, strict=True)]
        self._shown = sum(inside for inside, _ in shown), sum(marks for _, marks in shown)
        of_book = [self._keys.of(one) for one in texts]
        if of_book:
            starts = (0, *book.breaks, len(of_book))
            of_book = [np.concatenate(of_book[a:b]) for a, b in pairwise(starts)]
        self._recitable = KnownRuns(run_hashes(one, _RECITED) for one in of_book)
        self._book_runs = KnownRuns(run_hashes(one, RUN) for one in of_book)
        self._told = KnownRuns(
            _of_excerpt(
                run_hashes(self._keys.of(words(one.instruction or "", mode)), RUN),
                np.array([at], dtype=np.uint64),
            )
            for at, one in enumerate(book.excerpts)
        )

    def read(
        self, generations: Sequence[Generation], excerpts: Sequence[int]
    ) -> tuple[Readings, Keys]:
        """What to keep of some generations, for the excerpts of those numbers; all their runs."""
        found = [words(one.text, self._mode) for one in generations]
        counts = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        excerpt = np.array(excerpts, dtype=np.int64)
        keys = self._keys.of([word for one in found for word in one])
        starts = counts.cumsum() - counts
        run_counts = np.maximum(counts - RUN + 1, 0)
        at = spread(starts, run_counts)
        runs = run_hashes(keys, RUN)[at]
        common, forward, backward = self._sums(keys)
        shapes = [self._shape(one, its) for one, its in zip(generations, found, strict=True)]
        blank, few, listed, opening = ([one[n] for one in shapes] for n in range(4))
        readings = Readings(
            excerpt=excerpt,
            expected=self._lengths[excerpt],
            ended=np.array([_how_it_ended(one) for one in generations], dtype=np.int64),
            words=counts,
            own=counts - self._given(runs, at, excerpt, run_counts),
            blank=np.array(blank, dtype=np.bool_),
            few=np.array(few, dtype=np.bool_),
            listed=np.array(listed, dtype=np.bool_),
            opening=np.array(opening, dtype=np.uint64),
            key=np.array([_key(one.text) for one in generations], dtype=np.uint64),
            common=common(starts, counts),
            forward=forward(starts, np.maximum(counts - 1, 0)),
            reversed=backward(starts, np.maximum(counts - 1, 0)),
            unreadable=self._unreadable(keys, starts, counts) | self._unwritten(generations, found),
            recites=self._recites(keys, runs, starts, counts, run_counts),
            runs=run_counts,
        )
        return readings, runs

    def _shape(self, generation: Generation, its_words: list[str]) -> tuple[bool, bool, bool, int]:
        """Whether it is blank, has few words, is a refusal to the list, and how it opens."""
        text = generation.text
        in_unicode = self._mode == "unicode"
        if len(its_words) >= MOST_WORDS and (in_unicode or _is_plain(text)):
            return False, False, False, 0
        seen = its_words if in_unicode else words(text, "unicode")
        if not seen or len(seen) >= MOST_WORDS:
            return not seen, not seen, False, 0
        opening = " ".join(seen[:_OPENING]).encode("utf-8", "surrogatepass")
        return False, True, declines(text), digest64(opening)

    def _given(
        self, runs: Keys, at: Positions, excerpt: Numbers, run_counts: Numbers
    ) -> NDArray[np.int64]:
        """Per generation, its words in runs of 8 or more that its own instruction has."""
        if not len(self._told):
            return np.zeros(len(excerpt), dtype=np.int64)
        of = np.arange(len(excerpt)).repeat(run_counts)
        hits = self._told.places(_of_excerpt(runs, excerpt[of].astype(np.uint64)))
        its, begin = of[hits], at[hits]
        width = np.full(len(hits), RUN)
        if len(hits):
            same = its[1:] == its[:-1]
            width[:-1][same] = np.minimum(RUN, np.diff(begin)[same])
        return np.bincount(its, width, minlength=len(excerpt)).astype(np.int64)

    def _sums(self, keys: Keys) -> tuple[_Sums, _Sums, _Sums]:
        """The commonest words, and the pairs in order and out of it, up to each word."""
        marks = (keys & MARKS).astype(np.intp)
        order = self._prose.order[marks[:-1], marks[1:]] if len(marks) else marks
        return (
            _Sums((marks > 0) & (marks <= self._prose.commonest)),
            _Sums(order == FORWARD),
            _Sums(order == REVERSED),
        )

    def _unreadable(self, keys: Keys, starts: Positions, counts: Numbers) -> Flags:
        """Per generation, whether one of its stretches is not in the book's prose."""
        none = np.zeros(len(counts), dtype=np.bool_)
        if not self._prose.judges:
            return none
        stretches = -(-counts // _STRETCH)
        of = np.arange(len(counts)).repeat(stretches)
        # The last one ends where the answer ends, so that no end of it goes unread.
        within = _STRETCH * spread(np.zeros(len(counts), dtype=np.intp), stretches)
        begin = starts[of] + np.minimum(within, np.maximum(counts - _STRETCH, 0)[of])
        size = np.minimum(counts[of], _STRETCH)
        common, forward, backward = self._sums(keys)
        share = self._prose.common
        # Under 0.2 of the book's share, and under 0.4, in whole numbers.
        few_common = 5 * common(begin, size) * share.denominator < share.numerator * size
        disordered = _disordered(forward(begin, size - 1), backward(begin, size - 1))
        lone = 2 * _Sums((keys & SINGLE) > 0)(begin, size) > size
        none[of[few_common | disordered | lone]] = True
        # A stretch seldom has pairs enough where book and answer are of different times.
        pairs = np.maximum(counts - 1, 0)
        return none | _disordered(forward(starts, pairs), backward(starts, pairs))

    def _unwritten(self, generations: Sequence[Generation], found: list[list[str]]) -> Flags:
        """Per generation, whether two thirds as much of it as of the book stand in words, or less.

        Of its marks but blanks; what is no word, or a word of over 40 letters, may be a cipher.
        """
        inside, marks = self._shown
        shown = [_shown(one.text, its) for one, its in zip(generations, found, strict=True)]
        return np.array(
            [self._prose.judges and 3 * own * marks < 2 * inside * its for own, its in shown],
            dtype=np.bool_,
        )

    def _recites(
        self, keys: Keys, runs: Keys, starts: Positions, counts: Numbers, run_counts: Numbers
    ) -> Flags:
        """Per generation, whether it holds 20 words of the book in a row."""
        of = np.arange(len(counts)).repeat(run_counts)
        hits = np.bincount(of[self._book_runs.places(runs)], minlength=len(counts))
        recites = np.zeros(len(counts), dtype=np.bool_)
        for one in np.flatnonzero(hits > _RECITED - RUN).tolist():
            its = keys[starts[one] : starts[one] + counts[one]]
            recites[one] = len(self._recitable.places(run_hashes(its, _RECITED))) > 0
        return recites


def _disordered(forward: Numbers, backward: Numbers) -> Flags:
    pairs = forward + backward
    disordered: Flags = (pairs >= _FEWEST_PAIRS) & (10 * forward < 4 * pairs)
    return disordered


class _Sums:
    """Sums of a row of flags over any stretches of it."""

    def __init__(self, flags: Flags) -> None:
        self._until = np.concatenate(([0], flags.cumsum(dtype=np.int64)))

    def __call__(self, start: Positions, length: Numbers) -> Numbers:
        last = len(self._until) - 1
        end = np.minimum(start + length, last)
        found: Numbers = self._until[end] - self._until[np.minimum(start, last)]
        return found


def _shown(text: str, its_words: list[str]) -> tuple[int, int]:
    """The text's marks that stand in words of up to 40, and all that are no blanks."""
    lengths = [*map(len, its_words)]
    if max(lengths, default=0) > _LONGEST_WORD:
        lengths = [one for one in lengths if one <= _LONGEST_WORD]
    return sum(lengths), len(text) - text.count(" ") - text.count("\n")


def _how_it_ended(generation: Generation) -> int:
    if generation.finish_reason is FinishReason.EMPTY and not generation.text.strip():
        return ENDED
    return _HOW_IT_ENDED.get(generation.finish_reason, KEPT_BACK)


def _of_excerpt(runs: Keys, number: Keys) -> Keys:
    """The hashes, such as no other excerpt has them."""
    mixed: Keys = runs ^ ((number + np.uint64(1)) * np.uint64(0xE7037ED1A0B428DB))
    return mixed


def _is_plain(text: str) -> bool:
    """Whether mode unicode counts no fewer words of it than mode paper."""
    if text.isascii():
        return True
    for mark in _COMMON_MARKS:
        text = text.replace(mark, " ")
    try:
        return b"\xad" not in text.encode("latin-1")
    except UnicodeEncodeError:
        return False


def _key(text: str) -> int:
    """The hash of the text's letters and marks, after NFKC and case folding."""
    if text.isascii():
        return digest64(text.encode().translate(_LETTERS, _NO_LETTERS))
    text = unicodedata.normalize("NFKC", text).casefold()
    for mark in set(text):
        if unicodedata.category(mark)[0] not in "LM":
            text = text.replace(mark, "")
    return digest64(text.encode("utf-8", "surrogatepass"))
