"""A suite that an earlier `memleak try` left: whether it is for the same pair."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_memleak.cli.suite_template import Draft
    from pytest_memleak.suite.schema import BookTable, ModelTable


def differences_from_suite(path: Path, draft: Draft) -> str:
    """Return how a suite file's pair differs from a draft's; "" if it is the same."""
    from pytest_memleak.suite.suite_file import read_suite_file

    try:
        tables = read_suite_file(path).tables
        (model,) = tables.model
        (book,) = tables.book
    except (MemleakError, ValueError):
        return "it can't be read as a suite of one model and one book"
    differences = [*_model_differences(model, draft)]
    if not _is_same_book(book, path, draft):
        differences.append(f"its book is {book.source}")
    return ", ".join(differences)


def deadline_of_suite(path: Path) -> int | None:
    """Return a suite's seconds per call; None for the default or less.

    Raises SuiteError for an invalid suite.
    """
    from pytest_memleak.sampling.retry import Retry
    from pytest_memleak.suite.suite_file import read_suite_file

    deadline = read_suite_file(path).tables.sampling.deadline
    return math.ceil(deadline) if deadline > Retry().deadline else None


def _model_differences(model: ModelTable, draft: Draft) -> Iterator[str]:
    name = f"{model.provider}/{model.base_model}"
    if name != f"{draft.provider}/{draft.base}":
        yield f"its model is {name}"
    server = model.options.get("base_url")
    if server != draft.base_url:
        yield f"its server is {server or 'the default one'}"


def _is_same_book(book: BookTable, path: Path, draft: Draft) -> bool:
    source = path.parent / book.source
    return os.path.realpath(source) == os.path.realpath(draft.books[0])
