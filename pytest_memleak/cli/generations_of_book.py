"""A book and its generations from the paper's files, for `compare` and `trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.records import Book, Generation


def load_generations(book_path: Path, path: Path) -> tuple[Book, list[Generation]]:
    """Return the book, with instructions that the generations' file has, and these."""
    from pytest_memleak.formats.paper_format import (
        book_from_records,
        generations_from_records,
        load_records,
        with_recorded_instructions,
    )

    book = book_from_records(
        load_records(book_path),
        book_id=book_path.stem,
        place=str(book_path),
    )
    records = load_records(path)
    generations = generations_from_records(records, place=str(path))
    return with_recorded_instructions(book, records), generations
