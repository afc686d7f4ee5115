"""Files of generations measured against their books, as the gate measures a pair's.

Calls no model and judges nothing: for `memleak score` and the data of a paper.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.books.build_book import make_book
from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.paper_format import (
    generations_from_records,
    load_records,
    validate_excerpt_ids,
    with_recorded_instructions,
)
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.protocols import Manuscript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_memleak.records import Book, Generation, Measurement, Scoring
    from pytest_memleak.scoring.analysis import Analysis


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """The measurement of one file of generations.

    source, drawn: the two files; analysis: None for a file without generations
    """

    source: Path
    generations_file: Path
    book: Book
    measurement: Measurement
    analysis: Analysis | None


def score_files(
    files: Sequence[tuple[Path, Path]],
    scoring: Scoring,
    *,
    near: bool = False,
) -> Iterator[ScoredFile]:
    """Measure each file of generations; passages of all these books count.

    files: book and generations, in pairs. A book has any readable format, cut as a
    suite cuts it, or is excerpts in the paper's format; generations are in the paper's
    format. near: also measure near-verbatim recall, which takes far longer.

    Raises BookError, RecordsError, or SettingsError for what can't be read or measured.
    """
    extensions = Extensions()
    books = {}
    for source, _ in files:
        books[source] = _read_book(source, extensions, scoring)
    drawn = [_book_and_generations(path, books[source]) for source, path in files]

    # With numpy: bad files raise without it.
    from pytest_memleak.scoring.analysis import analyze
    from pytest_memleak.scoring.four_measures import measure
    from pytest_memleak.scoring.generation_tally import validate_scoring
    from pytest_memleak.scoring.multi_book_index import SharedIndex
    from pytest_memleak.scoring.protected_passages import Protected

    validate_scoring(scoring)
    index = SharedIndex(list(books.values()), k=scoring.k, mode=scoring.word_mode)
    book_ids = [book.id for book in books.values()]
    for (source, path), (book, generations) in zip(files, drawn, strict=True):
        others = [book_id for book_id in book_ids if book_id != book.id]
        protected = Protected(index, book.id, (book.id, *others))
        analysis = analyze(book, generations, scoring, near=near, protected=protected)
        if analysis is not None:
            measurement = analysis.measurement
        else:
            measurement = measure(book, generations, scoring)
        yield ScoredFile(source, path, book, measurement, analysis)


def _read_book(
    path: Path,
    extensions: Extensions,
    scoring: Scoring,
) -> Book:
    """Read the book by its path: files in two folders may share a name."""
    read = extensions.read_book(path)
    if isinstance(read, Manuscript):
        return make_book(str(path), read, mode=scoring.word_mode)
    return dataclasses.replace(read, id=str(path))


def _book_and_generations(path: Path, book: Book) -> tuple[Book, list[Generation]]:
    """Return the book with the records' instructions, and the generations."""
    records = load_records(path)
    if not records:
        raise RecordsError("there are no records", location=str(path))
    generations = generations_from_records(records, place=str(path))
    validate_excerpt_ids(generations, book, place=str(path))
    return with_recorded_instructions(book, records), generations
