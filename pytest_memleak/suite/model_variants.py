"""The models of a `[[model]]` that lists base models, training sets, or settings.

Its training set may depend on the book that it is tested with.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from pytest_memleak.suite.written_suite import fit_for_id, plain, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.errors import SuiteError
    from pytest_memleak.suite.written_suite import Table, WrittenSuite

_AXES = ("base_model", "endpoint")
_TEMPLATES = ("id", "endpoint", "baseline_model")
_UNTESTED = ("train", "negative-control")
_LISTED = 8


def expand_model(
    table: Any, index: int, books: Mapping[str, Any], written: WrittenSuite
) -> Iterator[Any]:
    """Yield a plain [[model]], or each that a matrix names.

    What differs by the tested book is a model of its own, tested with no other book.
    books: the tables of books and collections by their places. Raises SuiteError.
    """
    if not isinstance(table, dict):
        yield table
        return
    matrix = _Matrix(table, index, books, written)
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
                raise matrix.same_name(
                    name, ["book"] if len(variants) > 1 else [*dict(values)]
                )
            yield model | (
                {"tests": matrix.tests_of(book_ids)} if len(variants) > 1 else {}
            )


class _Matrix:
    """A [[model]] as written, and the books that it may name."""

    def __init__(
        self, table: Table, index: int, books: Mapping[str, Any], written: WrittenSuite
    ) -> None:
        recipe = table.get("finetune")
        self._recipe: Table = recipe if isinstance(recipe, dict) else {}
        self._index = index
        self._written = written
        named = {
            place: book
            for place, book in books.items()
            if isinstance(book, dict) and isinstance(book.get("id"), str)
        }
        self._books = [*named.values()]
        self._places = {book["id"]: place for place, book in named.items()}
        self._names = {name for book in self._books for name in _fields_of(book)}
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
            if key == "finetune.books" and not any(
                isinstance(value, list) for value in values
            ):
                continue  # a list by itself
            if not values:
                raise self._error(
                    key, "the list is empty", "name a value, or remove the key"
                )
            yield [(key, value) for value in values]

    def tested_books(self) -> list[Table]:
        """Return the books by which the model may differ; a book without keys for any."""
        texts = [self._table.get(key) for key in _TEMPLATES]
        varies = re.search(
            "[{:]", json.dumps([*texts, self._recipe.get("books")], default=str)
        )
        chosen = self._table.get("tests")
        return [
            book
            for book in self._books
            if varies
            and book.get("role") not in _UNTESTED
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
        names = {name: fit_for_id(str(value)) for name, value in fields.items()}
        for key in _TEMPLATES:
            if key in model:
                model[key] = self._filled(
                    key, model[key], fields if key == "endpoint" else names
                )
        return model

    def same_name(self, name: str, axes: Sequence[str]) -> SuiteError:
        """Return the error of a name that several models have."""
        placeholders = (f"{{{axis.removeprefix('finetune.')}}}" for axis in axes)
        missing = [text for text in placeholders if text not in self._table["id"]]
        problem = f"several models have the id {shown(name)}"
        return self._error("id", problem, f"add {' and '.join(missing)} to the id")

    def _ids(
        self, entries: Any, key: str, fields: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace selectors such as "author:murakami" by the IDs of the books that they select.

        fields: of the tested book, which no selector selects
        """
        entries = [entries] if isinstance(entries, str) and ":" in entries else entries
        if not isinstance(entries, list) or not any(
            ":" in str(entry) for entry in entries
        ):
            return entries
        ids: dict[str, None] = {}
        for written in map(str, entries):
            entry = self._filled(key, written, fields or {})
            name, colon, value = entry.partition(":")
            if not colon:
                ids[entry] = None
                continue
            valued = {book["id"]: _fields_of(book).get(name) for book in self._books}
            chosen = [
                book_id for book_id, text in valued.items() if _has_words(text, value)
            ]
            if not chosen:
                texts = dict.fromkeys(
                    str(text) for text in valued.values() if text is not None
                )
                listed = ", ".join(map(shown, [*texts][:_LISTED])) or "none"
                hint = f"values of {plain(name)}: {listed}"
                raise self._error(key, f"no book matches {shown(entry)}", hint)
            ids |= dict.fromkeys(chosen)
        tested = (fields or {}).get("book", "")
        ids.pop(tested, None)
        if not ids:
            problem = f"no book is left to train on for the test with {shown(tested)}"
            hint = "add a book that matches, or list the books to test: tests = [...]"
            raise self._error(key, problem, hint)
        return [*ids]

    def _filled(self, key: str, value: Any, fields: Mapping[str, Any]) -> Any:
        at = ("model", self._index, key)
        place = self._places.get(fields.get("book", ""), "")
        names = self._names if place else ()
        return self._written.filled(value, fields, at, place=place, names=names)

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
