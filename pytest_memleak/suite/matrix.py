"""Matrices of a suite file: many books or models in one table, expanded before anything else.

    expand(written).tables  ->  a table for each book and each model

A `[[book]]` names a folder or a table of books (CSV). A `[[model]]` lists base models, training
sets, or settings, and its training set may depend on the book that it is tested with. Whatever
reads a suite after this sees plain books and models.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.errors import SuiteError
from pytest_memleak.suite.schema import BookTable
from pytest_memleak.suite.suite_error_hints import near_keys, plain, shown
from pytest_memleak.suite.toml_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Table = dict[str, Any]

_BESIDE_BOOKS = (".summaries.json", ".csv", ".toml")
_AXES = ("base_model", "endpoint")
_TEMPLATES = ("id", "endpoint", "baseline_model")
_TAKEN = ("book", "books", *_AXES)  # placeholders with a meaning of their own
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_COLUMN = re.compile(r"[A-Za-z]\w*")
_UNFIT_FOR_IDS = re.compile(r"[^A-Za-z0-9._-]+")
_ALMOST = 0.9  # similarity of a column's name to a key of [[book]]
_LISTED = 8
_WITH_INDEX = 2  # steps of a location: the kind of a table, its index


class Expanded(NamedTuple):
    """Plain tables; and of each book and model the written table's index, and its row in a CSV."""

    tables: Table
    origins: Mapping[str, Sequence[tuple[int, str]]]

    def as_written(self, location: Sequence[int | str]) -> tuple[Sequence[int | str], str]:
        """Return a location in the written tables, and its row if it's one of a table of books."""
        origins = self.origins.get(str(location[0]), ())
        if len(location) < _WITH_INDEX or not origins:
            return location, ""
        index, row = origins[int(location[1])]
        return (location[0], index, *location[2:]), row


def expand(written: Written) -> Expanded:
    """Expand a suite file's tables.

    Leaves what has another form than [[book]] and [[model]] for validation to report. Raises
    SuiteError with file, line, and key.
    """
    tables = written.tables
    books = [
        (row, (index, place))
        for index, table in enumerate(_list_of(tables, "book"))
        for row, place in _books(table, index, written)
    ]
    expanded = tables | ({"book": [row for row, _ in books]} if books else {})
    models = [
        (model, (index, ""))
        for index, table in enumerate(_list_of(tables, "model"))
        for model in _models(table, index, expanded, written)
    ]
    expanded |= {"model": [model for model, _ in models]} if models else {}
    origins = {"book": [origin for _, origin in books], "model": [origin for _, origin in models]}
    return Expanded(expanded, origins)


class Written(NamedTuple):
    """A suite file as written."""

    tables: Table
    text: str
    path: Path

    def place(self, location: Sequence[int | str]) -> str:
        """Return file and line of a key."""
        line = line_of(self.text, location)
        return str(self.path) if line is None else f"{self.path}:{line}"

    def error(self, kind: str, index: int, key: str, problem: str, hint: str) -> SuiteError:
        """Return an error with file, line, and key."""
        place = self.place((kind, index, *key.split(".")))
        return SuiteError(f"{kind}[{index + 1}].{key}: {problem}", location=place, hint=hint)


def _list_of(tables: Table, kind: str) -> list[Any]:
    value = tables.get(kind)
    return value if isinstance(value, list) else []


# --- books ---------------------------------------------------------------------------------


def _books(table: Any, index: int, written: Written) -> Iterator[tuple[Any, str]]:
    """Yield a [[book]], or each of the books that it names, and the row of each."""
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
    for row, place in rows:
        fields = {"id": _fit_for_id(Path(row["source"]).stem)} | row
        shared = {"id": "{id}"} | table
        for key in ("id", "title", "author", "summaries"):
            if key in shared and (key == "id" or key not in row):
                shared[key] = _filled(shared[key], fields, ("book", index, key), written)
        keys = {key: row[key] for key in row if key in BookTable.model_fields and key != "id"}
        metadata = {key: row[key] for key in row if key not in BookTable.model_fields}
        if metadata and isinstance(table.get("metadata", {}), dict):
            shared["metadata"] = table.get("metadata", {}) | metadata
        yield shared | keys, place


def _books_in(folder: Path) -> list[str] | None:
    """Return the names of a folder's books; None for what is no folder, or can't be read.

    Whatever isn't known to stand beside books is one, so that no file is silently left out: what
    no reader takes is an error of its test.
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


def _rows_of_table(source: str, written: Written) -> Iterator[tuple[Table, str]]:
    """Yield the rows of a CSV file without their empty cells, and where each stands."""
    file, folder = written.path.parent / source, Path(source).parent
    try:
        reader = csv.reader(file.read_text("utf-8-sig").splitlines(), strict=True)
        heads = [head.strip() for head in next(reader, [])]
        _validate_heads(heads, file)
        for cells in reader:
            place = f"{file}:{reader.line_num}"
            if len(cells) > len(heads):
                raise SuiteError(
                    f"has {len(cells)} cells, but the first row has {len(heads)}",
                    location=place,
                    hint='quote a cell that contains a comma, as in "Le Guin, Ursula K."',
                )
            stripped = (cell.strip() for cell in cells)
            row = {head: cell for head, cell in zip(heads, stripped, strict=False) if cell}
            if not row:
                continue
            if "source" not in row:
                raise SuiteError("source: missing", location=place, hint="name the book's file")
            paths = {key: str(folder / row[key]) for key in ("source", "summaries") if key in row}
            yield row | paths, place
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SuiteError(
            f"can't be read: {getattr(error, 'strerror', None) or error}",
            location=str(file),
            hint=f"save this file, which {written.path.name} names, as CSV in UTF-8",
        ) from None


def _validate_heads(heads: Sequence[str], file: Path) -> None:
    keys = sorted(BookTable.model_fields)
    for head in heads:
        near = [] if head in keys else near_keys(head, keys, _ALMOST)
        if near:
            problem, hint = "resembles a key of [[book]]", f"write {near[0]}, or another name"
        elif head in _TAKEN:
            problem, hint = "has another meaning in a suite", "write another name"
        elif not _COLUMN.fullmatch(head) or heads.count(head) > 1:
            problem = "must be a unique name of letters, digits, and _"
            hint = "begin with a row of names, such as id,source,author,year"
        else:
            continue
        message = f"the column {plain(head)!r} {problem}"
        raise SuiteError(message, location=f"{file}:1", hint=hint)


# --- models --------------------------------------------------------------------------------


def _models(table: Any, index: int, tables: Table, written: Written) -> Iterator[Any]:
    """Yield a plain [[model]], or each that a matrix names.

    What differs by the tested book is a model of its own, tested with no other book.
    """
    if not isinstance(table, dict):
        yield table
        return
    matrix = _Matrix(table, index, tables, written)
    names: dict[str, str] = {}
    for values in itertools.product(*matrix.axes()):
        variants: dict[str, tuple[Table, list[str]]] = {}
        for book in matrix.tested_books():
            model = matrix.model(dict(values), book)
            content = json.dumps(model, sort_keys=True, default=str)
            variants.setdefault(content, (model, []))[1].append(book.get("id", ""))
        for content, (model, book_ids) in variants.items():
            name = str(model.get("id"))
            if names.setdefault(name, content) != content:
                raise matrix.same_name(name, ["book"] if len(variants) > 1 else [*dict(values)])
            yield model | ({"tests": matrix.tests_of(book_ids)} if len(variants) > 1 else {})


class _Matrix:
    """A [[model]] as written, and the books that it may name."""

    def __init__(self, table: Table, index: int, tables: Table, written: Written) -> None:
        recipe = table.get("finetune")
        self._recipe: Table = recipe if isinstance(recipe, dict) else {}
        self._index = index
        self._written = written
        self._books = [
            book
            for book in (*_list_of(tables, "book"), *_list_of(tables, "collection"))
            if isinstance(book, dict) and isinstance(book.get("id"), str)
        ]
        self._table = table
        if "tests" in table:
            self._table = table | {"tests": self._ids(table["tests"], "tests")}

    def axes(self) -> Iterator[list[tuple[str, Any]]]:
        """Yield each key with a list of values, paired with each of them."""
        keys = {key: self._table.get(key) for key in _AXES}
        keys |= {f"finetune.{key}": value for key, value in self._recipe.items()}
        for key, values in keys.items():
            if not isinstance(values, list):
                continue
            if key == "finetune.books" and not any(isinstance(value, list) for value in values):
                continue  # a list by itself
            if not values:
                raise self._error(key, "the list is empty", "name a value, or remove the key")
            yield [(key, value) for value in values]

    def tested_books(self) -> list[Table]:
        """Return the books by which the model may differ; a book without keys for any."""
        texts = [self._table.get(key) for key in _TEMPLATES]
        varies = re.search("[{:]", json.dumps([*texts, self._recipe.get("books")], default=str))
        chosen = self._table.get("tests")
        return [
            book
            for book in self._books
            if varies
            and book.get("role", "test") == "test"
            and (not isinstance(chosen, list) or book["id"] in chosen)
        ] or [{}]

    def tests_of(self, book_ids: list[str]) -> Any:
        """Return the tests of a variant for these books; for validation, what names no other."""
        chosen = self._table.get("tests", [])
        if not isinstance(chosen, list):
            return chosen
        tested = [book["id"] for book in self.tested_books()]
        return book_ids + [entry for entry in chosen if entry not in tested]

    def model(self, values: Table, book: Table) -> Table:
        """Return the model of these values of the axes for a test with this book."""
        model, recipe = dict(self._table), dict(self._recipe)
        fields = _fields_of(book) | {key: model[key] for key in _AXES if key in model}
        for key, value in values.items():
            name = key.removeprefix("finetune.")
            (model if key in _AXES else recipe)[name] = fields[name] = value
        if isinstance(books := fields.get("books"), list):
            fields["books"] = " ".join(str(entry).rpartition(":")[2] for entry in books)
        if "books" in recipe:
            recipe["books"] = self._ids(recipe["books"], "finetune.books", fields)
            model["finetune"] = recipe
        names = {name: _fit_for_id(str(value)) for name, value in fields.items()}
        for key in _TEMPLATES:
            if key in model:
                model[key] = self._filled(key, model[key], fields if key == "endpoint" else names)
        return model

    def same_name(self, name: str, axes: Sequence[str]) -> SuiteError:
        """Return the error of a name that several models have."""
        placeholders = (f"{{{axis.removeprefix('finetune.')}}}" for axis in axes)
        missing = [text for text in placeholders if text not in self._table["id"]]
        problem = f"several models have the id {shown(name)}"
        return self._error("id", problem, f"add {' and '.join(missing)} to the id")

    def _ids(self, entries: Any, key: str, fields: Mapping[str, Any] | None = None) -> Any:
        """Replace selectors such as "author:murakami" by the IDs of the books that they select.

        fields: of the tested book, which no selector selects
        """
        entries = [entries] if isinstance(entries, str) and ":" in entries else entries
        if not isinstance(entries, list) or not any(":" in str(entry) for entry in entries):
            return entries
        ids: dict[str, None] = {}
        for written in map(str, entries):
            entry = self._filled(key, written, fields or {})
            name, colon, value = entry.partition(":")
            if not colon:
                ids[entry] = None
                continue
            valued = {book["id"]: _fields_of(book).get(name) for book in self._books}
            chosen = [book_id for book_id, text in valued.items() if _has_words(text, value)]
            if not chosen:
                texts = dict.fromkeys(str(text) for text in valued.values() if text is not None)
                listed = ", ".join(map(shown, [*texts][:_LISTED])) or "none"
                hint = f"values of {plain(name)}: {listed}"
                raise self._error(key, f"no book matches {shown(entry)}", hint)
            ids |= dict.fromkeys(chosen)
        tested = (fields or {}).get("book", "")
        ids.pop(tested, None)
        if not ids:
            problem = f"no book is left to train on for the test with {shown(tested)}"
            hint = "add a book that matches, or list the books to test in tests"
            raise self._error(key, problem, hint)
        return [*ids]

    def _filled(self, key: str, value: Any, fields: Mapping[str, Any]) -> Any:
        return _filled(value, fields, ("model", self._index, key), self._written)

    def _error(self, key: str, problem: str, hint: str) -> SuiteError:
        return self._written.error("model", self._index, key, problem, hint)


def _fields_of(book: Table) -> Table:
    """Return what selectors and placeholders may name of a book."""
    metadata = book.get("metadata", {})
    fields = dict(metadata) if isinstance(metadata, dict) else {}
    fields |= {"book": book.get("id"), "role": book.get("role", "test")} if book else {}
    return fields | {key: book[key] for key in ("title", "author") if key in book}


def _has_words(text: object, wanted: str) -> bool:
    """Whether a value contains these words in a row, whatever their case."""
    words, wanted_words = (
        " ".join(re.findall(r"\w+", str(value).casefold())) for value in (text, wanted)
    )
    return text is not None and f" {wanted_words} " in f" {words} "


def _filled(
    value: Any, fields: Mapping[str, Any], location: tuple[str, int, str], written: Written
) -> Any:
    """Replace the placeholders of a text. Raises SuiteError for one without a value."""
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        if match[1] not in fields:
            problem = f"{shown(value)} has the unknown placeholder {shown(match[0])}"
            hint = f"known names: {', '.join(sorted(fields)) or 'none'}"
            raise written.error(*location, problem, hint)
        return str(fields[match[1]])

    return _PLACEHOLDER.sub(fill, value)


def _fit_for_id(text: str) -> str:
    return _UNFIT_FOR_IDS.sub("-", text).strip("-._")
