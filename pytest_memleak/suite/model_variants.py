"""The models of a `[[model]]` that lists base models, training sets, or settings.

Its training set may depend on the book that it is tested with.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from pytest_memleak.suite.written_suite import as_id_part, safe_key, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.errors import SuiteError
    from pytest_memleak.suite.written_suite import Table, WrittenSuite

_AXES = ("base_model", "endpoint")
_TEMPLATES = ("id", "endpoint", "baseline_model")
_UNTESTED = ("train", "negative-control")
_LISTED = 8


def expand_model(
    table: Any,
    index: int,
    books: Mapping[str, Any],
    written: WrittenSuite,
) -> Iterator[Any]:
    """Yield a plain [[model]], or each that a matrix names.

    What differs by the tested book is a model of its own, tested with no other book.
    books: the tables of books and collections by their places. Raises SuiteError.
    """
    if not isinstance(table, dict):
        yield table
        return
    matrix = _Matrix(table, index, books, written)
    content_by_name: dict[str, str] = {}
    for pairs in itertools.product(*matrix.axes()):
        values = dict(pairs)
        variants = matrix.variants(values)
        differ_by_book = len(variants) > 1
        for content, (model, book_ids) in variants.items():
            name = str(model.get("id"))
            if content_by_name.setdefault(name, content) != content:
                axes = ["book"] if differ_by_book else [*values]
                raise matrix.same_name_error(name, axes)
            if differ_by_book:
                model["tests"] = matrix.tests_of(book_ids)
            yield model


class _Matrix:
    """A [[model]] as written, and the books that it may name."""

    def __init__(
        self,
        table: Table,
        index: int,
        books: Mapping[str, Any],
        written: WrittenSuite,
    ) -> None:
        recipe = table.get("finetune")
        self._recipe: Table = recipe if isinstance(recipe, dict) else {}
        self._index = index
        self._written = written
        self._books: list[Table] = []
        self._places: dict[str, str] = {}  # of each book, by its id
        self._names: set[str] = set()  # of what placeholders may name of any book
        for place, book in books.items():
            book_id = book.get("id") if isinstance(book, dict) else None
            if isinstance(book_id, str):
                self._books.append(book)
                self._places[book_id] = place
                self._names.update(_fields_of(book))
        self._table = table
        if "tests" in table:
            tested_ids = self._with_selectors_replaced(table["tests"], "tests")
            self._table = table | {"tests": tested_ids}

    def axes(self) -> Iterator[list[tuple[str, Any]]]:
        """Yield each key with a list of values, paired with each of them."""
        values_by_key = {key: self._table.get(key) for key in _AXES}
        for key, value in self._recipe.items():
            values_by_key[f"finetune.{key}"] = value
        for key, values in values_by_key.items():
            if not isinstance(values, list):
                continue
            if key == "finetune.books" and not _has_list_value(values):
                continue  # a list by itself
            if not values:
                raise self._error(
                    key,
                    "the list is empty",
                    "name a value, or remove the key",
                )
            yield [(key, value) for value in values]

    def variants(self, values: Table) -> dict[str, tuple[Table, list[str]]]:
        """Return the models of these values, by content, with the books of each."""
        models: dict[str, tuple[Table, list[str]]] = {}
        for book in self._tested_books():
            model = self._model_of_values(values, book)
            content = json.dumps(model, sort_keys=True, default=str)
            _, book_ids = models.setdefault(content, (model, []))
            book_ids.append(book.get("id", ""))
        return models

    def _tested_books(self) -> list[Table]:
        """Return the books by which the model may differ, or a single empty one."""
        texts = [self._table.get(key) for key in _TEMPLATES]
        texts.append(self._recipe.get("books"))
        has_placeholder = re.search("[{:]", json.dumps(texts, default=str))
        if not has_placeholder:
            return [{}]
        tested = [book for book in self._books if book.get("role") not in _UNTESTED]
        chosen = self._table.get("tests")
        if isinstance(chosen, list):
            tested = [book for book in tested if book["id"] in chosen]
        return tested or [{}]

    def tests_of(self, book_ids: list[str]) -> Any:
        """Return a variant's tests: these books, and entries that name no tested book.

        Validation reports those entries.
        """
        chosen = self._table.get("tests", [])
        if not isinstance(chosen, list):
            return chosen
        tested = [book["id"] for book in self._tested_books()]
        others = [entry for entry in chosen if entry not in tested]
        return book_ids + others

    def _model_of_values(self, values: Table, book: Table) -> Table:
        """Return the model of these values of the axes for a test with this book."""
        model = dict(self._table)
        recipe = dict(self._recipe)
        fields = _fields_of(book)
        for key in _AXES:
            if key in model:
                fields[key] = model[key]
        for key, value in values.items():
            name = key.removeprefix("finetune.")
            fields[name] = value
            if key in _AXES:
                model[name] = value
            else:
                recipe[name] = value
        books = fields.get("books")
        if isinstance(books, list):
            names = [str(entry).rpartition(":")[2] for entry in books]
            fields["books"] = " ".join(names)
        if "books" in recipe:
            recipe["books"] = self._with_selectors_replaced(
                recipe["books"], "finetune.books", fields
            )
            model["finetune"] = recipe
        id_fields = {name: as_id_part(str(value)) for name, value in fields.items()}
        for key in _TEMPLATES:
            if key not in model:
                continue
            filling = fields if key == "endpoint" else id_fields
            model[key] = self._with_fields_filled(key, model[key], filling)
        return model

    def same_name_error(self, name: str, axes: Sequence[str]) -> SuiteError:
        """Return the error of a name that several models have."""
        placeholders = (f"{{{axis.removeprefix('finetune.')}}}" for axis in axes)
        missing = [text for text in placeholders if text not in self._table["id"]]
        problem = f"several models have the id {shown(name)}"
        hint = f"add {' and '.join(missing)} to the id"
        return self._error("id", problem, hint)

    def _with_selectors_replaced(
        self,
        entries: Any,
        key: str,
        fields: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace selectors such as "author:murakami" by the ids of books they select.

        fields: of the tested book, which no selector selects
        """
        fields = fields or {}
        if isinstance(entries, str) and ":" in entries:
            entries = [entries]
        if not isinstance(entries, list):
            return entries
        if not any(":" in str(entry) for entry in entries):
            return entries
        ids: dict[str, None] = {}
        for written in map(str, entries):
            entry = self._with_fields_filled(key, written, fields)
            selected = [entry]
            if ":" in entry:
                selected = self._ids_of_selected_books(entry, key)
            ids |= dict.fromkeys(selected)
        tested = fields.get("book", "")
        ids.pop(tested, None)
        if not ids:
            problem = f"no book is left to train on for the test with {shown(tested)}"
            hint = "add a book that matches, or list the books to test: tests = [...]"
            raise self._error(key, problem, hint)
        return [*ids]

    def _ids_of_selected_books(self, selector: str, key: str) -> list[str]:
        """Return the ids of the books that `author:murakami` or the like selects."""
        name, _, value = selector.partition(":")
        ids = []
        texts: dict[str, None] = {}
        for book in self._books:
            text = _fields_of(book).get(name)
            if text is None:
                continue
            texts[str(text)] = None
            if _contains_words(text, value):
                ids.append(book["id"])
        if not ids:
            examples = [shown(text) for text in texts]
            listed = ", ".join(examples[:_LISTED]) or "none"
            hint = f"values of {safe_key(name)}: {listed}"
            raise self._error(key, f"no book matches {shown(selector)}", hint)
        return ids

    def _with_fields_filled(
        self,
        key: str,
        value: Any,
        fields: Mapping[str, Any],
    ) -> Any:
        at = ("model", self._index, key)
        place = self._places.get(fields.get("book", ""), "")
        names = self._names if place else ()
        return self._written.filled(value, fields, at, place=place, names=names)

    def _error(
        self,
        key: str,
        problem: str,
        hint: str,
    ) -> SuiteError:
        return self._written.error("model", self._index, key, problem, hint)


def _fields_of(book: Table) -> Table:
    """Return what selectors and placeholders may name of a book."""
    fields: Table = {}
    if isinstance(book.get("metadata"), dict):
        fields |= book["metadata"]
    if book:
        fields["book"] = book.get("id")
        fields["role"] = book.get("role", "test")
    for key in ("title", "author"):
        if key in book:
            fields[key] = book[key]
    return fields


def _has_list_value(values: Sequence[object]) -> bool:
    return any(isinstance(value, list) for value in values)


def _contains_words(text: object, wanted: str) -> bool:
    """Tell whether a value contains these words in a row, whatever their case."""
    return _blank_separated_words(wanted) in _blank_separated_words(str(text))


def _blank_separated_words(text: str) -> str:
    """Return a text's words, each between blanks."""
    words = re.findall(r"\w+", text.casefold())
    return f" {' '.join(words)} "
