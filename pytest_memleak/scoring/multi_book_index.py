"""The index of a run's protected books, built once and used by all pairs (docs/method.md).

It holds each book's words as the measures count them and, where folding changes any, once
more as near-verbatim passages count them; a text that folding leaves alone is read once for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Book
from pytest_memleak.scoring.book_layout import Layout, layout_of, validate_measurable
from pytest_memleak.scoring.further_readings import further_readings
from pytest_memleak.scoring.keyed_texts import changed_by_folding, keyed, keyed_folded
from pytest_memleak.scoring.ngram_prefilter import BORDER, NgramPrefilter, Runs, gram_hashes
from pytest_memleak.scoring.word_hashes import NO_WORD, Keyed, unscrambled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import WordMode
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.word_hashes import BookKeys, Keys

NEAR_MATCH = 5
"""The least words of a match of folded words (docs/method.md)."""

EXACT, FOLDED = 1, 2
_BOOK_BITS = 32
_BORDER = np.array([BORDER], dtype=np.uint64)


class BookMatches(NamedTuple):
    """Matches of several texts with several books, one entry each, in no order.

    text:   number of the text; place: of the first word among all texts' words (`Keyed`)
    book:   number of the book; part: its part, which no match leaves; start: in the book's words
    words:  number of words
    """

    text: Positions
    place: Positions
    book: Positions
    part: Positions
    start: Positions
    words: Positions

    @property
    def end(self) -> Positions:
        """Return the position after the last word, in the book's words."""
        return self.start + self.words

    def where(self, chosen: NDArray[np.bool_] | Positions) -> BookMatches:
        """Return the `chosen` matches, by truth value or by number."""
        return BookMatches(*(column[chosen] for column in self))


class NearMatches(NamedTuple):
    """Matches of folded words of some of the texts.

    texts: their numbers among all; words: theirs; matches: `text` is the place in `texts`
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
    near:    of at least five folded words; of texts that folding leaves alone, of the others, and
             of further readings of any
    """

    exact: Keyed
    matches: BookMatches
    near: tuple[NearMatches, ...]


class IndexedBook(NamedTuple):
    """A book of the index: its id, its excerpts, and those of its folded words."""

    id: str
    layout: Layout
    folded: Layout


class _Parts:
    """Words of books in one array, and where each part of a book begins in it."""

    def __init__(self) -> None:
        self._keys: list[Keys] = [_BORDER]
        self._rows: list[tuple[int, int, int, int]] = []
        self._size = 1

    def add(self, book: int, sides: int, keys: Keys, starts: Sequence[int]) -> None:
        """Add a book's words, in parts that begin at `starts`."""
        for first, last in pairwise([*starts, len(keys)]):
            if first < last:
                self._rows.append((self._size, book, sides, first))
                self._keys += [keys[first:last], _BORDER]
                self._size += last - first + 1

    def placed(self, n: int) -> PlacedParts:
        """Build the prefilter table for runs of `n` words."""
        rows = np.array(self._rows, dtype=np.intp).reshape(-1, 4)
        keys = np.concatenate(self._keys)
        self._keys = []
        return PlacedParts(NgramPrefilter(keys, n), *rows.T)


class BookWords:
    """Words of books as measured and as folded, in one table where that serves for both."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._exact = _Parts()
        self._folded = self._exact if k == NEAR_MATCH else _Parts()

    def add(
        self, book: int, keys: Keys, near_keys: Keys,
        starts: Sequence[int] = (0,), near_starts: Sequence[int] = (0,),
    ) -> None:  # fmt: skip
        """Add a book's words, in parts that begin at `starts`; `near_keys` may be `keys`."""
        if near_keys is keys and self._exact is self._folded:
            self._exact.add(book, EXACT | FOLDED, keys, starts)
            return
        self._exact.add(book, EXACT, keys, starts)
        self.add_folded(book, near_keys, near_starts)

    def add_folded(self, book: int, keys: Keys, starts: Sequence[int] = (0,)) -> None:
        """Add words of a book that only near-verbatim passages count."""
        self._folded.add(book, FOLDED, keys, starts)

    def placed(self) -> tuple[PlacedParts, PlacedParts]:
        """Build the prefilter tables of words as measured and as folded, perhaps the same."""
        exact = self._exact.placed(self._k)
        return exact, exact if self._folded is self._exact else self._folded.placed(NEAR_MATCH)


class PlacedParts(NamedTuple):
    """A prefilter table, with each part's first place, book, sides, and first word."""

    prefilter: NgramPrefilter
    first: Positions
    book: Positions
    sides: Positions
    start: Positions

    def part_of(self, place: Positions) -> Positions:
        """Return the number of the part that contains each place."""
        if len(self.first) == 1:
            return np.zeros(len(place), dtype=np.intp)
        return self.first.searchsorted(place, side="right") - 1


class SharedIndex:
    """Protected books, in the order in which a passage that several contain counts for one.

    books: in that order, by number
    """

    def __init__(
        self, books: Iterable[Book | tuple[str, BookKeys]], *, k: int, mode: WordMode = "paper"
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
        prefilters = {
            id(placed.prefilter): placed.prefilter for placed in (self._exact, self._folded)
        }
        return sum(prefilter.nbytes for prefilter in prefilters.values())

    def matches(
        self, texts: Sequence[str], words: Keyed | None = None, *, near: bool = True
    ) -> TextMatches:
        """Match each of the texts with each book; without folded words unless `near`.

        words: the texts' words, where they have been read; unequal long words get other keys.
        """
        if words is None or words.mode != self.mode:
            words = keyed(texts, self.mode)
        exact, runs = self._runs(self._checked(words), self._exact)
        matches = self._book_matches(exact, runs, self._exact, EXACT)
        if not near:
            return TextMatches(exact, matches, ())
        changed, numbers = changed_by_folding(texts, exact)
        plain = exact
        if self._folded is not self._exact:
            plain, runs = self._runs(exact, self._folded)
        near_found = self._book_matches(plain, runs, self._folded, FOLDED)
        if numbers:
            left_alone = np.ones(len(texts), dtype=np.bool_)
            left_alone[numbers] = False
            near_found = near_found.where(left_alone[near_found.text])
        lengths = plain.lengths()
        near_matches = [
            NearMatches(np.arange(len(texts)), plain, near_found, np.zeros_like(lengths))
        ]
        if numbers:
            near_matches.append(self._near(numbers, changed))
            lengths[numbers] = changed.lengths()
        numbers, readings = further_readings(texts, exact)
        if numbers:
            further = self._near(numbers, keyed_folded(readings))
            further_lengths = further.words.lengths()
            before = np.cumsum(further_lengths) - further_lengths
            first = further.texts.searchsorted(further.texts)
            ahead = lengths[further.texts] + before - before[first]
            near_matches.append(further._replace(ahead=ahead))
        return TextMatches(exact, matches, tuple(near_matches))

    def instructions(self, texts: Sequence[str], *, folded: bool) -> Keyed:
        """Return words of texts that are compared with those of `matches`, long ones included."""
        words = keyed_folded(texts) if folded else keyed(texts, self.mode)
        return self._corrected(words, np.flatnonzero(words.is_long()))

    def books_containing(self, passages: Sequence[tuple[int, int, int]]) -> list[list[int]]:
        """Return, per passage (book, start, end), the numbers of all books that contain it."""
        placed = self._exact
        book, start, end = np.array(passages, dtype=np.intp).reshape(-1, 3).T
        exact_parts = np.flatnonzero(placed.sides & EXACT)
        begins = (placed.book << _BOOK_BITS | placed.start)[exact_parts]
        part = exact_parts[begins.searchsorted(book << _BOOK_BITS | start, side="right") - 1]
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
        part = placed.part_of(runs.book[whole])
        exact = placed.sides[part] & EXACT > 0
        holders: list[list[int]] = [[] for _ in passages]
        rows = zip(nth[whole][exact].tolist(), placed.book[part[exact]].tolist(), strict=True)
        for passage, book in sorted(set(rows)):
            holders[passage].append(book)
        return holders

    def _near(self, texts: Sequence[int], words: Keyed) -> NearMatches:
        """Match folded words of these texts with each book."""
        words, runs = self._runs(self._checked(words), self._folded)
        matches = self._book_matches(words, runs, self._folded, FOLDED)
        numbers = np.array(texts, dtype=np.intp)
        return NearMatches(numbers, words, matches, np.zeros_like(numbers))

    # --- building --------------------------------------------------------------------------

    def _add(self, book: Book, words: BookWords) -> None:
        texts = [excerpt.text for excerpt in book.excerpts]
        plain = keyed(texts, self.mode)
        lengths = plain.lengths().tolist()
        validate_measurable(book, lengths, k=self.k, mode=self.mode)
        layout = layout_of(book, lengths)
        near = keyed_folded(texts, plain)
        alike = near is plain
        folded_layout = layout if alike else layout_of(book, near.lengths().tolist())
        keys = self._named(plain)
        near_keys = keys if alike else self._named(near)
        self._add_words(IndexedBook(book.id, layout, folded_layout), keys, near_keys, words)

    def _add_keys(self, name: str, book: BookKeys, words: BookWords) -> None:
        layout, keys = _without_borders(book.exact)
        alike = book.folded is book.exact
        near_layout, near_keys = (layout, keys) if alike else _without_borders(book.folded)
        self._add_words(IndexedBook(name, layout, near_layout), keys, near_keys, words)

    def _add_words(self, book: IndexedBook, keys: Keys, near_keys: Keys, words: BookWords) -> None:
        if book.id in self.numbers:
            raise SettingsError(
                f"book id {book.id!r} appears twice", hint="give each book a unique id"
            )
        number = self.numbers[book.id] = len(self.books)
        self.books.append(book)
        borders, near_borders = (
            [0, *layout.borders.tolist()] for layout in (book.layout, book.folded)
        )
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

    # --- matching --------------------------------------------------------------------------

    def _checked(self, words: Keyed) -> Keyed:
        """Return the words, with new keys for those that the books renamed."""
        return self._corrected(words, np.flatnonzero(words.is_long())) if self._renamed else words

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

    def _runs(self, words: Keyed, placed: PlacedParts) -> tuple[Keyed, Runs]:
        """Return runs of words, with long words compared by spelling, too."""
        while True:
            runs = placed.prefilter.runs(words.keys, gram_hashes(words.keys, placed.prefilter.n))
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

    def _book_matches(
        self, words: Keyed, runs: Runs, placed: PlacedParts, side: int
    ) -> BookMatches:
        part = placed.part_of(runs.book)
        of_side = placed.sides[part] & side > 0
        if not of_side.all():
            runs, part = runs.where(of_side), part[of_side]
        return BookMatches(
            text=words.text_of(runs.text),
            place=runs.text,
            book=placed.book[part],
            part=part,
            start=placed.start[part] + runs.book - placed.first[part],
            words=runs.words,
        )


def _without_borders(stored: Keys) -> tuple[Layout, Keys]:
    """Return a stored book's layout, without excerpts, and its words' keys."""
    borders = np.flatnonzero(stored == BORDER)[1:-1]
    keys = unscrambled(stored[stored != BORDER])
    starts = borders - np.arange(1, len(borders) + 1)
    return Layout(len(keys), {}, {}, starts, (), np.empty(0, dtype=np.intp)), keys
