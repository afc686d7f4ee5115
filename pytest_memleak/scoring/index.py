"""An index of one book, and texts' matches with it (METRICS section 2).

The index holds anchors of the book's words in an Aho-Corasick automaton. Every match of k words
contains an anchor, so only anchors are sought. An anchor is a little more than half of k words and
begins with a rare one, so other prose seldom gets far into the automaton; if those words are a
stock phrase of the book, all k are the anchor.

pyahocorasick scans a node's edges one by one, so a word coded as one character would make
the root as wide as the vocabulary. Each word is coded as two characters of two small,
disjoint alphabets instead (numbers by falling frequency): edges stay few, and an anchor can
only be found at the first character of a word.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import ahocorasick
import numpy as np

from pytest_memleak.errors import BookError, SettingsError
from pytest_memleak.scoring.intervals import Interval, cut, merge_intervals
from pytest_memleak.scoring.words import in_latin_1, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Scoring, WordMode
    from pytest_memleak.scoring.intervals import Positions

T = TypeVar("T")

CODE_LENGTH = 2
UNKNOWN = "\x00\x00"
DIAGONAL = 32

_RADIX = 64
_SECOND_ALPHABET = 1
_FIRST_ALPHABET = _SECOND_ALPHABET + _RADIX
_NEVER_NEXT = chr(_SECOND_ALPHABET)  # never follows a whole word
_NO_WORD = "\x00" + _NEVER_NEXT

# Phrases in more places than this are stock phrases.
_FEW_PLACES = 8

# The automaton gets this many common words first, so it finds their edges first.
_COMMON_WORDS = 200


class Index:
    """A book's words, and the positions of its anchors.

    layout:  its excerpts; `total`, `bounds`, `order` and `borders` are the layout's
    anchor:  the number of words of an anchor shorter than k
    """

    def __init__(self, book: Book, *, k: int, mode: WordMode = "paper") -> None:
        """Index `book` for matches of at least `k` words.

        Raises SettingsError for k < 1, BookError for a book of fewer than k words and for one
        that mode `paper` cannot see (under 90% of the words that mode `unicode` keeps).
        """
        if k < 1:
            raise SettingsError(f"k must be at least 1, not {k}")
        excerpts = [words(excerpt.text, mode) for excerpt in book.excerpts]
        self.mode = mode
        self.k = k
        lengths = list(map(len, excerpts))
        validate_measurable(book, lengths, k=k, mode=mode)
        layout = layout_of(book, lengths)
        self.layout = layout
        self.total, self.bounds, self.order = layout.total, layout.bounds, layout.order
        self.borders = layout.borders
        frequency = Counter(chain.from_iterable(excerpts))
        self._codes = {
            word: chr(_FIRST_ALPHABET + number // _RADIX) + chr(_SECOND_ALPHABET + number % _RADIX)
            for number, (word, _) in enumerate(frequency.most_common())
        }
        coded = self.code(chain.from_iterable(excerpts))
        self._numbers = np.frombuffer(_as_bytes(_NO_WORD + coded + _NO_WORD), dtype=np.uint64)
        self.anchor = k // 2 + 1
        self._coded = coded

    def code(self, some_words: Iterable[str]) -> str:
        """Return words as text that `anchors` reads: two characters each, unknown words alike."""
        return "".join(map(self._codes.get, some_words, repeat(UNKNOWN)))

    def code_text(self, text: str) -> str:
        """Return the words of `text`, coded."""
        return self.code(words(text, self.mode))

    def anchors(self, coded: str) -> Positions:
        """Return every anchor in `coded`, once per place in the book, as one number each.

        The upper 32 bits say how much further on in the book it begins than in the text, the
        next 31 where it begins in the text, the last whether it has all k words. Ascending, so
        that those on one diagonal are adjacent.
        """
        table = self._anchors
        hits = np.fromiter(chain.from_iterable(table.automaton.iter(coded)), dtype=np.intp)
        last, anchor = hits.reshape(-1, 2).T
        start = (last + 1) // CODE_LENGTH - table.lengths[anchor]
        count = table.place_count[anchor]
        nth = np.repeat(table.first_place[anchor] - count.cumsum() + count, count)
        nth += np.arange(len(nth))
        anchors: Positions = table.places[nth]
        anchors += np.repeat((start << 1) - (start << DIAGONAL), count)
        anchors.sort()
        return anchors

    def same(
        self, numbers: NDArray[np.uint64], at: Positions, place: Positions
    ) -> NDArray[np.bool_]:
        """Return whether word `at` of a text, as `numbers`, is word `place` of the book.

        Both may be one before the first word or one after the last, where none is the same.
        """
        same: NDArray[np.bool_] = numbers[at + 1] == self._numbers[place + 1]
        return same

    @cached_property
    def _anchors(self) -> _Anchors:
        """Build the anchors on first use: a process that delegates matching never does."""
        anchors = _anchors_of(self._coded, k=self.k, shorter=self.anchor)
        self._coded = ""
        common = list(self._codes.values())[:_COMMON_WORDS]
        return _Anchors(anchors, k=self.k, common=common)


class _Anchors:
    """The automaton, which yields anchors' numbers, and the tables of anchors' places."""

    def __init__(self, anchors: dict[str, list[int]], *, k: int, common: list[str]) -> None:
        self.automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        for code in (UNKNOWN, *common):
            self.automaton.add_word(code + _NEVER_NEXT, 0)
        for number, anchor in enumerate(anchors):
            self.automaton.add_word(anchor, number)
        self.automaton.make_automaton()
        self.lengths = _table(len(anchor) // CODE_LENGTH for anchor in anchors)
        self.place_count = _table(map(len, anchors.values()))
        self.first_place = self.place_count.cumsum() - self.place_count
        whole = np.repeat(self.lengths == k, self.place_count)
        self.places = (_table(chain.from_iterable(anchors.values())) << DIAGONAL) + whole


def numbers_of(coded: str) -> NDArray[np.uint64]:
    """Return a number per word of `coded`, with that of an unknown word before and after them."""
    return np.frombuffer(_as_bytes(UNKNOWN + coded + UNKNOWN), dtype=np.uint64)


def _anchors_of(coded: str, *, k: int, shorter: int) -> dict[str, list[int]]:
    """Return the anchors of a book, coded, with the places where they begin.

    Each k words of the book contain one: the `shorter` words that begin with the rarest possible
    first word, or all k if those are a stock phrase.
    """
    size = shorter * CODE_LENGTH
    phrases = [coded[i : i + size] for i in range(0, len(coded) - size + 1, CODE_LENGTH)]
    often = Counter(phrases)
    codes = np.frombuffer(_as_bytes(coded), dtype=np.uint32).reshape(-1, CODE_LENGTH)
    rarity = codes[:, 0].astype(np.intp) * _RADIX + codes[:, 1]
    rare = np.fromiter((often[phrase] <= _FEW_PLACES for phrase in phrases), dtype=np.bool_)
    windows = np.lib.stride_tricks.sliding_window_view(rarity[: len(phrases)], k - shorter + 1)
    starts = windows.argmax(axis=1) + np.arange(len(windows))
    anchors: dict[str, list[int]] = {}
    for start in np.unique(starts[rare[starts]]).tolist():
        anchors.setdefault(phrases[start], []).append(start)
    for start in np.flatnonzero(~rare[starts]).tolist():
        whole = coded[start * CODE_LENGTH : (start + k) * CODE_LENGTH]
        anchors.setdefault(whole, []).append(start)
    return anchors


def _as_bytes(coded: str) -> bytes:
    return coded.encode("utf-32-le", "surrogatepass")


def _table(numbers: Iterable[int]) -> Positions:
    return np.fromiter(numbers, dtype=np.intp)


_LEAST_KEPT = 0.90
_ASCII = bytes(range(128))


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The excerpts of a book as parts of its words.

    total:   N, the number of words
    bounds:  per excerpt id, its words [start, end)
    order:   per excerpt id, its number among the excerpts
    borders: positions that no match may cross, ascending: those of works, and those of excerpts
             with unmeasured text between them
    ids, ends: ids of the excerpts in order, and the position after the last word of each
    """

    total: int
    bounds: dict[str, tuple[int, int]]
    order: dict[str, int]
    borders: Positions
    ids: tuple[str, ...]
    ends: Positions

    def excerpt_at(self, position: int) -> str:
        """Return the id of the excerpt that contains the word at `position`."""
        return self.ids[bisect_right(self.ends, position)]


def layout_of(book: Book, lengths: Sequence[int]) -> Layout:
    """Return the layout of a book whose excerpts have these lengths, in words."""
    bounds, order, start = {}, {}, 0
    for place, (excerpt, length) in enumerate(zip(book.excerpts, lengths, strict=True)):
        bounds[excerpt.id] = (start, start + length)
        order[excerpt.id] = place
        start += length
    starts = [first for first, _ in bounds.values()]
    return Layout(
        start,
        bounds,
        order,
        np.array([starts[place] for place in book.breaks], dtype=np.intp),
        tuple(bounds),
        np.array([end for _, end in bounds.values()], dtype=np.intp),
    )


def validate_measurable(book: Book, lengths: Sequence[int], *, k: int, mode: WordMode) -> None:
    """Raise BookError for a book of fewer than k words, and for one whose words cannot be seen.

    Mode `paper` cannot see other scripts; no mode can separate fused words.

    lengths: of its excerpts, in words of that mode.
    """
    total = sum(lengths)
    if mode == "paper" and total < _LEAST_KEPT * _most_seen(book, lengths):
        seen = sum(
            length if excerpt.text.isascii() else len(words(excerpt.text, "unicode"))
            for excerpt, length in zip(book.excerpts, lengths, strict=True)
        )
        if total < _LEAST_KEPT * seen:
            raise BookError(
                f"word mode 'paper' keeps {total:,} of its {seen:,} words "
                f"({total / seen:.0%}), too few to measure",
                location=f"book {book.id!r}",
                hint='set word_mode = "unicode" (--word-mode unicode on the command line)',
            )
    validate_word_breaks(
        (excerpt.text for excerpt in book.excerpts), mode=mode, place=f"book {book.id!r}"
    )
    if total < k:
        raise BookError(f"it has {total} words, fewer than k = {k}", location=f"book {book.id!r}")


def _most_seen(book: Book, lengths: Sequence[int]) -> int:
    """Return an upper bound on the words that mode `unicode` keeps, far faster than counting.

    In Latin-1 a word that only that mode keeps has a letter beyond ASCII, as does each that it
    cuts in two.
    """
    most = 0
    for excerpt, length in zip(book.excerpts, lengths, strict=True):
        most += length
        if not excerpt.text.isascii():
            latin_1 = in_latin_1(excerpt.text)
            if latin_1 is None:
                most += max(0, len(words(excerpt.text, "unicode")) - length)
            else:
                most += 2 * len(latin_1.translate(None, _ASCII))
    return most


# Longer words occur in jest only: so many letters, and such a share, may be in them.
_LONGEST_WORD = 40
_JEST = 300
_MOST = 0.02


def validate_word_breaks(texts: Iterable[str], *, mode: WordMode, place: str) -> None:
    """Raise BookError, naming `place`, if over 2% of the texts' letters are in fused words."""
    fused = letters = 0
    for text in texts:
        lengths = [*map(len, text.split())]
        letters += sum(lengths)
        if max(lengths, default=0) > _LONGEST_WORD:
            word_lengths = (len(word) for word in words(text, mode))
            fused += sum(length for length in word_lengths if length > _LONGEST_WORD)
    if fused > max(_JEST, _MOST * letters):
        raise BookError(
            f"{fused / letters:.0%} of its letters are in words of over {_LONGEST_WORD} letters, "
            "which no generation could match",
            location=place,
            hint="its words may be separated by a style sheet only: use another edition",
        )


def measurable_words(book: Book, scoring: Scoring) -> int:
    """Return N of the book. Raises BookError for one that cannot be measured."""
    lengths = [len(words(excerpt.text, scoring.word_mode)) for excerpt in book.excerpts]
    validate_measurable(book, lengths, k=scoring.k, mode=scoring.word_mode)
    return sum(lengths)


_IN_TEXT = (1 << DIAGONAL) - 1

# Texts are coded a thousand at a time and scanned fifty at a time (of 400 words): the words' codes
# and the automaton would drive each other out of the processor's cache.
_CODED_TOGETHER = 1000 * 400 * CODE_LENGTH
_SCANNED_TOGETHER = 50 * 400 * CODE_LENGTH
_TEXTS_TOGETHER = 1 << 12


class Matches(NamedTuple):
    """Matches of several texts, one entry each, in no order.

    text:       number of the text; a repeated passage of a text may match twice
    start, end: the book's words [start, end)
    """

    text: Positions
    start: Positions
    end: Positions

    def where(self, chosen: NDArray[np.bool_]) -> Matches:
        """Return the `chosen` matches."""
        return Matches(self.text[chosen], self.start[chosen], self.end[chosen])

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Yield text, start and end of each."""
        return zip(self.text.tolist(), self.start.tolist(), self.end.tolist(), strict=True)


def find_matches(index: Index, coded: str) -> set[Interval]:
    """Return the distinct book intervals [start, end) that match somewhere in `coded` words."""
    matches = match_texts(index, [coded])
    return set(zip(matches.start.tolist(), matches.end.tolist(), strict=True))


def match_all(index: Index, coded: Iterable[str]) -> Iterator[Matches]:
    """Yield the matches of any number of texts, some hundreds of texts at a time.

    Texts are numbered from 0 and read from `coded` as needed.
    """
    first = 0
    for texts in batches_of(coded, _code_length, length=_CODED_TOGETHER):
        batches = []
        for batch in batches_of(texts, _code_length, length=_SCANNED_TOGETHER):
            matches = match_texts(index, batch)
            batches.append(matches._replace(text=matches.text + first))
            first += len(batch)
        yield Matches(*map(np.concatenate, zip(*batches, strict=True)))


def _code_length(coded: str) -> int:
    return len(coded) + CODE_LENGTH


def batches_of(
    items: Iterable[T], length_of: Callable[[T], int], *, length: int
) -> Iterator[list[T]]:
    """Yield the items in batches that are just over that length."""
    batch: list[T] = []
    left = length
    for item in items:
        batch.append(item)
        left -= length_of(item)
        if left <= 0 or len(batch) >= _TEXTS_TOGETHER:
            yield batch
            batch, left = [], length
    if batch:
        yield batch


def match_texts(index: Index, coded: Sequence[str]) -> Matches:
    """Return the matches of each of the texts, given as coded words.

    Matching several texts at once is far faster than one by one: a few thousand words at a time.
    """
    joined = UNKNOWN.join(coded)
    start, end, ahead = _runs(index, joined)
    if not len(start):
        return Matches(start, start, start)
    numbers = numbers_of(joined)
    for _ in range(index.k - index.anchor):
        before = index.same(numbers, start - 1, start - 1 + ahead)
        after = index.same(numbers, end, end + ahead)
        start, end = start - before, end + after
        alive = before | after | (end - start >= index.k)
        start, end, ahead = start[alive], end[alive], ahead[alive]
    enough = end - start >= index.k
    start, end, ahead = start[enough], end[enough], ahead[enough]
    last_words = np.cumsum([len(words) // CODE_LENGTH + 1 for words in coded])
    text = last_words.searchsorted(start, side="right")
    return _within_borders(index, Matches(text, start + ahead, end + ahead))


def _within_borders(index: Index, matches: Matches) -> Matches:
    """Return the matches, cut at borders; a maximal run is one on either side too."""
    if not len(index.borders):
        return matches
    of, start, end = cut(matches.start, matches.end, index.borders)
    pieces = Matches(matches.text[of], start, end)
    return pieces.where(end - start >= index.k)


def _runs(index: Index, coded: str) -> tuple[Positions, Positions, Positions]:
    """Return runs of anchors that overlap or touch: start and end in the text, diagonal.

    A diagonal is how much further on in the book its words are. Any two k-word windows of a match
    that begin one word apart contain anchors that overlap or touch, so a match has one run.
    """
    anchors = index.anchors(coded)
    begin = anchors & ~1
    words = np.array([index.anchor, index.k])[anchors & 1]
    begin, reached = merge_intervals(begin, begin + (words << 1))
    return (begin & _IN_TEXT) >> 1, (reached & _IN_TEXT) >> 1, begin >> DIAGONAL
