"""The index of a run's protected books, built once and used by all pairs.

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
from pytest_memleak.scoring.keyed_texts import (
    keyed,
    keyed_folded,
    texts_changed_by_folding,
)
from pytest_memleak.scoring.measured_places import MeasuredPlaces
from pytest_memleak.scoring.ngram_prefilter import BORDER, gram_hashes
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.text_marks import TextMarks
from pytest_memleak.scoring.word_hashes import NO_WORD, Keyed, unscrambled
from pytest_memleak.scoring.word_ranges import count_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import WordMode
    from pytest_memleak.scoring.ngram_prefilter import NgramPrefilter, Runs
    from pytest_memleak.scoring.word_hashes import BookKeys, Keys
    from pytest_memleak.scoring.word_ranges import Positions

_BOOK_BITS = 32


class NearMatches(NamedTuple):
    """Matches of folded words of some of the texts.

    texts:   their numbers among all
    words:   their words
    matches: `text` is the place in `texts`
    ahead:   how many words the earlier readings of each have
    """

    texts: Positions
    words: Keyed
    matches: BookMatches
    ahead: Positions


@dataclass(
    frozen=True,
    slots=True,
    eq=False,
)
class TextMatches:
    """The matches of some texts with the books, in measured words and in folded words.

    exact:   the texts' words
    matches: of at least k words
    near:    of at least five folded words; of texts that folding leaves alone, of the
             others, of further readings of any, and of the others' words as measured
    """

    exact: Keyed
    matches: BookMatches
    near: tuple[NearMatches, ...]


class IndexedBook(NamedTuple):
    """A book of the index: its id, its excerpts, and those of its folded words."""

    id: str
    layout: Layout
    folded: Layout

    def layout_of(self, *, near: bool) -> Layout:
        """Return the layout of its words, folded if `near`."""
        return self.folded if near else self.layout


class SharedIndex:
    """Protected books; a passage that several contain counts for the first.

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
        self.k = k
        self.mode = mode
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

    def measured_places(self) -> MeasuredPlaces:
        """Return where the books' folded words are among their words as measured."""
        return MeasuredPlaces(self._exact, self._folded)

    def matches(
        self,
        texts: Sequence[str],
        words: Keyed | None = None,
        *,
        near: bool = True,
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
        plain = exact
        if self._folded.prefilter is not self._exact.prefilter:
            plain, runs = self._runs(exact, self._folded.prefilter)
        plain_matches = matches
        if self._folded is not self._exact:
            plain_matches = self._folded.matches(plain, runs)
        near_matches = self._near_matches(texts, exact, plain, plain_matches)
        return TextMatches(exact, matches, near_matches)

    def _near_matches(
        self,
        texts: Sequence[str],
        exact: Keyed,
        plain: Keyed,
        plain_matches: BookMatches,
    ) -> tuple[NearMatches, ...]:
        """Match the texts' folded words, and those of further readings.

        exact: their words as measured
        plain, plain_matches: the same, as they are compared with folded words of books
        """
        marks = TextMarks(texts)
        changed, changed_texts, suspects = texts_changed_by_folding(texts, exact, marks)
        is_changed = np.isin(plain_matches.text, changed_texts)
        every_text = np.arange(len(texts))
        words_ahead = plain.lengths()
        near_matches = [
            NearMatches(
                texts=every_text,
                words=plain,
                matches=plain_matches.where(~is_changed),
                ahead=np.zeros_like(words_ahead),
            ),
        ]
        if changed_texts:
            near_matches.append(self._match_folded(changed_texts, changed))
            words_ahead[changed_texts] = changed.lengths()
        reading_of, readings = further_readings(texts, exact, suspects, marks)
        if readings:
            further = self._match_folded(reading_of, keyed_folded(readings))
            lengths = further.words.lengths()
            ahead = words_ahead[further.texts]
            ahead += _ahead_in_text(further.texts, lengths)
            near_matches.append(further._replace(ahead=ahead))
            np.add.at(words_ahead, further.texts, lengths)
        if changed_texts:
            # As measured, combining marks part words, and mode `paper` drops scripts.
            near_matches.append(
                NearMatches(
                    texts=every_text,
                    words=plain,
                    matches=plain_matches.where(is_changed),
                    ahead=words_ahead,
                ),
            )
        return tuple(near_matches)

    def folded_matches(self, texts: Sequence[str]) -> BookMatches:
        """Match the texts' folded words, from five on, without further readings."""
        every_text = range(len(texts))
        return self._match_folded(every_text, keyed_folded(texts)).matches

    def instructions(self, texts: Sequence[str], *, folded: bool) -> Keyed:
        """Return words of texts that are compared with those of `matches`."""
        words = keyed_folded(texts) if folded else keyed(texts, self.mode)
        return self._compared_by_spelling(words, np.flatnonzero(words.is_long()))

    def books_containing(
        self,
        passages: Sequence[tuple[int, int, int]],
    ) -> list[list[int]]:
        """Return the numbers of all books that contain each passage.

        passages: book, start and end of each
        """
        rows = np.array(passages, dtype=np.intp).reshape(-1, 3)
        book, start, end = rows.T
        lengths = end - start
        keys_with_end = np.cumsum(lengths + 1)
        first_key = keys_with_end - lengths  # after the end of the text before
        texts = self._keys_with_ends(
            book=book,
            start=start,
            first_key=first_key,
            lengths=lengths,
        )
        runs = self._exact.prefilter.runs(texts)
        passage_of_run = first_key.searchsorted(runs.text, side="right") - 1
        is_whole = runs.words == lengths[passage_of_run]
        cut_runs, piece = self._exact.cut_at_pieces(runs.where(is_whole))
        passage_of_run = first_key.searchsorted(cut_runs.text, side="right") - 1
        holding_book = self._exact.book[piece]
        pairs = zip(passage_of_run.tolist(), holding_book.tolist(), strict=True)
        holders: list[list[int]] = [[] for _ in passages]
        for passage, holder in sorted(set(pairs)):
            holders[passage].append(holder)
        return holders

    def _keys_with_ends(
        self,
        book: Positions,
        start: Positions,
        first_key: Positions,
        lengths: Positions,
    ) -> Keys:
        """Return the keys of passages like those of texts, with ends around them.

        first_key: place of each passage's first key in the result
        """
        placed = self._exact
        piece_begins = (placed.book << _BOOK_BITS) | placed.start
        passage_begins = (book << _BOOK_BITS) | start
        piece = piece_begins.searchsorted(passage_begins, side="right") - 1
        words_into_piece = start - placed.start[piece]
        place = placed.first[piece] + words_into_piece
        text_ends = len(lengths) + 1
        size = int(lengths.sum()) + text_ends
        keys = np.zeros(size, dtype=np.uint64)
        places_here = count_up(first_key, lengths)
        places_of_books = count_up(place, lengths)
        keys[places_here] = placed.prefilter.keys[places_of_books]
        return keys

    def _match_folded(self, texts: Sequence[int], words: Keyed) -> NearMatches:
        """Match folded words of these texts with each book."""
        words, runs = self._runs(words, self._folded.prefilter)
        numbers = np.array(texts, dtype=np.intp)
        matches = self._folded.matches(words, runs)
        return NearMatches(
            texts=numbers,
            words=words,
            matches=matches,
            ahead=np.zeros_like(numbers),
        )

    # --- building

    def _add(self, book: Book, words: BookWords) -> None:
        lengths: list[int] = []
        near_lengths: list[int] = []
        batches: list[tuple[Keys, Keys]] = []
        texts_of_book = [excerpt.text for excerpt in book.excerpts]
        for texts in batches_of(texts_of_book, len):
            plain = keyed(texts, self.mode)
            near = keyed_folded(texts, plain)
            lengths += plain.lengths().tolist()
            near_lengths += near.lengths().tolist()
            keys = near_keys = self._keys_by_spelling(plain)
            if near is not plain:
                near_keys = self._keys_by_spelling(near)
            batches.append((keys, near_keys))
        validate_measurable(book, lengths, k=self.k, mode=self.mode)
        layout = folded_layout = layout_of(book, lengths)
        keys = near_keys = np.concatenate([keys for keys, _ in batches])
        if any(keys is not near_keys for keys, near_keys in batches):
            folded_layout = layout_of(book, near_lengths)
            near_keys = np.concatenate([near_keys for _, near_keys in batches])
        indexed = IndexedBook(
            id=book.id,
            layout=layout,
            folded=folded_layout,
        )
        self._add_words(indexed, keys, near_keys, words)

    def _add_keys(
        self,
        name: str,
        book: BookKeys,
        words: BookWords,
    ) -> None:
        exact = folded = _without_borders(book.exact)
        if book.folded is not book.exact:
            folded = _without_borders(book.folded)
        layout, keys = exact
        folded_layout, near_keys = folded
        indexed = IndexedBook(
            id=name,
            layout=layout,
            folded=folded_layout,
        )
        self._add_words(indexed, keys, near_keys, words)

    def _add_words(
        self,
        book: IndexedBook,
        keys: Keys,
        near_keys: Keys,
        words: BookWords,
    ) -> None:
        if book.id in self.numbers:
            hint = "name it once, as protected or as common; give each book its own id"
            raise SettingsError(f"book {book.id!r} appears twice", hint=hint)
        number = len(self.books)
        self.numbers[book.id] = number
        self.books.append(book)
        starts = [0, *book.layout.borders.tolist()]
        near_starts = [0, *book.folded.borders.tolist()]
        words.add(number, keys, near_keys, starts, near_starts)

    def _keys_by_spelling(self, words: Keyed) -> Keys:
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

    def _compared_by_spelling(self, words: Keyed, places: Positions) -> Keyed:
        """Return the words; keys equal the books' only where their spelling does."""
        if not len(places) or not self._long:
            return words
        if self._vocabulary is None:
            self._vocabulary = self._long_words_by_key()
        book_keys, spelled = self._vocabulary
        keys = words.keys[places]
        last = len(book_keys) - 1
        nth = np.minimum(book_keys.searchsorted(keys), last)
        is_of_book = book_keys[nth] == keys
        places = places[is_of_book]
        nth = nth[is_of_book]
        is_alike = words.spelled_alike(places, spelled, nth)
        places_to_correct = places[~is_alike]
        for place in places_to_correct.tolist():
            spelling = words.spelling(place)
            words.keys[place] = self._renamed.get(spelling, NO_WORD)
        return words

    def _long_words_by_key(self) -> tuple[Keys, Keyed]:
        """Return the keys of the books' long words, ascending, and the words so."""
        keys = np.array(sorted(self._long), dtype=np.uint64)
        spellings = [self._long[key] for key in keys.tolist()]
        lengths = np.array([len(spelling) for spelling in spellings])
        ends = np.cumsum(lengths)
        starts = ends - lengths
        words = Keyed(
            keys=keys,
            start=starts,
            end=ends,
            joined=b"".join(spellings) + bytes(8),
            ends=starts[:0],
            dropped=starts[:0],
        )
        return keys, words

    def _runs(self, words: Keyed, prefilter: NgramPrefilter) -> tuple[Keyed, Runs]:
        """Return runs of words, with long words compared by spelling, too."""
        if self._renamed:
            words = self._compared_by_spelling(words, np.flatnonzero(words.is_long()))
        while True:
            runs = prefilter.runs(words.keys, gram_hashes(words.keys, prefilter.n))
            if not len(runs.text):
                return words, runs
            matched = _is_in_a_run(runs, len(words.keys))
            long_places = np.flatnonzero(matched & words.is_long())
            before = words.keys[long_places]
            self._compared_by_spelling(words, long_places)
            if (words.keys[long_places] == before).all():
                return words, runs


def _is_in_a_run(runs: Runs, words: int) -> NDArray[np.bool_]:
    """Return which of the texts' `words` are part of a run."""
    size = words + 1
    text_end = runs.text + runs.words
    steps = np.bincount(runs.text, minlength=size)
    steps -= np.bincount(text_end, minlength=size)
    runs_on_word = np.cumsum(steps[:-1])
    return runs_on_word > 0


def _ahead_in_text(text: Positions, lengths: Positions) -> Positions:
    """Return how many words the earlier readings of the same text have.

    text: of each reading, ascending; lengths: their words
    """
    before = np.cumsum(lengths) - lengths
    first = text.searchsorted(text)
    return before - before[first]


def _without_borders(stored: Keys) -> tuple[Layout, Keys]:
    """Return a stored book's layout, without excerpts, and its words' keys."""
    is_border = stored == BORDER
    borders = np.flatnonzero(is_border)
    inner_borders = borders[1:-1]
    keys = unscrambled(stored[~is_border])
    borders_before = np.arange(1, len(inner_borders) + 1)
    starts = inner_borders - borders_before
    no_ends = np.empty(0, dtype=np.intp)
    layout = Layout(
        total=len(keys),
        bounds={},
        order={},
        borders=starts,
        ids=(),
        ends=no_ends,
    )
    return layout, keys
