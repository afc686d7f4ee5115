"""Provider `recorded`: generations that were sampled elsewhere and are read from files.

    [[model]]
    id = "gpt-4o-murakami"
    provider = "recorded"
    [model.options]
    path = "generations/gpt-4o/{book}.json"     # beside the suite file

`{book}` stands for the book's id. The files are of the paper's form
(`pytest_memleak.formats.paper_format`), or logs whose rows have the excerpts' ids
(`pytest_memleak.formats.rows_as_records`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator

from pytest_memleak.errors import RecordsError, SuiteError
from pytest_memleak.formats.log_files import load_rows_as_records, reader_of
from pytest_memleak.formats.paper_format import (
    book_facts_in_records,
    generations_from_records,
    validate_excerpt_ids,
    with_recorded_instructions,
)
from pytest_memleak.interfaces.abilities import Abilities, Recording
from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.providers.option_tables import Table, read_table
from pytest_memleak.records import Book, Generation
from pytest_memleak.records.provenance import RecordedAs

BOOK = "{book}"


def _path_of_records(value: str) -> str:
    try:
        reader_of(Path(value))
    except RecordsError as error:
        raise ValueError(f"expected a file of generations: {error.hint}") from None
    if "{" in value.replace(BOOK, "") or "}" in value.replace(BOOK, ""):
        raise ValueError("the only placeholder a path may have is {book}")
    return value


class RecordedOptions(Table):
    """`[model.options]` of a `recorded` model.

    path: the file of generations, relative to the suite file; `{book}` stands for the
        book's id
    """

    path: Annotated[str, AfterValidator(_path_of_records)]


class _RecordedFile:
    """A file as it was read; version: what a write to it changes."""

    def __init__(self, path: Path, version: tuple[object, ...]) -> None:
        self.path = path
        self.version = version
        self.records: list[Any] = load_rows_as_records(path)

    @cached_property
    def generations(self) -> list[Generation]:
        generations = generations_from_records(self.records, place=str(self.path))
        for record in self.records:
            record.pop("generations", None)  # frees their objects
        return generations


class RecordedEndpoint:
    """The generations in a file for each book; nothing can be sampled from it."""

    def __init__(
        self,
        path: str,
        *,
        root: Path,
        place: str,
    ) -> None:
        self._path = path
        self._root = root
        self._place = place
        self._file: _RecordedFile | None = None

    @property
    def abilities(self) -> Abilities:
        """A recording, and nothing else."""
        recording = Recording(
            self.with_instructions,
            self.generations,
            self.described,
            self.close,
        )
        return Abilities(recording=recording)

    def sample(self, instruction: str, **settings: object) -> NoReturn:  # noqa: ARG002
        """Raise SuiteError."""
        raise SuiteError(
            "Recorded generations can't be resampled",
            location=self._place,
            hint="use a model from a different provider",
        )

    def with_instructions(self, book: Book) -> Book:
        """Return the book with the records' instructions, if they have any."""
        return with_recorded_instructions(
            book, self._read_unless_unchanged(book).records
        )

    def described(self, book: Book) -> Iterator[RecordedAs]:
        """Yield what the records say of their book."""
        return book_facts_in_records(self._read_unless_unchanged(book).records)

    def generations(self, book: Book) -> Iterator[Generation]:
        """Yield every generation for the book, in the order of its excerpts' ids.

        Excerpts without a record have none. Raises SuiteError for a missing file,
        RecordsError for records of another form or of excerpts that the book doesn't
        have.
        """
        file = self._read_unless_unchanged(book)
        hint = (
            "name the file recorded for this book and these excerpts; this one belongs "
            "to others"
            if BOOK in self._path
            else f"for several books, put {BOOK} in options.path: one file per book"
        )
        validate_excerpt_ids(file.generations, book, place=str(file.path), hint=hint)
        return iter(file.generations)

    def close(self) -> None:
        """Free the file that was read last."""
        self._file = None

    def _read_unless_unchanged(self, book: Book) -> _RecordedFile:
        """Read the book's file, unless it was read last and hasn't changed."""
        path = self._root / self._path.replace(BOOK, book.id)
        if not path.is_file():
            raise SuiteError(
                f"options.path: no such file {path}",
                location=self._place,
                hint=f"put the generations for the book {book.id!r} there, or "
                "correct the path",
            )
        status = path.stat()
        version = path, status.st_ino, status.st_size, status.st_mtime_ns
        if self._file is None or self._file.version != version:
            self._file = None  # before the next one is in memory, too
            self._file = _RecordedFile(path, version)
        return self._file


class RecordedProvider:
    """Opens recorded generations; raises SuiteError for wrong options."""

    name = "recorded"
    concurrency = 1
    completions_per_call = 1
    batch = False

    def __init__(self, setup: ProviderSetup) -> None:
        self._setup = setup
        self._options = read_table(
            RecordedOptions,
            setup.model.options,
            place=setup.place,
            name="options",
        )
        if setup.model.finetune_books or setup.model.finetune:
            self._raise_unsupported("be fine-tuned", "remove [model.finetune]")
        if setup.model.endpoint is not None:
            self._raise_unsupported(
                "have an endpoint",
                "remove endpoint; options.path names the generations",
            )

    def open(self, endpoint: str | None) -> RecordedEndpoint:
        """Return the recording. Raises SuiteError for any other endpoint than None."""
        if endpoint is not None:
            self._raise_unsupported(
                "have an endpoint",
                "remove endpoint; options.path names the generations",
            )
        return RecordedEndpoint(
            self._options.path,
            root=self._setup.root,
            place=self._setup.place,
        )

    def _raise_unsupported(self, what: str, hint: str) -> NoReturn:
        raise SuiteError(
            f"Recorded generations can't {what}",
            location=self._setup.place,
            hint=hint,
        )
