"""A library of any size, held against all generations of a run at once (METRICS section 11).

The generations make the sieve, and the library's books stream past it as word keys, which can
be kept and read again without parsing a book twice. What comes through is few, and goes to the
exact index with its text (`passages`). The keys are scrambled, so that no word can be read in
them; who scrambles a dictionary can still tell which word each is.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol
from unicodedata import ucd_3_2_0

import numpy as np

from pytest_memleak.errors import MemleakError
from pytest_memleak.scoring.folding import LATIN
from pytest_memleak.scoring.further_readings import further_readings
from pytest_memleak.scoring.index import layout_of, refuse_unmeasurable
from pytest_memleak.scoring.multi_book_index import NEAR_MATCH, Found
from pytest_memleak.scoring.near_verbatim_chains import chained
from pytest_memleak.scoring.ngram_prefilter import BORDER, Sieve
from pytest_memleak.scoring.trimming import NO_RANGES
from pytest_memleak.scoring.word_hashes import NO_WORD, TEXT_END, keyed, keyed_folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, WordMode
    from pytest_memleak.scoring.intervals import Positions
    from pytest_memleak.scoring.ngram_prefilter import Runs
    from pytest_memleak.scoring.word_hashes import Keyed, Keys

    Books = Iterable[tuple[str, "BookKeys"]]

_SCRAMBLE, _SPREAD = np.uint64(0xD6E8FEB86659FD93), np.uint64(32)
_BORDER = np.array([BORDER], dtype=np.uint64)
_TEXT_END = np.array([TEXT_END], dtype=np.uint64)
_CHARACTERS_TOGETHER = 1 << 20
# Whatever decides which words there are and what their numbers are, on each way that texts go.
_SPECIMENS = (
    "Don't stop: 1984 co_op, incomprehensibilities a-\nble\r\n12 lines\n[3:16] of **verses** \x07!",
    "caf\xe9 co\xadop x\xb2 stra\xdfe-\n\xc6on incomprehensibilit\xe9s \xb5\xaa\xbb\n00:12\xa0so",
    "stop\u20141984 &amp; <i id='x'>tag</i><br>co\u0308op \u0130st e\u200be a-\nble\n\u2014 7. or",
    "\u0915\u093f \u6728\u3005 \uff57\uff49\uff44\uff45 \ufb01ne \u05e9\u05c1 \U000e0061 \u115f",
)
_SCRAMBLED_TOGETHER = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class BookKeys:
    """A book as keys of its words, with `BORDER` first, last and where no match goes across.

    words:  N
    digest: SHA-256 of its words' keys (hexadecimal): the same however it is cut into excerpts
    exact:  of its words as the measures count them; shape (n,), uint64
    folded: of its folded words; `exact` itself where folding changes none
    """

    words: int
    digest: str
    exact: Keys = field(repr=False)
    folded: Keys = field(repr=False)


def book_keys(book: Book, *, k: int, mode: WordMode = "paper") -> BookKeys:
    """The keys of a book. Raises BookError for one that cannot be measured with k and `mode`."""
    texts = [excerpt.text for excerpt in book.excerpts]
    plain = keyed(texts, mode)
    lengths = plain.lengths().tolist()
    refuse_unmeasurable(book, lengths, k=k, mode=mode)
    layout = layout_of(book, lengths)
    exact = _bordered(plain, layout.borders)
    near = keyed_folded(texts, plain)
    if near is plain:
        return BookKeys(layout.total, _digest(exact), exact, exact)
    borders = layout_of(book, near.lengths().tolist()).borders
    return BookKeys(layout.total, _digest(exact), exact, _bordered(near, borders))


@functools.cache
def numbering(mode: WordMode) -> str:
    """Which words texts have, and which number each: a digest, another after any change of that.

    Of specimens, and all look-alikes that every Python knows; so nobody has to count versions.
    """
    forms = (form for form in sorted(LATIN) if ucd_3_2_0.category(form) != "Cn")
    texts = [*_SPECIMENS, " ".join(forms)]
    both = np.concatenate((keyed(texts, mode).keys, keyed_folded(texts).keys))
    return _digest(_scrambled(both))


def _digest(keys: Keys) -> str:
    return hashlib.sha256(keys[keys != BORDER].astype("<u8").tobytes()).hexdigest()


def _bordered(words: Keyed, borders: Positions) -> Keys:
    inside = np.ones(len(words.keys), dtype=np.bool_)
    inside[words.ends] = False
    keys = np.insert(words.keys[inside], borders, _BORDER[0])
    return _scrambled(np.concatenate((_BORDER, keys, _BORDER)))


def _scrambled(keys: Keys) -> Keys:
    """The keys made others, in place; different ones stay different, and what is no word is kept.

    A word of up to eight bytes is its own key, and could be read by anyone.
    """
    for begin in range(0, len(keys), _SCRAMBLED_TOGETHER):
        some = keys[begin : begin + _SCRAMBLED_TOGETHER]
        is_word = some > NO_WORD
        scrambled = some * _SCRAMBLE
        scrambled ^= scrambled >> _SPREAD
        scrambled *= _SCRAMBLE
        np.copyto(some, np.maximum(scrambled, NO_WORD + 1), where=is_word)
    return keys


class CatalogMatch(NamedTuple):
    """A book of the library that some generation shares enough with.

    longest, nv_longest: words of the longest run and of the longest chain, by keys, nothing
    trimmed; at least those of its passages, longest and near-verbatim
    """

    name: str
    longest: int
    nv_longest: int


class Shard(Protocol):
    """Some books of a library, which can be sent to where they are read."""

    def books(self) -> Iterable[tuple[str, BookKeys | MemleakError]]:
        """Their names and keys; in place of keys why a book cannot be read or measured."""


class Looked(NamedTuple):
    """A book that was looked for; digest: that of its keys."""

    name: str
    words: int
    digest: str


class Scanned(NamedTuple):
    """What came of a shard: the books that survived, all that were looked for, and the others.

    unread: by name, why it could not be looked for
    """

    survivors: list[CatalogMatch]
    looked: list[Looked]
    unread: dict[str, str]


def scan(shard: Shard, table: GenerationSieve, *, least: int) -> Scanned:
    """Hold one shard's books against the generations; see `GenerationSieve.survivors`."""
    looked: list[Looked] = []
    unread: dict[str, str] = {}

    def readable() -> Iterator[tuple[str, BookKeys]]:
        for name, book in shard.books():
            if isinstance(book, MemleakError):
                unread[name] = book.line
                continue
            looked.append(Looked(name, book.words, book.digest))
            yield name, book

    return Scanned(list(table.survivors(readable(), least=least)), looked, unread)


def scanned(shards: Iterable[Shard], table: GenerationSieve, *, least: int) -> Iterator[Scanned]:
    """What comes of each shard, one after the other, here and now."""
    for shard in shards:
        yield scan(shard, table, least=least)


class GenerationSieve:
    """All generations of a run, as a sieve that the books of a library are held against."""

    def __init__(self, texts: Iterable[str], *, k: int, mode: WordMode = "paper") -> None:
        """texts: of the generations of all pairs; they are read once, and not kept."""
        exact, near, alike = [_TEXT_END], [], []
        for batch in _batches(texts):
            plain = keyed(batch, mode)
            folded = keyed_folded(batch, plain)
            exact.append(plain.keys[1:])
            for mine, its in zip(_each(plain), _each(folded), strict=True):
                alike.append(folded is plain or np.array_equal(mine, its))
                if k != NEAR_MATCH or not alike[-1]:
                    near.append(its)
            _, readings = further_readings(batch, plain)
            if readings:
                near += _each(keyed_folded(readings))
        if k == NEAR_MATCH:
            # What folding leaves alone stands here once, for both; what it changes, once more.
            again = len(near)
            self._exact = _Generations(
                Sieve(_end_to_end(exact, near), k),
                np.array([False] + [True] * len(alike) + [False] * again),
            )
            self._folded = _Generations(
                self._exact.sieve, np.array([False, *alike] + [True] * again)
            )
        else:
            all_of_them = np.ones(len(near) + 1, dtype=np.bool_)
            self._exact = _Generations(Sieve(_end_to_end(exact), k), all_of_them)
            self._folded = _Generations(
                Sieve(_end_to_end([_TEXT_END], near), NEAR_MATCH), all_of_them
            )

    @property
    def nbytes(self) -> int:
        """Bytes of memory that its tables take."""
        sieves = {id(side.sieve): side.sieve for side in (self._exact, self._folded)}
        return sum(sieve.nbytes for sieve in sieves.values())

    def survivors(self, books: Books, *, least: int) -> Iterator[CatalogMatch]:
        """The books of which some generation has a run of `least` words, or a chain of 20.

        books: with their names, each looked at once, in their order.
        """
        for name, book in books:
            runs = self._exact.sieve.runs(book.exact)
            longest = self._exact.longest(runs)
            if book.folded is not book.exact or self._folded.sieve is not self._exact.sieve:
                runs = self._folded.sieve.runs(book.folded)
            nv_longest = self._folded.longest_chain(runs, book.folded)
            if longest >= least or nv_longest:
                yield CatalogMatch(name, longest, nv_longest)


class _Generations:
    """The words of generations in a sieve; by number from 1, which of them count."""

    def __init__(self, sieve: Sieve, counted: NDArray[np.bool_]) -> None:
        self.sieve, self._counted = sieve, counted
        self._ends = np.flatnonzero(sieve.keys == TEXT_END)

    def longest(self, runs: Runs) -> int:
        """Words of the longest run."""
        if self._counted[1:].all():
            return int(runs.words.max(initial=0))
        return int(runs.words[self._counted[self._ends.searchsorted(runs.book)]].max(initial=0))

    def longest_chain(self, runs: Runs, book: Keys) -> int:
        """Words of the longest chain of a book's runs with one generation."""
        text = self._ends.searchsorted(runs.book)
        counted = self._counted[text]
        if not counted.all():
            runs, text = runs.where(counted), text[counted]
        borders = np.flatnonzero(book == BORDER)
        matches = Found(
            text=text,
            place=runs.book,
            book=np.zeros(len(text), dtype=np.intp),
            part=borders.searchsorted(runs.text),
            start=runs.text,
            words=runs.words,
        )
        return int(chained(matches, NO_RANGES, trim=0).words.max(initial=0))


def _end_to_end(*parts: list[Keys]) -> Keys:
    """The parts as one array; they are given up, as both together would take much memory."""
    keys: Keys = np.concatenate([batch for part in parts for batch in part])
    for part in parts:
        part.clear()
    return _scrambled(keys)


def _each(words: Keyed) -> list[Keys]:
    """The keys of each text, and the end behind it."""
    return np.split(words.keys[1:], words.ends[1:-1])


def _batches(texts: Iterable[str]) -> Iterator[Sequence[str]]:
    batch: list[str] = []
    left = _CHARACTERS_TOGETHER
    for text in texts:
        batch.append(text)
        left -= len(text)
        if left <= 0:
            yield batch
            batch, left = [], _CHARACTERS_TOGETHER
    if batch:
        yield batch
