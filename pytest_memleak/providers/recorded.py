"""Provider `recorded`: generations that were drawn elsewhere and are read from files.

    [[model]]
    id = "gpt-4o-murakami"
    provider = "recorded"
    [model.options]
    path = "generations/gpt-4o/{book}.json"     # .json or .jsonl, beside the suite file

`{book}` stands for the book's id. The files are of the paper's form
(`pytest_memleak.records.paper_format`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, NoReturn

from pydantic import AfterValidator

from pytest_memleak.errors import SuiteError
from pytest_memleak.interfaces.abilities import Abilities, Recording
from pytest_memleak.interfaces.protocols import JobState, ProviderSetup, TrainingSet
from pytest_memleak.providers.option_tables import Table, read_table
from pytest_memleak.records import Book, Generation
from pytest_memleak.records.paper_format import (
    described_records,
    generations_from_records,
    load_records,
    validate_excerpt_ids,
    with_recorded_instructions,
)
from pytest_memleak.records.provenance import RecordedAs

BOOK = "{book}"


def _path_of_records(value: str) -> str:
    if Path(value).suffix.lower() not in {".json", ".jsonl"}:
        raise ValueError("expected the path of a .json or .jsonl file")
    if "{" in value.replace(BOOK, "") or "}" in value.replace(BOOK, ""):
        raise ValueError("the only placeholder a path may have is {book}")
    return value


class RecordedOptions(Table):
    """`[model.options]` of a `recorded` model."""

    path: Annotated[str, AfterValidator(_path_of_records)]
    """The file of generations, relative to the suite file; `{book}` stands for the book's id."""


class _Read:
    """What a file held: its records, and the generations in them."""

    def __init__(self, path: Path, version: tuple[int, ...], records: list[object]) -> None:
        self.path, self.version, self.records = path, version, records

    @cached_property
    def generations(self) -> list[Generation]:
        return generations_from_records(self.records, place=str(self.path))


def _version_of(path: Path) -> tuple[int, ...]:
    seen = path.stat()
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


class RecordedEndpoint:
    """The generations in a file for each book; nothing can be sampled from it."""

    def __init__(self, path: str, *, root: Path, place: str) -> None:
        self._path = path
        self._root = root
        self._place = place
        self._read: _Read | None = None

    @property
    def abilities(self) -> Abilities:
        """A recording, and nothing else."""
        recording = Recording(self.asked, self.generations, self.described, self.close)
        return Abilities(recording=recording)

    def sample(self, instruction: str, **settings: object) -> NoReturn:  # noqa: ARG002
        """Raises SuiteError."""
        raise SuiteError(
            "Recorded generations can't be resampled",
            location=self._place,
            hint="Name a model of another provider.",
        )

    def asked(self, book: Book) -> Book:
        """The book with the instructions that the records say were asked, if they do."""
        return with_recorded_instructions(book, self._reading(book).records)

    def described(self, book: Book) -> Iterator[RecordedAs]:
        """What the records say of which book they are."""
        return described_records(self._reading(book).records)

    def generations(self, book: Book) -> Iterator[Generation]:
        """Every generation for `book`, in the order of its excerpts' ids, ordinals from 0.

        Excerpts without a record give none. Raises SuiteError where there is no file, and
        RecordsError for records of another form or of excerpts that `book` does not have.
        """
        read = self._reading(book)
        hint = (
            "these generations belong to another book or to other excerpts"
            if BOOK in self._path
            else f"with several books, write {BOOK} in options.path to name a file for each"
        )
        validate_excerpt_ids(read.generations, book, place=str(read.path), hint=hint)
        return iter(read.generations)

    def close(self) -> None:
        """Free the file that was read last."""
        self._read = None

    def _file(self, book: Book) -> Path:
        return self._root / self._path.replace(BOOK, book.id)

    def _reading(self, book: Book) -> _Read:
        """The file, read once for as long as no other is asked for and nobody writes to it."""
        path = self._file(book)
        if not path.is_file():
            raise SuiteError(
                f"options.path: no such file {path}",
                location=self._place,
                hint=f"Put the generations for the book {book.id!r} there, or correct the path.",
            )
        version = _version_of(path)
        if self._read is None or self._read.path != path or self._read.version != version:
            self._read = None  # before the next one is in memory, too
            self._read = _Read(path, version, load_records(path))
        return self._read


class RecordedProvider:
    """Opens recorded generations; raises SuiteError for bad options and for a fine-tune."""

    name = "recorded"
    concurrency = 1
    completions_per_call = 1
    batch = False

    def __init__(self, setup: ProviderSetup) -> None:
        self._setup = setup
        self._options = read_table(
            RecordedOptions, setup.model.options, place=setup.place, name="options"
        )
        if setup.model.finetune_books or setup.model.finetune:
            self._refuse("be fine-tuned", "remove [model.finetune]")
        if setup.model.endpoint is not None:
            self._refuse("have an endpoint", "remove endpoint; options.path names the generations")

    def find_finetune(self, digest: str) -> str | None:  # noqa: ARG002 - the protocol's name
        """None: there are no jobs."""
        return None

    def start_finetune(self, training: TrainingSet) -> NoReturn:  # noqa: ARG002
        """Raises SuiteError."""
        self._refuse("be fine-tuned", "remove [model.finetune]")

    def poll_finetune(self, job_id: str) -> JobState:  # noqa: ARG002
        """Raises SuiteError."""
        self._refuse("be fine-tuned", "remove [model.finetune]")

    def open(self, endpoint: str | None) -> RecordedEndpoint:
        """The recording; any other endpoint than None is a SuiteError."""
        if endpoint is not None:
            self._refuse("have an endpoint", "remove endpoint; options.path names the generations")
        return RecordedEndpoint(self._options.path, root=self._setup.root, place=self._setup.place)

    def _refuse(self, what: str, hint: str) -> NoReturn:
        raise SuiteError(
            f"Recorded generations can't {what}", location=self._setup.place, hint=hint
        )
