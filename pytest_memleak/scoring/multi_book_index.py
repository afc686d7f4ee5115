"""The index of a run's protected books, built once and used by all pairs (docs/method.md).

It holds each book's words as the measures count them and, where folding changes them,
also as near-verbatim passages count them; a text that folding leaves alone is read once
for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Book
from pytest_memleak.scoring.book_layout import Layout, layout_of, validate_measurable
from pytest_memleak.scoring.book_words import BookMatches, BookWords, PlacedWords
from pytest_memleak.scoring.further_readings import further_readings
from pytest_memleak.scoring.keyed_texts import changed_by_folding, keyed, keyed_folded
from pytest_memleak.scoring.ngram_prefilter import BORDER, gram_hashes
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.word_hashes import NO_WORD, Keyed, unscrambled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.records import WordMode
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.ngram_prefilter import NgramPrefilter, Runs
    from pytest_memleak.scoring.word_hashes import BookKeys, Keys

_BOOK_BITS = 32


class NearMatches(NamedTuple):
    """Matches of folded words of some of the texts.

    texts: their numbers among all; words: theirs; matches: `text` is the place in
    `texts`
    ahead: how many words the earlier readings of each have
    """

    texts: Positions
    words: Keyed
    matches: BookMatches
    ahead: Positions


@dataclass(frozen=True, slots=True, eq=False)
class TextMatches:
    """The matches of some texts with the books, in measured words and in folded words.

    exact:   the texts' words
    matches: of at least k words
    near:    of at least five folded words; of texts that folding leaves alone, of the
    others, of
             further readings of any, and of the others' words as measured
    """

    exact: Keyed
    matches: BookMatches
    near: tuple[NearMatches, ...]


class IndexedBook(NamedTuple):
    """A book of the index: its id, its excerpts, and those of its folded words."""

    id: str
    layout: Layout
    folded: Layout


class SharedIndex:
    """Protected books, in the order in which a passage that several contain counts for one.

    books: in that order, by number
    """

    def __init__(
        self,
        books: Iterable[Book | tuple[str, BookKeys]],
        *,
        k: int,
        mode: WordMode = "paper",
    ) -> None:
        """Index `books` for matches of at least `k` words.

        A book's id and keys serve instead of its text; it then has no excerpts.

        Raises SettingsError for k < 1 and for a duplicate book id, BookError for a book
        of fewer than k words and for one that mode `paper` cannot see.
        """
        if k < 1:
            raise SettingsError(f"k must be at least 1, not {k}")
        self.k, self.mode = k, mode
        self.books: list[IndexedBook] = []
        self.numbers: dict[str, int] = {}
        self._long: dict[int, bytes] = {}
        self._vocabulary: tuple[Keys, Keyed] | None = None
        self._renamed: dict[bytes, int] = {}
        words = BookWords(k)
        for book in books:
            if isinstance(book, Book):
                self._add(book, words)
            else:
                self._add_keys(*book, words)
        self._exact, self._folded = words.placed()

    @property
    def nbytes(self) -> int:
        """Return the bytes of memory that its tables take."""
        return PlacedWords.nbytes_of(self._exact, self._folded)

    def matches(
        self, texts: Sequence[str], words: Keyed | None = None, *, near: bool = True
    ) -> TextMatches:
        """Match each of the texts with each book; without folded words unless `near`.

        words: the texts' words, where they have been read; unequal long words get other
        keys.
        """
        if words is None or words.mode != self.mode:
            words = keyed(texts, self.mode)
        exact, runs = self._runs(words, self._exact.prefilter)
        matches = self._exact.matches(exact, runs)
        if not near:
            return TextMatches(exact, matches, ())
        changed, numbers, suspects = changed_by_folding(texts, exact)
        plain = exact
        if self._folded.prefilter is not self._exact.prefilter:
            plain, runs = self._runs(exact, self._folded.prefilter)
        near_found = (
            matches
            if self._folded is self._exact
            else self._folded.matches(plain, runs)
        )
        is_changed, lengths = np.isin(near_found.text, numbers), plain.lengths()
        every, unchanged = np.arange(len(texts)), near_found.where(~is_changed)
        near_matches = [NearMatches(every, plain, unchanged, np.zeros_like(lengths))]
        if numbers:
            near_matches.append(self._near(numbers, changed))
            lengths[numbers] = changed.lengths()
        again, readings = further_readings(texts, exact, suspects)
        if again:
            further = self._near(again, keyed_folded(readings))
            further_lengths = further.words.lengths()
            before = np.cumsum(further_lengths) - further_lengths
            first = further.texts.searchsorted(further.texts)
            ahead = lengths[further.texts] + before - before[first]
            near_matches.append(further._replace(ahead=ahead))
            np.add.at(lengths, further.texts, further_lengths)
        if (
            numbers
        ):  # as measured, combining marks part words, and mode `paper` drops scripts
            near_matches.append(
                NearMatches(every, plain, near_found.where(is_changed), lengths)
            )
        return TextMatches(exact, matches, tuple(near_matches))

    def instructions(self, texts: Sequence[str], *, folded: bool) -> Keyed:
        """Return words of texts that are compared with those of `matches`, long ones included."""
        words = keyed_folded(texts) if folded else keyed(texts, self.mode)
        return self._corrected(words, np.flatnonzero(words.is_long()))

    def books_containing(
        self, passages: Sequence[tuple[int, int, int]]
    ) -> list[list[int]]:
        """Return, per passage (book, start, end), the numbers of all books that contain it."""
        placed = self._exact
        book, start, end = np.array(passages, dtype=np.intp).reshape(-1, 3).T
        begins = placed.book << _BOOK_BITS | placed.start
        part = begins.searchsorted(book << _BOOK_BITS | start, side="right") - 1
        lengths = end - start
        starts = np.cumsum(lengths + 1) - lengths
        ahead = placed.first[part] + start - placed.start[part] - starts
        of = np.arange(len(passages)).repeat(lengths)
        at = np.arange(len(of)) + of + 1  # after a text's end
        keys = np.zeros(len(of) + len(passages) + 1, dtype=np.uint64)
        keys[at] = placed.prefilter.keys[at + ahead[of]]
        runs = placed.prefilter.runs(keys)
        nth = starts.searchsorted(runs.text, side="right") - 1
        whole = runs.words == lengths[nth]
        _, piece = located = placed.located(runs.where(whole))
        nth = starts.searchsorted(located[0].text, side="right") - 1
        holders: list[list[int]] = [[] for _ in passages]
        rows = zip(nth.tolist(), placed.book[piece].tolist(), strict=True)
        for passage, book in sorted(set(rows)):
            holders[passage].append(book)
        return holders

    def _near(self, texts: Sequence[int], words: Keyed) -> NearMatches:
        """Match folded words of these texts with each book."""
        words, runs = self._runs(words, self._folded.prefilter)
        numbers = np.array(texts, dtype=np.intp)
        matches = self._folded.matches(words, runs)
        return NearMatches(numbers, words, matches, np.zeros_like(numbers))

    # --- building
    # --------------------------------------------------------------------------

    def _add(self, book: Book, words: BookWords) -> None:
        lengths: list[int] = []
        near_lengths: list[int] = []
        batches: list[tuple[Keys, Keys]] = []
        for texts in batches_of([excerpt.text for excerpt in book.excerpts], len):
            plain = keyed(texts, self.mode)
            near = keyed_folded(texts, plain)
            lengths += plain.lengths().tolist()
            near_lengths += near.lengths().tolist()
            keys = self._named(plain)
            batches.append((keys, keys if near is plain else self._named(near)))
        validate_measurable(book, lengths, k=self.k, mode=self.mode)
        layout = layout_of(book, lengths)
        alike = all(keys is near_keys for keys, near_keys in batches)
        folded_layout = layout if alike else layout_of(book, near_lengths)
        keys = np.concatenate([keys for keys, _ in batches])
        near_keys = (
            keys if alike else np.concatenate([near_keys for _, near_keys in batches])
        )
        self._add_words(
            IndexedBook(book.id, layout, folded_layout), keys, near_keys, words
        )

    def _add_keys(self, name: str, book: BookKeys, words: BookWords) -> None:
        layout, keys = _without_borders(book.exact)
        alike = book.folded is book.exact
        near_layout, near_keys = (
            (layout, keys) if alike else _without_borders(book.folded)
        )
        self._add_words(IndexedBook(name, layout, near_layout), keys, near_keys, words)

    def _add_words(
        self, book: IndexedBook, keys: Keys, near_keys: Keys, words: BookWords
    ) -> None:
        if book.id in self.numbers:
            hint = "name it once, as protected or as common; give each book its own id"
            raise SettingsError(f"book {book.id!r} appears twice", hint=hint)
        number = self.numbers[book.id] = len(self.books)
        self.books.append(book)
        borders, near_borders = ([0, *layout.borders.tolist()] for layout in book[1:])
        words.add(number, keys, near_keys, borders, near_borders)

    def _named(self, words: Keyed) -> Keys:
        """Return the books' keys, without text ends; two long words never share one."""
        keys = words.keys
        for place in np.flatnonzero(words.is_long()).tolist():
            spelling = words.spelling(place)
            key = int(keys[place])
            first_spelling = self._long.setdefault(key, spelling)
            if first_spelling != spelling:
                while self._long.setdefault(key, spelling) != spelling:
                    key += 1
                self._renamed[spelling] = key
                keys[place] = key
        inside = np.ones(len(keys), dtype=np.bool_)
        inside[words.ends] = False
        return keys[inside]

    # --- matching
    # --------------------------------------------------------------------------

    def _corrected(self, words: Keyed, places: Positions) -> Keyed:
        """Return the words with keys that equal the books' only if their spelling does."""
        if not len(places) or not self._long:
            return words
        book_keys, spelled = self._vocabulary = self._vocabulary or self._spelled()
        keys = words.keys[places]
        nth = np.minimum(book_keys.searchsorted(keys), len(book_keys) - 1)
        of_books = book_keys[nth] == keys
        places, nth = places[of_books], nth[of_books]
        for place in places[~words.spelled_alike(places, spelled, nth)].tolist():
            words.keys[place] = self._renamed.get(words.spelling(place), NO_WORD)
        return words

    def _spelled(self) -> tuple[Keys, Keyed]:
        """Return the books' long words: their keys, ascending, and in that order their bytes."""
        keys = np.array(sorted(self._long), dtype=np.uint64)
        spellings = [self._long[key] for key in keys.tolist()]
        ends = np.cumsum([len(spelling) for spelling in spellings])
        starts = ends - [len(spelling) for spelling in spellings]
        joined = b"".join(spellings) + bytes(8)
        return keys, Keyed(keys, starts, ends, joined, starts[:0], starts[:0])

    def _runs(self, words: Keyed, prefilter: NgramPrefilter) -> tuple[Keyed, Runs]:
        """Return runs of words, with long words compared by spelling, too."""
        if self._renamed:
            words = self._corrected(words, np.flatnonzero(words.is_long()))
        while True:
            runs = prefilter.runs(words.keys, gram_hashes(words.keys, prefilter.n))
            if not len(runs.text):
                return words, runs
            steps = np.bincount(runs.text, minlength=len(words.keys) + 1)
            steps -= np.bincount(runs.text + runs.words, minlength=len(steps))
            matched = np.cumsum(steps[:-1]) > 0
            places = np.flatnonzero(matched & words.is_long())
            before = words.keys[places]
            self._corrected(words, places)
            if (words.keys[places] == before).all():
                return words, runs


def _without_borders(stored: Keys) -> tuple[Layout, Keys]:
    """Return a stored book's layout, without excerpts, and its words' keys."""
    borders = np.flatnonzero(stored == BORDER)[1:-1]
    keys = unscrambled(stored[stored != BORDER])
    starts = borders - np.arange(1, len(borders) + 1)
    return Layout(len(keys), {}, {}, starts, (), np.empty(0, dtype=np.intp)), keys
