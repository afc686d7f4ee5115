"""The books of a `[[book]]` that names a folder, or a table of books (CSV)."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import SuiteError, file_errors
from pytest_memleak.suite.schema import BookTable
from pytest_memleak.suite.suite_error_hints import near_keys
from pytest_memleak.suite.written_suite import as_id_part, safe_key, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.suite.written_suite import Table, WrittenSuite

    TableAndRow = tuple[Any, str]

_BESIDE_BOOKS = (".summaries.json", ".csv", ".toml")
_TAKEN = ("book", "books", "base_model", "endpoint")  # placeholders of models
_COLUMN = re.compile(r"[A-Za-z]\w*")
_ALMOST = 0.9  # similarity of a column's name to a key of [[book]]
_UNREADABLE = (OSError, UnicodeDecodeError, csv.Error)


def expand_book(
    table: Any,
    index: int,
    written: WrittenSuite,
) -> Iterator[TableAndRow]:
    """Yield a [[book]], or each book that it names; and the row of each in a CSV.

    Raises SuiteError with file, and row or key.
    """
    source = table.get("source") if isinstance(table, dict) else None
    if not isinstance(source, str) or not source or "\0" in source:
        yield table, ""
        return
    if source.lower().endswith(".csv"):
        rows = [*_rows_of_table(source, written)]
    elif (names := _books_in(written.path.parent / source)) is not None:
        rows = [({"source": str(Path(source, name))}, "") for name in names]
    else:
        yield table, ""
        return
    if not rows:
        problem = f"{shown(source)} contains no book"
        hint = "name a book, a folder of books, or a CSV with a row for each"
        raise written.error("book", index, "source", problem, hint)
    columns: set[str] = set()
    for row, _ in rows:
        columns.update(row)
    for row, place in rows:
        yield _book_of_row(row, place, table, index, written, columns), place


def _book_of_row(
    row: Table,
    place: str,
    table: Table,
    index: int,
    written: WrittenSuite,
    columns: set[str],
) -> Table:
    """Return a [[book]] with the cells of a row, and its texts filled in with them."""
    fields = {"id": as_id_part(Path(row["source"]).stem)} | row
    book = {"id": "{id}"} | table
    for key in ("id", "title", "author", "summaries"):
        if key in book and (key == "id" or key not in row):
            at = ("book", index, key)
            book[key] = written.filled(
                book[key],
                fields,
                at,
                place=place,
                names=columns,
            )
    metadata = {key: row[key] for key in row if key not in BookTable.model_fields}
    if metadata and isinstance(table.get("metadata", {}), dict):
        book["metadata"] = table.get("metadata", {}) | metadata
    own = {key: row[key] for key in row if key not in metadata and key != "id"}
    return book | own


def _books_in(folder: Path) -> list[str] | None:
    """Return the names of a folder's books; None for no folder, or an unreadable one.

    Whatever isn't known to stand beside books is one, so that no file is silently left
    out: what no reader takes is an error of its test.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are what is wanted
    except OSError:
        return None
    return [
        name
        for name in names
        if not name.lower().endswith(_BESIDE_BOOKS)
        and (Path(name).suffix or not name.startswith("."))  # such as .DS_Store, .git
    ]


def _rows_of_table(source: str, written: WrittenSuite) -> Iterator[tuple[Table, str]]:
    """Yield the rows of a CSV file without their empty cells, and where each stands."""
    file = written.path.parent / source
    folder = Path(source).parent
    hint = f"save this file, which {written.path.name} names, as CSV in UTF-8"
    with file_errors(SuiteError, file, hint=hint, causes=_UNREADABLE):
        reader = csv.reader(file.read_text("utf-8-sig").splitlines(), strict=True)
        heads = [head.strip() for head in next(reader, [])]
        _validate_heads(heads, file)
        for cells in reader:
            place = f"{file}:{reader.line_num}"
            if len(cells) > len(heads):
                raise SuiteError(
                    f"has {len(cells)} cells, but the first row has {len(heads)}",
                    location=place,
                    hint='quote a cell that contains a comma, as in "Le Guin, Ursula '
                    'K."',
                )
            stripped = (cell.strip() for cell in cells)
            row = {
                head: cell for head, cell in zip(heads, stripped, strict=False) if cell
            }
            if not row:
                continue
            if "source" not in row:
                raise SuiteError(
                    "source: missing",
                    location=place,
                    hint="name the book's file",
                )
            paths = {
                key: str(folder / row[key])
                for key in ("source", "summaries")
                if key in row
            }
            yield row | paths, place


def _validate_heads(heads: Sequence[str], file: Path) -> None:
    keys = sorted(BookTable.model_fields)
    for head in heads:
        if head not in keys and (near := near_keys(head, keys, _ALMOST)):
            problem = "resembles a key of [[book]]"
            hint = f"write {near[0]}, or another name"
        elif head in _TAKEN:
            problem = "has another meaning in a suite"
            hint = "write another name"
        elif not _COLUMN.fullmatch(head) or heads.count(head) > 1:
            problem = "must be a unique name of letters, digits, and _"
            hint = "begin with a row of names, such as id,source,author,year"
        else:
            continue
        message = f"the column {safe_key(head)!r} {problem}"
        raise SuiteError(message, location=f"{file}:1", hint=hint)
