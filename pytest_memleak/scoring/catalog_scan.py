"""Catalog scan: a library of any size, matched with all generations at once (docs/method.md).

The generations form the prefilter table, and the library's books stream past it as word keys,
which can be stored and reread without parsing. The few books that match go to the exact index
with their text (`passage_tally`).
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import ucd_3_2_0

import numpy as np

from pytest_memleak.errors import MemleakError
from pytest_memleak.scoring.book_layout import icu_of, layout_of, validate_measurable
from pytest_memleak.scoring.folding import LATIN
from pytest_memleak.scoring.further_readings import further_readings
from pytest_memleak.scoring.keyed_texts import keyed, keyed_folded
from pytest_memleak.scoring.multi_book_index import NEAR_MATCH, BookMatches
from pytest_memleak.scoring.ngram_prefilter import BORDER, NgramPrefilter
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.text_passages import find_chains
from pytest_memleak.scoring.trimming import NO_RANGES
from pytest_memleak.scoring.word_hashes import TEXT_END, BookKeys, scrambled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, WordMode
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.ngram_prefilter import Runs
    from pytest_memleak.scoring.word_hashes import Keyed, Keys

    Books = Iterable[tuple[str, BookKeys]]

_BORDER = np.array([BORDER], dtype=np.uint64)
_TEXT_END = np.array([TEXT_END], dtype=np.uint64)
# Covers whatever decides words and keys, on each code path of texts.
_SPECIMENS = (
    "Don't stop: 1984 co_op, incomprehensibilities a-\nble\r\n12 lines\n[3:16] of **verses** \x07!",
    "caf\xe9 co\xadop x\xb2 stra\xdfe-\n\xc6on incomprehensibilit\xe9s \xb5\xaa\xbb\n00:12\xa0so",
    "stop\u20141984 &amp; <i id='x'>tag</i><br>co\u0308op \u0130st e\u200be a-\nble\n\u2014 7. or",
    "\u0915\u093f \u6728 \uff57\uff49\uff44\uff45 \ufb01ne \u05e9\u05c1 \U000e0061 \u115f",
)


def book_keys(book: Book, *, k: int, mode: WordMode = "paper") -> BookKeys:
    """Compute the keys of a book. Raises BookError if k and `mode` cannot measure it."""
    texts = [excerpt.text for excerpt in book.excerpts]
    plain = keyed(texts, mode)
    lengths = plain.lengths().tolist()
    validate_measurable(book, lengths, k=k, mode=mode)
    icu = icu_of(book)
    layout = layout_of(book, lengths)
    exact = _bordered(plain, layout.borders)
    near = keyed_folded(texts, plain)
    if near is plain:
        return BookKeys(layout.total, _digest(exact), exact, exact, icu)
    borders = layout_of(book, near.lengths().tolist()).borders
    return BookKeys(layout.total, _digest(exact), exact, _bordered(near, borders), icu)


@functools.cache
def numbering(mode: WordMode) -> str:
    """Return a digest of the words that texts have and their keys; it changes with either.

    Hashes specimens and all look-alikes that every Python knows, so no version is maintained.
    """
    forms = (form for form in sorted(LATIN) if ucd_3_2_0.category(form) != "Cn")
    texts = [*_SPECIMENS, " ".join(forms)]
    keys = np.concatenate((keyed(texts, mode).keys, keyed_folded(texts).keys))
    return _digest(scrambled(keys))


def _digest(keys: Keys) -> str:
    return hashlib.sha256(keys[keys != BORDER].astype("<u8").tobytes()).hexdigest()


def _bordered(words: Keyed, borders: Positions) -> Keys:
    inside = np.ones(len(words.keys), dtype=np.bool_)
    inside[words.ends] = False
    keys = np.insert(words.keys[inside], borders, _BORDER[0])
    return scrambled(np.concatenate((_BORDER, keys, _BORDER)))


class CatalogMatch(NamedTuple):
    """A library book that shares enough words with some generation.

    longest, nv_longest: words of the longest run and of the longest chain, by keys, untrimmed; at
    least those of its longest and near-verbatim passages
    """

    name: str
    longest: int
    nv_longest: int


class ScannedBook(NamedTuple):
    """A book that was scanned; digest: that of its keys."""

    name: str
    words: int
    digest: str


class LibraryScan(NamedTuple):
    """The result of a scan: matching books, all scanned books, and unread ones.

    unread: the error, by name
    """

    matches: list[CatalogMatch]
    books: list[ScannedBook]
    unread: dict[str, str]


def scan_books(
    books: Iterable[tuple[str, BookKeys | MemleakError]], table: GenerationPrefilter, *, least: int
) -> LibraryScan:
    """Match books with the generations; see `GenerationPrefilter.matching_books`.

    books: names and keys; in place of keys, the error of a book that cannot be measured
    """
    scanned: list[ScannedBook] = []
    unread: dict[str, str] = {}

    def readable() -> Iterator[tuple[str, BookKeys]]:
        for name, book in books:
            if isinstance(book, MemleakError):
                unread[name] = book.line
                continue
            scanned.append(ScannedBook(name, book.words, book.digest))
            yield name, book

    return LibraryScan(list(table.matching_books(readable(), least=least)), scanned, unread)


class GenerationPrefilter:
    """A prefilter table of all generations of a run, matched with a library's books."""

    def __init__(self, texts: Iterable[str], *, k: int, mode: WordMode = "paper") -> None:
        """Build the table from the generations of all pairs; `texts` is read once, and not kept."""
        exact, near, unchanged = [_TEXT_END], [], []
        for batch in batches_of(texts, len):
            plain = keyed(batch, mode)
            folded = keyed_folded(batch, plain)
            exact.append(plain.keys[1:])
            for exact_keys, folded_keys in zip(_each(plain), _each(folded), strict=True):
                unchanged.append(folded is plain or np.array_equal(exact_keys, folded_keys))
                if k != NEAR_MATCH or not unchanged[-1]:
                    near.append(folded_keys)
            _, readings = further_readings(batch, plain)
            if readings:
                near += _each(keyed_folded(readings))
        if k == NEAR_MATCH:
            # One table serves both; words that folding changes are added to it.
            added = len(near)
            self._exact = _Generations(
                NgramPrefilter(_end_to_end(exact, near), k),
                np.array([False] + [True] * len(unchanged) + [False] * added),
            )
            self._folded = _Generations(
                self._exact.prefilter, np.array([False, *unchanged] + [True] * added)
            )
        else:
            all_texts = np.ones(len(near) + 1, dtype=np.bool_)
            self._exact = _Generations(NgramPrefilter(_end_to_end(exact), k), all_texts)
            self._folded = _Generations(
                NgramPrefilter(_end_to_end([_TEXT_END], near), NEAR_MATCH), all_texts
            )

    @property
    def nbytes(self) -> int:
        """Return the bytes of memory that its tables take."""
        prefilters = {id(side.prefilter): side.prefilter for side in (self._exact, self._folded)}
        return sum(prefilter.nbytes for prefilter in prefilters.values())

    def matching_books(self, books: Books, *, least: int) -> Iterator[CatalogMatch]:
        """Yield the books that share `least` words in a row, or a chain of 20, with a generation.

        books: with their names; each is read once, in order.
        """
        for name, book in books:
            runs = self._exact.prefilter.runs(book.exact)
            longest = self._exact.longest(runs)
            if book.folded is not book.exact or self._folded.prefilter is not self._exact.prefilter:
                runs = self._folded.prefilter.runs(book.folded)
            nv_longest = self._folded.longest_chain(runs, book.folded)
            if longest >= least or nv_longest:
                yield CatalogMatch(name, longest, nv_longest)


class _Generations:
    """Generations in a prefilter table; `counted` marks, from number 1, which of them count."""

    def __init__(self, prefilter: NgramPrefilter, counted: NDArray[np.bool_]) -> None:
        self.prefilter, self._counted = prefilter, counted
        self._ends = np.flatnonzero(prefilter.keys == TEXT_END)

    def longest(self, runs: Runs) -> int:
        """Return the words of the longest run."""
        if self._counted[1:].all():
            return int(runs.words.max(initial=0))
        return int(runs.words[self._counted[self._ends.searchsorted(runs.book)]].max(initial=0))

    def longest_chain(self, runs: Runs, book: Keys) -> int:
        """Return the words of the longest chain of a book's runs with one generation."""
        text = self._ends.searchsorted(runs.book)
        counted = self._counted[text]
        if not counted.all():
            runs, text = runs.where(counted), text[counted]
        borders = np.flatnonzero(book == BORDER)
        matches = BookMatches(
            text=text,
            place=runs.book,
            book=np.zeros(len(text), dtype=np.intp),
            part=borders.searchsorted(runs.text),
            start=runs.text,
            words=runs.words,
        )
        return int(find_chains(matches, NO_RANGES, trim=0).words.max(initial=0))


def _end_to_end(*parts: list[Keys]) -> Keys:
    """Concatenate the parts and empty them, since both together would take much memory."""
    keys: Keys = np.concatenate([batch for part in parts for batch in part])
    for part in parts:
        part.clear()
    return scrambled(keys)


def _each(words: Keyed) -> list[Keys]:
    """Return the keys of each text, followed by its end."""
    return np.split(words.keys[1:], words.ends[1:-1])
