"""Views of books and generations for tests: records that report reads of their text.

PYTEST_DONT_REWRITE

    book = view_of_book(book)
    len(book.excerpts), book.excerpts[0].id     # free
    book.excerpts[0].text                       # calls the last listener

Equality, hashing, pickling and `dataclasses.asdict` read every field, so they count as
reading.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_memleak import records
from pytest_memleak.interfaces import protocols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_memleak.verdict.evaluation import Evaluation

LISTENERS: list[Callable[[], None]] = []
"""The last one hears of each read, since pytest may run inside a test of pytest."""


def report_read() -> None:
    """Report a read of text."""
    if LISTENERS:
        LISTENERS[-1]()


def _reporting_attribute(slot: Any) -> property:
    def read(record: object) -> Any:
        report_read()
        return slot.__get__(record)

    return property(read, slot.__set__)


def _view_kind(kind: Any) -> Any:
    """Derive a record that reports reads of its texts: the fields that `repr` omits."""
    attributes: dict[str, Any] = {"__slots__": ()}
    for field in dataclasses.fields(kind):
        if not field.repr:
            slot = getattr(kind, field.name)
            attributes[field.name] = _reporting_attribute(slot)
    return type(kind.__name__, (kind,), attributes)


Excerpt = _view_kind(records.Excerpt)
Generation = _view_kind(records.Generation)
Completion = _view_kind(protocols.Completion)


def _view_of_record(kind: Any, record: object) -> Any:
    values = [getattr(record, field.name) for field in dataclasses.fields(kind)]
    return kind(*values)


def view_of_book(book: records.Book) -> records.Book:
    """Return the book with views of its excerpts."""
    excerpts = tuple(_view_of_record(Excerpt, excerpt) for excerpt in book.excerpts)
    excluded = tuple(_view_of_record(Excerpt, excerpt) for excerpt in book.excluded)
    return dataclasses.replace(book, excerpts=excerpts, excluded=excluded)


def view_of_evaluation(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with views of its books and generations."""

    def generations() -> Iterator[records.Generation]:
        for record in evaluation.generations():
            yield _view_of_record(Generation, record)

    book = evaluation.book
    if book is not None:
        book = view_of_book(book)
    protected = dict(evaluation.protected)
    for name, other in evaluation.protected.items():
        protected[name] = view_of_book(other)
    return dataclasses.replace(
        evaluation,
        book=book,
        protected=protected,
        generations=generations,
        near_verbatim={},
    )


def views_of_completions(
    completions: Sequence[protocols.Completion | str],
) -> list[protocols.Completion | str]:
    """Return views of an endpoint's completions; plain strings count as read."""
    if any(isinstance(completion, str) for completion in completions):
        report_read()
    views = []
    for completion in completions:
        is_plain = isinstance(completion, str)
        view = completion if is_plain else _view_of_record(Completion, completion)
        views.append(view)
    return views
