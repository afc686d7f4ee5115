"""The index of a book: anchors of its words in an Aho-Corasick automaton.

Every match of k words holds an anchor, so that only anchors need be looked for. An anchor is
a little more than half of k words and begins with a rare one, so that other prose seldom gets
far into the automaton; where those words are a stock phrase of the book, all k are the anchor.

pyahocorasick scans a node's edges one by one, so a word coded as one character would make
the root as wide as the vocabulary. Each word is coded as two characters of two small,
disjoint alphabets instead (numbers by falling frequency): edges stay few, and an anchor can
only be found at the first character of a word.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING

import ahocorasick
import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.layout import layout_of, refuse_unmeasurable
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, WordMode

    Positions = NDArray[np.intp]

__all__ = [
    "CODE_LENGTH",
    "DIAGONAL",
    "UNKNOWN",
    "Index",
    "numbers_of",
]

CODE_LENGTH = 2
UNKNOWN = "\x00\x00"
DIAGONAL = 32

_RADIX = 64
_SECOND_ALPHABET = 1
_FIRST_ALPHABET = _SECOND_ALPHABET + _RADIX
_NEVER_NEXT = chr(_SECOND_ALPHABET)  # what a whole word is never followed by
_NO_WORD = "\x00" + _NEVER_NEXT

# More places than this in the book make a stock phrase.
_FEW_PLACES = 8

# So many common words are given to the automaton first: their edges are then found first.
_COMMON_WORDS = 200


class Index:
    """A book's words, and where its anchors stand.

    layout:  its excerpts; `total`, `bounds`, `order` and `borders` are the layout's
    anchor:  the number of words of an anchor that has not all k
    """

    def __init__(self, book: Book, *, k: int, mode: WordMode = "paper") -> None:
        """Index `book` for matches of at least `k` words.

        Raises SettingsError for k < 1, BookError for a book of fewer than k words and for one
        that mode `paper` cannot see (under 90 % of the words that mode `unicode` keeps).
        """
        if k < 1:
            raise SettingsError(f"k must be at least 1, but is {k}")
        excerpts = [words(excerpt.text, mode) for excerpt in book.excerpts]
        self.mode = mode
        self.k = k
        lengths = list(map(len, excerpts))
        refuse_unmeasurable(book, lengths, k=k, mode=mode)
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
        """Words as text that `anchors` can read: two characters each, unknown words alike."""
        return "".join(map(self._codes.get, some_words, repeat(UNKNOWN)))

    def code_text(self, text: str) -> str:
        """The words of `text`, coded."""
        return self.code(words(text, self.mode))

    def anchors(self, coded: str) -> Positions:
        """Every anchor in `coded`, at each of its places in the book, as one number for each.

        The upper 32 bits say how much further on in the book it begins than in the text, the
        next 31 where it begins in the text, the last whether it has all k words. Ascending, so
        that those on one diagonal stand side by side.
        """
        known = self._anchors
        hits = np.fromiter(chain.from_iterable(known.automaton.iter(coded)), dtype=np.intp)
        last, anchor = hits.reshape(-1, 2).T
        start = (last + 1) // CODE_LENGTH - known.lengths[anchor]
        count = known.place_count[anchor]
        nth = np.repeat(known.first_place[anchor] - count.cumsum() + count, count)
        nth += np.arange(len(nth))
        found: Positions = known.places[nth]
        found += np.repeat((start << 1) - (start << DIAGONAL), count)
        found.sort()
        return found

    def same(
        self, numbers: NDArray[np.uint64], at: Positions, place: Positions
    ) -> NDArray[np.bool_]:
        """Whether word `at` of a text, as `numbers`, is word `place` of the book.

        Both may be one before the first word or one after the last, where none is the same.
        """
        same: NDArray[np.bool_] = numbers[at + 1] == self._numbers[place + 1]
        return same

    @cached_property
    def _anchors(self) -> _Anchors:
        """Made when first needed: where others scan for this process, it never is."""
        anchors = _anchors_of(self._coded, k=self.k, shorter=self.anchor)
        self._coded = ""
        common = list(self._codes.values())[:_COMMON_WORDS]
        return _Anchors(anchors, k=self.k, common=common)


class _Anchors:
    """The automaton, which tells an anchor's number, and the tables of anchors' places."""

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
    """A number per word of `coded`, with that of an unknown word before and after them."""
    return np.frombuffer(_as_bytes(UNKNOWN + coded + UNKNOWN), dtype=np.uint64)


def _anchors_of(coded: str, *, k: int, shorter: int) -> dict[str, list[int]]:
    """The anchors of a book, coded, with the places where they begin.

    Each k words of the book hold one: the `shorter` words that begin with the rarest they can
    begin with, or all k where those are a stock phrase.
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
