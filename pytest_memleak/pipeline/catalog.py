"""The catalog of a suite: protected works that are scanned for but never prompted.

The generations make a table, and the catalog streams past it: once for all pairs whose
generations are stored, and once for each pair that is still to be sampled. The few
matching books go to the exact index with the suite's own books (docs/method.md).
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.errors import BookError, MemleakError
from pytest_memleak.pipeline.required_samples import Samples, all_generations
from pytest_memleak.records import Book, Issue, Limits, Suite
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair_result import CatalogSummary
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, book_keys
from pytest_memleak.scoring.measure_table import MEASURES, PASSAGES, with_needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.library.book_files import BookFiles
    from pytest_memleak.scoring.word_hashes import BookKeys

_QUOTATION = 12

# A table takes about eight times as many bytes.
_CHARACTERS = 60_000_000


@dataclass(frozen=True, slots=True)
class CatalogMatches:
    """The books of the catalog that a pair's generations match.

    books: by the names that reports use, without the suite's own
    least: the least words of a passage of theirs that counts
    issues: what wasn't scanned, where a limit depends on it
    unread: why books weren't scanned
    """

    books: tuple[Book, ...] = ()
    least: int = 0
    issues: tuple[Issue, ...] = ()
    unread: tuple[Issue, ...] = ()
    summary: CatalogSummary | None = None


def min_passage_words(suite: Suite) -> int:
    """Return the least words of a catalog's passage that counts.

    No limit depends on shorter ones. Runs of 12 words and more that two works share are
    quotations (docs/method.md).
    """
    scoring = suite.pairs[0].scoring
    words = [_QUOTATION, scoring.effective_threshold + 1]
    for pair in suite.pairs:
        for name in with_needs(pair.limits, PASSAGES):
            if MEASURES[name].runs == "longest":
                over_limit = int(pair.limits[name]) + 1
                words.append(over_limit)
    return max(scoring.k, min(words))


class _ReadableBook(NamedTuple):
    """The number of a readable book's words, and their digest."""

    words: int
    digest: str


class Catalog:
    """The catalog of one suite.

    stored_samples: yields other pairs' samples that are stored
    """

    def __init__(
        self,
        suite: Suite,
        extensions: Extensions,
        own_books: Callable[[], Iterable[Book]],
        stored_samples: Callable[[Sequence[Samples]], Iterator[Sequence[Samples]]],
    ) -> None:
        self._suite = suite
        self._scoring = suite.pairs[0].scoring
        self._extensions = extensions
        self._own_books = own_books
        self._at_hand = stored_samples
        self._least = min_passage_words(suite)
        self._looked: dict[str, _ReadableBook] = {}
        self._unread: dict[str, Issue] = {}
        self._surviving: dict[str, Book] = {}
        self._done: set[str] = set()

    @functools.cached_property
    def _files(self) -> BookFiles:
        from pytest_memleak.library.book_files import BookFiles

        return BookFiles(
            self._suite.catalog,
            self._scoring,
            extensions=self._extensions,
            root=self._suite.path.parent,
        )

    def validate(self) -> None:
        """Raise MemleakError for a catalog file that is damaged or has other words."""
        self._files.validate()

    def matches(self, parts: Sequence[Samples]) -> CatalogMatches:
        """Return the books that share long runs with generations of any pair.

        A failure becomes an issue where a limit depends on the catalog.
        """
        if not self._suite.catalog:
            return CatalogMatches()
        required = parts[0].required
        limits = required.pair.limits
        try:
            if required.pair.id not in self._done or required.endpoint is not None:
                self._find_matches(parts)
        except MemleakError as error:
            return self._matches_with_error(error, limits)
        if not self._looked:
            return self._matches_with_error(
                BookError("none of its books can be read"), limits
            )
        return CatalogMatches(
            books=tuple(self._surviving.values()),
            least=self._least,
            issues=self._unscanned_issues(limits),
            unread=self._unread_books(),
            summary=self._summary(),
        )

    def _find_matches(self, parts: Sequence[Samples]) -> None:
        has_no_own_endpoint = parts[0].required.endpoint is None
        scanned: set[str] = set()
        texts = (
            self._texts_of_all_pairs(parts, scanned)
            if has_no_own_endpoint
            else _generation_texts(parts)
        )
        scoring = self._scoring
        for some_texts in _texts_by_table(texts):
            table = GenerationPrefilter(some_texts, k=scoring.k, mode=scoring.word_mode)
            matches = table.matching_books(
                self._readable_books(), least_verbatim_words=self._least
            )
            names = {book.name for book in matches}
            self._read_matching_books(names)
        self._done |= scanned

    def _texts_of_all_pairs(
        self,
        parts: Sequence[Samples],
        scanned: set[str],
    ) -> Iterator[str]:
        """Yield the texts of these samples and of other pairs' stored ones.

        One pair after the other, so that memory holds one; `scanned` gets their ids.
        """
        scanned.add(parts[0].required.pair.id)
        yield from _generation_texts(parts)
        for other in self._at_hand(parts):
            pair = other[0].required.pair
            if pair.id not in self._done:
                yield from _generation_texts(other)
                scanned.add(pair.id)

    def _readable_books(self) -> Iterator[tuple[str, BookKeys]]:
        """Yield the measurable books, and note these and the others."""
        for name, book in self._files.books():
            if isinstance(book, MemleakError):
                self._unread[name] = Issue.of_error("catalog", book)
            else:
                self._looked[name] = _ReadableBook(book.words, book.digest)
                yield name, book

    def _read_matching_books(self, names: set[str]) -> None:
        """Read the matching books, and keep them in the catalog's order."""
        new = sorted(names - self._surviving.keys())
        own = self._suite_book_digests if new else ()
        for name in new:
            if self._looked[name].digest not in own:
                self._surviving[name] = self._files.read(name)
        self._surviving = dict(sorted(self._surviving.items()))

    @functools.cached_property
    def _suite_book_digests(self) -> frozenset[str]:
        """Digests of the suite's books, which are scanned already."""
        scoring = self._scoring
        digests = set()
        for book in self._own_books():
            keys = book_keys(book, k=scoring.k, mode=scoring.word_mode)
            digests.add(keys.digest)
        return frozenset(digests)

    def _summary(self) -> CatalogSummary:
        books = self._looked.values()
        digests = sorted(book.digest for book in books)
        in_one = "".join(digests).encode()
        return CatalogSummary(
            books=len(books),
            words=sum(book.words for book in books),
            sha256=hashlib.sha256(in_one).hexdigest(),
            from_words=self._least,
        )

    def _unread_books(self) -> tuple[Issue, ...]:
        in_order = sorted(self._unread.items())
        return tuple(issue.placed_in(name) for name, issue in in_order)

    def _unscanned_issues(self, limits: Limits) -> tuple[Issue, ...]:
        """Return an issue for unscanned books, where a limit depends on them."""
        if not self._unread or not with_needs(limits, PASSAGES):
            return ()
        first = min(self._unread)
        place = f"unscanned books in the catalog: {first}"
        others = len(self._unread) - 1
        if others:
            place += f" (and {amount(others, 'other')})"
        issue = Issue(
            "catalog",
            str(self._unread[first]),
            "repair each such file, or remove it from the catalog",
            place,
        )
        return (issue,)

    def _matches_with_error(
        self, error: MemleakError, limits: Limits
    ) -> CatalogMatches:
        issue = Issue.of_error("catalog", error).placed_in("the catalog")
        if not with_needs(limits, PASSAGES):
            return CatalogMatches(unread=(issue, *self._unread_books()))
        missing = issue.placed_in("not scanned")
        return CatalogMatches(issues=(missing,), unread=self._unread_books())


def _generation_texts(parts: Sequence[Samples]) -> Iterator[str]:
    return (generation.text for generation in all_generations(parts))


def _texts_by_table(texts: Iterator[str]) -> Iterator[Iterator[str]]:
    """Group the texts by what one table can hold."""
    for first in texts:
        yield _texts_until_table_full(first, texts)


def _texts_until_table_full(first: str, texts: Iterator[str]) -> Iterator[str]:
    yield first
    left = _CHARACTERS - len(first)
    if left <= 0:
        return
    for text in texts:
        yield text
        left -= len(text)
        if left <= 0:
            return
