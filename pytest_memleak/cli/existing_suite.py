"""A suite that an earlier `memleak try` left: whether it is for the same pair."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_memleak.cli.suite_template import Draft


def differences_from_suite(path: Path, draft: Draft) -> str:
    """Return how a suite file's pair differs from a draft's; "" if it is the same."""
    try:
        suite = tomllib.loads(path.read_text("utf-8"))
        differences = list(_differences(suite, path, draft))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "it can't be read as a suite of one model and one book"
    return ", ".join(differences)


def deadline_of_suite(path: Path) -> int | None:
    """Return a suite's seconds per call; None for the default."""
    suite = tomllib.loads(path.read_text("utf-8"))
    deadline = suite.get("sampling", {}).get("deadline")
    return None if deadline is None else int(deadline)


def _differences(
    suite: dict[str, Any],
    path: Path,
    draft: Draft,
) -> Iterator[str]:
    (model,) = suite["model"]
    (book,) = suite["book"]
    name = f"{model['provider']}/{model['base_model']}"
    if name != f"{draft.provider}/{draft.base}":
        yield f"its model is {name}"
    server = model.get("options", {}).get("base_url")
    if server != draft.base_url:
        yield f"its server is {server or 'the default one'}"
    source = os.path.join(path.parent, book["source"])  # noqa: PTH118 - of text
    if os.path.realpath(source) != os.path.realpath(draft.books[0]):
        yield f"its book is {book['source']}"
