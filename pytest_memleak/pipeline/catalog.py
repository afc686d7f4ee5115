"""The catalog of a suite: protected works that are scanned for but never prompted.

    held = catalog.held_by(written)   -> the books that share long runs with the generations

The generations make a table, and the catalog streams past it: once for all pairs whose generations
are stored, and once for each pair that is still to be sampled. The few matching books go to the
exact index with the suite's own books (METRICS section 11).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_memleak.books.catalog_file import CatalogFile, Part, is_catalog_file
from pytest_memleak.errors import BookError, MemleakError, SuiteError
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.pipeline.required_samples import all_generations
from pytest_memleak.records import Issue
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, book_keys
from pytest_memleak.scoring.measure_table import asks_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.pipeline.required_samples import Samples
    from pytest_memleak.pipeline.resources import Scan
    from pytest_memleak.records import Book, Limits, Scoring, Suite
    from pytest_memleak.scoring.catalog_scan import BookKeys, ScannedBook, Shard


_One = TypeVar("_One")

_QUOTATION = 12

# A table takes some eight times these bytes.
_CHARACTERS = 60_000_000

# Of the books that are read where they are looked for, one shard after the other.
_SHARD_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class CatalogMatches:
    """What a pair's answers are to be held against beside the suite's own books.

    books:  of the catalog, by the names that reports give them
    least:  the words from which on a passage of them counts
    issues:   what of the catalog was not looked for, where a limit rests on it
    unread: the books that could not be looked for, and why
    told:   how many books and words there are, and a digest of all
    """

    books: tuple[Book, ...] = ()
    least: int = 0
    issues: tuple[Issue, ...] = ()
    unread: tuple[str, ...] = ()
    summary: Mapping[str, object] | None = None


def min_passage_words(suite: Suite) -> int:
    """The words from which on passages of a catalog count, so that no limit depends on shorter.

    Runs of twelve words and more that two works share are quotations (METRICS section 11).
    """
    scoring = suite.pairs[0].scoring
    limits = [
        pair.limits["longest_passage"] for pair in suite.pairs if "longest_passage" in pair.limits
    ]
    words = [_QUOTATION, scoring.span_threshold + 1, *(int(limit) + 1 for limit in limits)]
    return max(scoring.k, min(words))


def validate_catalog(suite: Suite) -> None:
    """Raise BookError for a catalog file that is damaged, SuiteError for one of other words."""
    for path in suite.catalog:
        if is_catalog_file(path):
            _refuse_other_words(CatalogFile(path), suite)


class Catalog:
    """The catalog of one suite; `stored_samples` gives other pairs' stored generations."""

    def __init__(
        self,
        suite: Suite,
        reader: CatalogReader,
        *,
        own_books: Callable[[], Iterable[Book]],
        stored_samples: Callable[..., Iterator[Sequence[Samples]]],
        scan: Callable[[], Scan],
    ) -> None:
        self._suite = suite
        self._reader = reader
        self._own_books = own_books
        self._at_hand = stored_samples
        self._scan = scan
        self._least = min_passage_words(suite)
        self._looked: dict[str, ScannedBook] = {}
        self._unread: dict[str, str] = {}
        self._surviving: dict[str, Book] = {}
        self._done: set[str] = set()

    def matches(self, parts: Sequence[Samples]) -> CatalogMatches:
        """The books of the catalog that these texts, and perhaps others', share long runs with.

        What fails is told; where a limit rests on it the pair's evidence is not complete.
        """
        if not self._suite.catalog:
            return CatalogMatches()
        required = parts[0].required
        pair = required.pair
        try:
            if pair.id not in self._done or required.endpoint is not None:
                self._look_for(parts)
        except MemleakError as error:
            return self._failed(error, pair.limits)
        if not self._looked:
            return self._failed(BookError("none of its books can be read"), pair.limits)
        books, unread = tuple(self._surviving.values()), self._told_unread()
        return CatalogMatches(books, self._least, self._issues(pair.limits), unread, self._told())

    def _look_for(self, parts: Sequence[Samples]) -> None:
        together, of_suite = [parts], parts[0].required.endpoint is None
        if of_suite:
            others = self._at_hand(parts)
            together += [other for other in others if other[0].required.pair.id not in self._done]
        shards = list(self._shards())
        scoring = self._suite.pairs[0].scoring
        for texts in _some_at_a_time(chain.from_iterable(map(_texts, together))):
            table = GenerationPrefilter(texts, k=scoring.k, mode=scoring.word_mode)
            scans = list(self._scan()(shards, table, least=self._least))
            for scan in scans:
                self._looked |= {book.name: book for book in scan.books}
                self._unread |= scan.unread
            self._read({book.name for scan in scans for book in scan.matches})
        if of_suite:
            self._done |= {pair_parts[0].required.pair.id for pair_parts in together}

    def _read(self, names: set[str]) -> None:
        """Read the text of the books that survived; they stand in the catalog's order."""
        new = sorted(names - self._surviving.keys())
        own = self._own_digests if new else ()
        for name in new:
            if self._looked[name].digest not in own:
                self._surviving[name] = self._book(name)
        self._surviving = dict(sorted(self._surviving.items()))

    @functools.cached_property
    def _own_digests(self) -> frozenset[str]:
        """Of the suite's books, which are looked for already."""
        scoring = self._suite.pairs[0].scoring
        book_keys_of_suite = (
            book_keys(book, k=scoring.k, mode=scoring.word_mode) for book in self._own_books()
        )
        return frozenset(keys.digest for keys in book_keys_of_suite)

    def _book(self, name: str) -> Book:
        path, sha256 = self._sources[name]
        if sha256 is not None and _sha256(path) != sha256:
            raise BookError(
                "an answer shares a long run with it, and its file is gone or another than the "
                "catalog was prepared from",
                location=name,
                hint="put it back, or build it again: memleak catalog build DIR -o FILE",
            )
        return dataclasses.replace(self._reader.read(path), id=name)

    # --- sources ---------------------------------------------------------------------------

    @functools.cached_property
    def _sources(self) -> dict[str, tuple[Path, str | None]]:
        """By name each book's file, and its SHA-256 where it was prepared."""
        sources: dict[str, tuple[Path, str | None]] = {}
        root = self._suite.path.parent
        for path in self._suite.catalog:
            if is_catalog_file(path):
                file = CatalogFile(path)
                for book in file.books:
                    source = file.source(book)
                    sources.setdefault(catalog_name(source, root), (source, book.sha256))
            else:
                sources[catalog_name(path, root)] = path, None
        return sources

    def _shards(self) -> Iterator[Shard]:
        return catalog_shards(self._suite, self._reader, most=_SHARD_BYTES)

    # --- telling ---------------------------------------------------------------------------

    def _told(self) -> dict[str, object]:
        scanned = [self._looked[name] for name in sorted(self._looked)]
        digests = "".join(sorted(book.digest for book in scanned))
        return {
            "books": len(scanned),
            "words": sum(book.words for book in scanned),
            "sha256": hashlib.sha256(digests.encode()).hexdigest(),
            "from_words": self._least,
        }

    def _told_unread(self) -> tuple[str, ...]:
        return tuple(f"{name}: {why}" for name, why in sorted(self._unread.items()))

    def _issues(self, limits: Limits) -> tuple[Issue, ...]:
        """A book that could not be looked for is one that the answers may recite."""
        if not self._unread or not asks_for(limits, "passages"):
            return ()
        name, why = min(self._unread.items())
        others = f" (and {amount(len(self._unread) - 1, 'other')})" if len(self._unread) > 1 else ""
        cause = f"{name}{others} of the catalog was not looked for: {why}"
        return (Issue("catalog", cause, "mend it, or take it out of the catalog"),)

    def _failed(self, error: MemleakError, limits: Limits) -> CatalogMatches:
        cause = f"the catalog: {error.line}"
        if not asks_for(limits, "passages"):
            return CatalogMatches(unread=(cause, *self._told_unread()))
        issue = Issue("catalog", f"not looked for: {cause}")
        return CatalogMatches(issues=(issue,), unread=self._told_unread())


def catalog_shards(suite: Suite, reader: CatalogReader, *, most: int) -> Iterator[Shard]:
    """The suite's catalog in shards of so many bytes that are to be read, or a book each."""
    root = suite.path.parent
    loose: list[tuple[str, Path]] = []
    for path in suite.catalog:
        if is_catalog_file(path):
            file = CatalogFile(path)
            named = [(catalog_name(file.source(book), root), book) for book in file.books]
            for some in _up_to(named, [book.nbytes for book in file.books], most):
                yield Part(path, tuple(some))
        else:
            loose.append((catalog_name(path, root), path))
    for files in _up_to(loose, [_size(path) for _, path in loose], most):
        yield CatalogBooks(tuple(files), reader)


def _refuse_other_words(file: CatalogFile, suite: Suite) -> None:
    mode = suite.pairs[0].scoring.word_mode
    if file.mode != mode:
        raise SuiteError(
            f"the catalog {file.path.name} was made for word_mode = {file.mode!r}, and the suite "
            f"measures words = {mode!r}",
            location=str(suite.path),
            hint=f"build it again: memleak catalog build DIR -o {file.path.name} --word-mode "
            f"{mode}",
        )


def _up_to(items: Sequence[_One], sizes: Iterable[int], most: int) -> Iterator[list[_One]]:
    some: list[_One] = []
    left = most
    for element, size in zip(items, sizes, strict=True):
        if some and size > left:
            yield some
            some, left = [], most
        some.append(element)
        left -= size
    if some:
        yield some


def _texts(parts: Sequence[Samples]) -> Iterator[str]:
    return (generation.text for generation in all_generations(parts))


def _some_at_a_time(texts: Iterator[str]) -> Iterator[Iterator[str]]:
    """The texts, as many together as one table may hold."""
    for first in texts:
        yield _until_full(first, texts)


def _until_full(first: str, texts: Iterator[str]) -> Iterator[str]:
    yield first
    left = _CHARACTERS - len(first)
    while left > 0 and (text := next(texts, None)) is not None:
        yield text
        left -= len(text)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone since it was found: its reader says so
        return 0


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def catalog_name(path: Path, root: Path) -> str:
    """What a book of a catalog is called: its file's path from the suite's folder.

    It has a slash, which no id in a suite file has.
    """
    name = Path(os.path.relpath(path, root)).as_posix()
    return name if "/" in name else f"./{name}"


class CatalogReader:
    """Reads books without instructions; elsewhere with the readers that are installed there."""

    def __init__(self, scoring: Scoring, extensions: Extensions | None = None) -> None:
        self.scoring = scoring
        self._extensions = extensions or Extensions()

    def __reduce__(self) -> tuple[object, ...]:
        """A plugin of this process need not be there where the reader goes."""
        return CatalogReader, (self.scoring,)

    def read(self, path: Path) -> Book:
        """The book, cut; BookError or RecordsError where it cannot be read."""
        from pytest_memleak.books.build_book import make_book

        read = self._extensions.read_book(path)
        if isinstance(read, Manuscript):
            return make_book(path.name, read, mode=self.scoring.word_mode)
        return read

    def keys(self, path: Path) -> BookKeys:
        """Its keys; BookError also where it cannot be measured."""
        return book_keys(self.read(path), k=self.scoring.k, mode=self.scoring.word_mode)


@dataclass(frozen=True, slots=True)
class CatalogBooks:
    """Some files, by the names that they have in a run: a shard of a library."""

    files: tuple[tuple[str, Path], ...]
    reader: CatalogReader

    def books(self) -> Iterator[tuple[str, BookKeys | MemleakError]]:
        """Each book's keys, or why there are none."""
        for name, path in self.files:
            try:
                keys = self.reader.keys(path)
            except MemleakError as error:
                yield name, error
            else:
                yield name, keys
