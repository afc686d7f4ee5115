"""Catalog scan: a library of any size, matched with all generations at once.

The generations form the prefilter table, and the library's books stream past it as word
keys, which can be stored and reread without parsing. The few books that match go to the
exact index with their text (`passage_tally`).
"""

from __future__ import annotations

import functools
import hashlib
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import ucd_3_2_0

import numpy as np

from pytest_memleak.scoring.book_layout import (
    icu_version_for,
    layout_of,
    validate_measurable,
)
from pytest_memleak.scoring.book_words import BookMatches, BookWords, PlacedWords
from pytest_memleak.scoring.find_passages import find_chains
from pytest_memleak.scoring.folding import LATIN
from pytest_memleak.scoring.further_readings import further_readings
from pytest_memleak.scoring.keyed_texts import (
    keyed,
    keyed_folded,
    texts_changed_by_folding,
)
from pytest_memleak.scoring.ngram_prefilter import BORDER
from pytest_memleak.scoring.prompt_trimming import NO_RANGES
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.text_marks import TextMarks
from pytest_memleak.scoring.word_hashes import TEXT_END, BookKeys, scrambled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.records import Book, WordMode
    from pytest_memleak.scoring.ngram_prefilter import NgramPrefilter, Runs
    from pytest_memleak.scoring.word_hashes import Keyed, Keys
    from pytest_memleak.scoring.word_ranges import Positions

    Books = Iterable[tuple[str, BookKeys]]

_BORDER = np.array([BORDER], dtype=np.uint64)
# Covers whatever decides words and keys, on each code path of texts.
_SPECIMENS = (
    (
        "Don't stop: 1984 co_op, incomprehensibilities a-\nble\r\n12 lines\n[3:16] of "
        "**verses** \x07!"
    ),
    (
        "caf\xe9 co\xadop x\xb2 stra\xdfe-\n\xc6on incomprehensibilit\xe9s "
        "\xb5\xaa\xbb\n00:12\xa0so"
    ),
    (
        "stop\u20141984 &amp; <i id='x'>tag</i><br>co\u0308op \u0130st e\u200be "
        "a-\nble\n\u2014 7. or"
    ),
    (
        "\u0915\u093f \u6728 \uff57\uff49\uff44\uff45 \ufb01ne \u05e9\u05c1 "
        "\U000e0061 \u115f"
    ),
    "\u03a4\u0397\u039d \u03c0\u1fb3 H\u0397",
)


def book_keys(
    book: Book,
    *,
    k: int,
    mode: WordMode = "paper",
) -> BookKeys:
    """Compute the keys of a book.

    Raises BookError if k and `mode` cannot measure it.
    """
    texts = [excerpt.text for excerpt in book.excerpts]
    plain = keyed(texts, mode)
    lengths = plain.lengths().tolist()
    validate_measurable(book, lengths, k=k, mode=mode)
    icu = icu_version_for(book)
    layout = layout_of(book, lengths)
    exact = _with_borders(plain, layout.borders)
    near = keyed_folded(texts, plain)
    if near is plain:
        return BookKeys(
            words=layout.total,
            digest=_digest_of_keys(exact),
            exact=exact,
            folded=exact,
            icu=icu,
        )
    near_layout = layout_of(book, near.lengths().tolist())
    return BookKeys(
        words=layout.total,
        digest=_digest_of_keys(exact),
        exact=exact,
        folded=_with_borders(near, near_layout.borders),
        icu=icu,
    )


@functools.cache
def digest_of_word_keys(mode: WordMode) -> str:
    """Return a digest of the words that texts have, and of their keys.

    Hashes specimens and all look-alikes that every Python knows, so no version is
    maintained.
    """
    forms = [form for form in sorted(LATIN) if ucd_3_2_0.category(form) != "Cn"]
    texts = [*_SPECIMENS, " ".join(forms)]
    plain = keyed(texts, mode)
    folded = keyed_folded(texts)
    keys = np.concatenate((plain.keys, folded.keys))
    return _digest_of_keys(scrambled(keys))


def _digest_of_keys(keys: Keys) -> str:
    keys_of_words = keys[keys != BORDER]
    data = keys_of_words.astype("<u8").tobytes()
    return hashlib.sha256(data).hexdigest()


def _with_borders(words: Keyed, borders: Positions) -> Keys:
    is_word = np.ones(len(words.keys), dtype=np.bool_)
    is_word[words.ends] = False
    keys_of_words = words.keys[is_word]
    keys = np.insert(keys_of_words, borders, _BORDER[0])
    bordered = np.concatenate((_BORDER, keys, _BORDER))
    return scrambled(bordered)


class CatalogMatch(NamedTuple):
    """A library book that shares enough words with some generation.

    longest, nv_longest: words of the longest run and of the longest chain, by keys,
    untrimmed; at least those of its longest and near-verbatim passages
    """

    name: str
    longest: int
    nv_longest: int


class GenerationPrefilter:
    """A prefilter table of all generations of a run, matched with a library's books."""

    def __init__(
        self,
        texts: Iterable[str],
        *,
        k: int,
        mode: WordMode = "paper",
    ) -> None:
        """Build the table from the generations of all pairs.

        `texts` is read once, and not kept.
        """
        words = BookWords(k)
        number = count()
        for batch in batches_of(texts, len):
            plain = keyed(batch, mode)
            marks = TextMarks(batch)
            changed, numbers, suspects = texts_changed_by_folding(batch, plain, marks)
            _, further_texts = further_readings(batch, plain, suspects, marks)
            readings = keyed_folded(further_texts)
            for reading in (plain, changed, readings):
                scrambled(reading.keys)
            for keys in plain.each():
                words.add(next(number), keys, keys)
            for text, keys in zip(numbers, changed.each(), strict=True):
                if not np.array_equal(keys, plain.of(text)):
                    words.add_folded(next(number), keys)
            for keys in readings.each():
                words.add_folded(next(number), keys)
        self._exact, self._folded = words.placed()

    @property
    def nbytes(self) -> int:
        """Return the bytes of memory that its tables take."""
        return PlacedWords.nbytes_of(self._exact, self._folded)

    def matching_books(
        self, books: Books, *, least_verbatim_words: int
    ) -> Iterator[CatalogMatch]:
        """Yield the books that share so many words in a row, or a chain of 20.

        Each with one generation. books: with their names; each is read once, in order.
        """
        for name, book in books:
            runs = _runs_shared_with_generations(book.exact, self._exact.prefilter)
            cut_runs, _ = self._exact.cut_at_pieces(runs)
            longest = int(cut_runs.words.max(initial=0))
            one_table = self._folded.prefilter is self._exact.prefilter
            if book.folded is not book.exact or not one_table:
                runs = _runs_shared_with_generations(
                    book.folded, self._folded.prefilter
                )
            matches = self._matches(book, runs)
            chains = find_chains(matches, NO_RANGES, trim=0)
            nv_longest = int(chains.words.max(initial=0))
            if longest >= least_verbatim_words or nv_longest:
                yield CatalogMatch(
                    name=name,
                    longest=longest,
                    nv_longest=nv_longest,
                )

    def _matches(self, book: BookKeys, runs: Runs) -> BookMatches:
        """Return the runs of folded words as matches of a book with generations."""
        runs, piece = self._folded.cut_at_pieces(runs)
        borders = np.flatnonzero(book.folded == BORDER)
        return BookMatches(
            text=self._folded.book[piece],
            place=runs.place,
            book=np.zeros_like(piece),
            part=borders.searchsorted(runs.text),
            start=runs.text,
            words=runs.words,
        )


def _runs_shared_with_generations(book: Keys, prefilter: NgramPrefilter) -> Runs:
    """Return the runs that a stored book shares with generations."""
    words = book.copy()
    words[words == BORDER] = TEXT_END  # a key that no generation has
    return prefilter.runs(words)
